//! [`tunnel_proto::mux`] on a lane.
//!
//! The state of all streams is behind one lock, which those who hold streams take for as long as a
//! copy lasts, and the driver for as long as one message lasts. Nobody waits while holding it.

mod stream;

use super::{Mux, MuxError, MuxStream};
use crate::lane::{Lane, Over};
use std::{
    collections::HashMap,
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};
use stream::FairStream;
use tokio::sync::Notify;
use tunnel_proto::{
    link,
    mux::{self, Event, StreamId},
    stream::Class,
};

/// Rounds of in and out in one poll, after which other tasks have their turn.
const ROUNDS: usize = 16;

/// Opens streams, reads and writes them; clones are the same multiplexer.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    mux: mux::Mux,
    waiting: HashMap<StreamId, Waiting>,
    /// Told when another stream can be opened.
    room: Arc<Notify>,
    opened: VecDeque<StreamId>,
    driver: Option<Waker>,
    over: bool,
}

/// Who waits for a stream.
#[derive(Debug, Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What one exchange between link and streams came to.
enum Moved {
    Nothing,
    Something,
    /// A full message, and less than another one is left.
    FullMessage,
}

/// The multiplexer's driver.
pub(super) struct Fair {
    lane: Lane,
    handle: Handle,
    /// Wakers to call once the lock is let go; kept for its memory.
    woken: Vec<Waker>,
}

impl Handle {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock would be a fault of the state machine; its streams would hang
        // rather than bring down what else runs.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn open(&self, class: Class) -> Result<MuxStream, MuxError> {
        let room = Arc::clone(&self.lock().room);
        loop {
            // Before the try: what is told from here on is not missed.
            let told = room.notified();
            if let Some(stream) = self.try_open(class)? {
                return Ok(stream);
            }
            told.await;
        }
    }

    /// Opens a stream, unless as many are open as the peer takes.
    fn try_open(&self, class: Class) -> Result<Option<MuxStream>, MuxError> {
        let mut state = self.lock();
        if state.over {
            return Err(MuxError::Ended);
        }
        // Its opening leaves with what is written first.
        let opened = state.mux.open(class);
        Ok(opened.map(|id| -> MuxStream { Box::new(FairStream::new(self.clone(), id)) }))
    }

    pub(super) fn stats(&self) -> mux::Stats {
        self.lock().mux.stats()
    }
}

impl State {
    /// Notes down whom the events concern.
    fn take_events(&mut self, woken: &mut Vec<Waker>) {
        while let Some(event) = self.mux.poll_event() {
            match event {
                Event::Opened(id) => self.opened.push_back(id),
                Event::Readable(id) => {
                    let waiting = self.waiting.get_mut(&id);
                    woken.extend(waiting.and_then(|waiting| waiting.reader.take()));
                }
                Event::Writable(id) => {
                    let waiting = self.waiting.get_mut(&id);
                    woken.extend(waiting.and_then(|waiting| waiting.writer.take()));
                }
                Event::Room => self.room.notify_waiters(),
            }
        }
    }

    fn end(&mut self, woken: &mut Vec<Waker>) {
        self.over = true;
        for unaccepted in self.opened.drain(..) {
            self.mux.release(unaccepted);
        }
        self.mux.end();
        self.room.notify_waiters();
        let mut waiting: Vec<_> = self.waiting.drain().collect();
        // The map's own order is another one in each process, and a simulation is to be repeatable.
        waiting.sort_unstable_by_key(|(id, _)| *id);
        for (_, waiting) in waiting {
            woken.extend(waiting.reader);
            woken.extend(waiting.writer);
        }
    }
}

impl Fair {
    pub(super) fn start(config: mux::Config, lane: Lane) -> (Handle, Self) {
        let handle = Handle(Arc::new(Mutex::new(State {
            mux: mux::Mux::new(config),
            waiting: HashMap::new(),
            room: Arc::new(Notify::new()),
            opened: VecDeque::new(),
            driver: None,
            over: false,
        })));
        let fair = Self {
            lane,
            handle: handle.clone(),
            woken: Vec::new(),
        };
        (handle, fair)
    }

    /// Moves what there is to move, in both directions.
    fn carry(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        for _ in 0..ROUNDS {
            self.lane.poll(cx)?;
            match self.exchange(cx)? {
                Moved::Something => {}
                Moved::Nothing => {
                    let _ = self.lane.poll_flush(cx);
                    return Ok(());
                }
                Moved::FullMessage => break,
            }
        }
        self.lane.poll(cx)?;
        let _ = self.lane.poll_flush(cx);
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// From the link to the streams and back, as far as either goes.
    fn exchange(&mut self, cx: &mut Context<'_>) -> Result<Moved, Over> {
        let mut state = self.handle.lock();
        let mut moved = Moved::Nothing;
        let mut fault = None;
        if let Some(round_trip) = self.lane.round_trip() {
            state.mux.set_round_trip(round_trip);
        }
        while let Some(bytes) = self.lane.take() {
            moved = Moved::Something;
            if let Err(error) = state.mux.receive(bytes) {
                fault = Some(error);
                break;
            }
        }
        if state.mux.wants_transmit() {
            let now = tokio::time::Instant::now().into_std();
            self.lane.widen();
            let room = self.lane.room();
            let sent = state.mux.transmit(now, room, &mut self.lane);
            if sent > 0 {
                self.lane.seal();
                moved = match state.mux.queued() < link::FULL {
                    // Those who write have their turn first: a little message behind each full
                    // one would cost as much as the full one.
                    true if sent + mux::HEADER >= link::FULL => Moved::FullMessage,
                    _ => Moved::Something,
                };
            }
        }
        state.take_events(&mut self.woken);
        if !state
            .driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(cx.waker()))
        {
            state.driver = Some(cx.waker().clone());
        }
        drop(state);
        self.woken.drain(..).for_each(Waker::wake);
        match fault {
            Some(fault) => Err(self.lane.accuse(cx, &fault.to_string())),
            None => Ok(moved),
        }
    }

    fn end(&mut self) {
        self.handle.lock().end(&mut self.woken);
        self.woken.drain(..).for_each(Waker::wake);
    }
}

impl Mux for Fair {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<MuxStream>, MuxError>> {
        let carried = self.carry(cx);
        let mut state = self.handle.lock();
        if let Some(id) = state.opened.pop_front() {
            if state.opened.is_empty() {
                state.opened.shrink_to(8);
            }
            drop(state);
            let stream: MuxStream = Box::new(FairStream::new(self.handle.clone(), id));
            return Poll::Ready(Ok(Some(stream)));
        }
        drop(state);
        if carried.is_err() {
            self.end();
            return Poll::Ready(Err(MuxError::Ended));
        }
        if self.lane.is_closed() {
            self.end();
            return Poll::Ready(Ok(None));
        }
        Poll::Pending
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>> {
        self.end();
        ready!(self.lane.poll_close(cx));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Fair {
    fn drop(&mut self) {
        self.end();
    }
}

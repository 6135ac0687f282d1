//! The one task of a session: orders in, bytes through, the reason out.

use super::{Incoming, Phase, Shared, bulk::LaneDriver, keeper::Keeper, stream::Held};
use crate::{
    lane::{Control, End},
    mux::{Mux, MuxError, MuxStream},
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, futures::OwnedNotified},
    time::Sleep,
};
use tunnel_proto::frame::CloseCode;

/// How long a goodbye may take before the connection is dropped.
pub(super) const GOODBYE: Duration = Duration::from_secs(3);

/// Moves a session's bytes until it is over. Must be polled all the time: run it in a task.
///
/// Dropping it ends the session without a goodbye.
#[must_use = "a session does nothing unless its driver runs"]
pub struct Driver {
    mux: Box<dyn Mux>,
    inlet: Inlet,
    /// Brings another carrier, on the side that dials.
    keeper: Option<Keeper>,
    /// The lane beside the interactive one, and one that it has taken the place of. Each is polled
    /// only when something is to be done on it.
    bulk: Option<Box<FuturesUnordered<LaneDriver>>>,
    shared: Arc<Shared>,
    order: Pin<Box<OwnedNotified>>,
    state: State,
}

/// Where streams of the peer go.
#[derive(Clone)]
pub(super) struct Inlet {
    pub(super) queue: futures::channel::mpsc::Sender<Incoming>,
    /// How many of them may be open.
    pub(super) room: Arc<Semaphore>,
}

impl Inlet {
    /// Takes a stream in. No room, or a full queue, drops it, which resets it: the peer opens more
    /// than it was told, or faster than is served.
    pub(super) fn take(&mut self, stream: MuxStream, lane: Option<Arc<()>>, control: &Control) {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            let held = Held {
                _room: room,
                _lane: lane,
            };
            let incoming = Incoming::new(stream, held, control.watch_attached());
            let _ = self.queue.try_send(incoming);
        }
    }
}

enum State {
    Running,
    /// The peer said when it will cut; so does this side.
    Draining(Pin<Box<Sleep>>),
    Closing {
        end: End,
        /// The interactive lane has not said goodbye yet.
        main_open: bool,
        limit: Pin<Box<Sleep>>,
    },
    Done,
}

impl Driver {
    pub(super) fn new(
        mux: Box<dyn Mux>,
        inlet: Inlet,
        keeper: Option<Keeper>,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            mux,
            inlet,
            keeper,
            bulk: None,
            shared: Arc::clone(shared),
            order: Box::pin(Arc::clone(&shared.order).notified_owned()),
            state: State::Running,
        }
    }

    /// Orders of the handle. Registers for the next one.
    fn take_orders(&mut self, cx: &mut Context<'_>) {
        while self.order.as_mut().poll(cx).is_ready() {
            self.order
                .set(Arc::clone(&self.shared.order).notified_owned());
        }
        let phase = self.shared.phase.borrow().clone();
        match (phase, &self.state) {
            (Phase::Closed(end), State::Running | State::Draining(_)) => self.begin_close(end),
            (Phase::Draining { deadline, .. }, State::Running) => {
                let deadline = tokio::time::Instant::from_std(deadline);
                self.state = State::Draining(Box::pin(tokio::time::sleep_until(deadline)));
            }
            _ => {}
        }
        if let State::Draining(cut) = &mut self.state
            && cut.as_mut().poll(cx).is_ready()
        {
            let end = End::ClosedHere {
                code: CloseCode::Normal,
                reason: "drained".into(),
            };
            self.shared.control.set_close(CloseCode::Normal, "drained");
            self.begin_close(end);
        }
    }

    fn begin_close(&mut self, end: End) {
        self.shared.finish(end.clone());
        self.state = State::Closing {
            end,
            main_open: true,
            limit: Box::pin(tokio::time::sleep(GOODBYE)),
        };
    }

    fn poll_accepts(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>> {
        while let Some(stream) = ready!(self.mux.poll_accept(cx))? {
            self.inlet.take(stream, None, &self.shared.control);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes up a bulk lane that has begun, and moves its bytes. Ready: there is none.
    fn poll_bulk(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let keeper = self.keeper.as_mut();
            if let Some(new) = self.shared.bulk.attend(&self.shared, keeper) {
                let lane = LaneDriver::new(new, &self.shared, self.inlet.clone());
                self.bulk.get_or_insert_default().push(lane);
            }
            let Some(lanes) = &mut self.bulk else {
                return Poll::Ready(());
            };
            // When one has ended, the next one may be waited for.
            if ready!(lanes.poll_next_unpin(cx)).is_none() {
                self.bulk = None;
                return Poll::Ready(());
            }
        }
    }

    /// What the link reported since last time.
    fn take_events(&mut self) {
        let events = self.shared.control.take_events();
        if let Some((deadline, reason)) = events.draining {
            self.shared.phase.send_if_modified(|phase| {
                let live = matches!(phase, Phase::Live);
                if live {
                    *phase = Phase::Draining { deadline, reason };
                }
                live
            });
        }
        if let (Some(number), Some(_)) = (events.wanted, &self.keeper) {
            self.shared.bulk.wanted_by_peer(number);
        }
        if let Some(end) = events.end {
            self.shared.finish(end);
        }
    }

    fn failed(&mut self, error: MuxError) -> End {
        self.take_events();
        let end = match error {
            MuxError::Ended => End::CarrierLost("connection ended".into()),
            MuxError::Protocol(message) => End::Mux(message),
        };
        self.shared.finish(end.clone());
        match &*self.shared.phase.borrow() {
            Phase::Closed(first) => first.clone(),
            Phase::Live | Phase::Draining { .. } => end,
        }
    }
}

impl Future for Driver {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = &mut *self;
        loop {
            this.take_orders(cx);
            let closing = matches!(this.state, State::Closing { .. });
            let bulk_closed = closing && this.poll_bulk(cx).is_ready();
            if let State::Closing {
                end,
                main_open,
                limit,
            } = &mut this.state
            {
                *main_open = *main_open && this.mux.poll_close(cx).is_pending();
                if *main_open || !bulk_closed {
                    ready!(limit.as_mut().poll(cx));
                }
                let end = end.clone();
                this.state = State::Done;
                return Poll::Ready(end);
            }
            if let Poll::Ready(result) = this.poll_accepts(cx) {
                let end = this.failed(result.err().unwrap_or(MuxError::Ended));
                this.state = State::Done;
                return Poll::Ready(end);
            }
            if let Some(keeper) = &mut this.keeper
                && let Some(end) = keeper.poll(cx, &this.shared, &this.shared.control)
            {
                this.shared.finish(end);
                continue;
            }
            let before = std::mem::discriminant(&*this.shared.phase.borrow());
            this.take_events();
            let _ = this.poll_bulk(cx);
            if before == std::mem::discriminant(&*this.shared.phase.borrow()) {
                return Poll::Pending;
            }
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("session", &self.shared.id)
            .finish_non_exhaustive()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared
            .finish(End::CarrierLost("driver was dropped".into()));
    }
}

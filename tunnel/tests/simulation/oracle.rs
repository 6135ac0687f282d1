//! What must hold: bytes arrive in order and once, up to an end that both sides agree on; a stream
//! fails only if its session has ended or somebody reset it; nothing hangs, nothing is left.

use super::trace::Trace;
use std::{
    collections::BTreeMap,
    future::Future,
    io,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::Notify,
    time::sleep,
};
use tunnel::session::{End, Session, Stream};
use tunnel_proto::{frame::CloseCode, hello::YAMUX, stream::Class};

/// The ends of a stream, as indices; also those of its direction that they write.
pub const OPENER: usize = 0;
pub const ACCEPTOR: usize = 1;

/// What one stream does.
#[derive(Clone, Debug)]
pub struct Spec {
    pub class: Class,
    /// What each end writes.
    pub flows: [Flow; 2],
    pub manners: [Manner; 2],
}

/// One direction of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub len: usize,
    pub piece: usize,
    pub pause: Duration,
    pub read_piece: usize,
    pub read_pause: Duration,
    /// The reader stops here, for so long.
    pub stop: Option<(usize, Duration)>,
}

/// How one end behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// It writes only when it has read all.
    pub answers_last: bool,
    /// It lets the stream go after so many bytes.
    pub drops_after: Option<usize>,
    /// What the stream is for from the first byte on.
    pub becomes: Option<Class>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Not,
    Running,
    Done,
    Failed,
}

struct Entry {
    spec: Spec,
    session: String,
    ends: [State; 2],
}

/// What every stream is to do and has done.
pub struct Ledger {
    pub trace: Arc<Trace>,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    /// Both ends of each session, by its id.
    sessions: BTreeMap<String, Vec<Session>>,
    faults: Vec<String>,
    delivered: usize,
}

impl Ledger {
    pub fn new(trace: Arc<Trace>) -> Self {
        Self {
            trace,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap()
    }

    /// Something that must not be.
    pub fn fault(&self, what: String) {
        self.trace.note(format_args!("FAULT: {what}"));
        self.lock().faults.push(what);
    }

    pub fn faults(&self) -> Vec<String> {
        self.lock().faults.clone()
    }

    /// Bytes that came to their readers, and streams there were.
    pub fn sum(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.delivered, inner.entries.len())
    }

    /// One end of a session has begun.
    pub fn began(&self, session: &Session) {
        let mut inner = self.lock();
        let ends = inner.sessions.entry(session.id().to_owned()).or_default();
        ends.push(session.clone());
    }

    /// One end of a session is over, for this reason.
    pub fn ended(&self, session: &str, end: &End) {
        self.trace.note(format_args!("{session} is over: {end}"));
        if is_of_broken_rules(end) {
            self.fault(format!("{session} is over: {end:?}"));
        }
    }

    fn has_ended(&self, session: &str) -> bool {
        let inner = self.lock();
        let ends = inner.sessions.get(session);
        ends.is_some_and(|ends| ends.iter().any(|end| end.over().is_cancelled()))
    }

    /// Bulk lanes were lost only where they found no carrier in time.
    pub fn check_lanes(&self) {
        let sessions: Vec<_> = self.lock().sessions.values().flatten().cloned().collect();
        for session in sessions {
            let bulk = session.bulk();
            if bulk.last_lost.as_ref().is_some_and(is_of_broken_rules) {
                self.fault(format!(
                    "the bulk lane of {} is over: {bulk:?}",
                    session.id()
                ));
            }
        }
    }

    /// A bulk lane of the session was lost with what was on it.
    fn has_lost_lane(&self, session: &str) -> bool {
        let inner = self.lock();
        let ends = inner.sessions.get(session);
        ends.is_some_and(|ends| ends.iter().any(|end| end.bulk().lost > 0))
    }

    /// A stream that is to be opened; its number.
    pub fn enter(&self, spec: Spec, session: &Session) -> usize {
        let mut inner = self.lock();
        inner.entries.push(Entry {
            spec,
            session: session.id().to_owned(),
            ends: [State::Not, State::Not],
        });
        inner.entries.len() - 1
    }

    /// Streams of which an end has not come to its end.
    pub fn unfinished(&self) -> Vec<String> {
        let inner = self.lock();
        let running = |(id, entry): (usize, &Entry)| {
            let running = entry.ends.contains(&State::Running);
            running.then(|| {
                format!(
                    "stream {id} of {}: {:?}, {:?}",
                    entry.session, entry.ends, entry.spec
                )
            })
        };
        inner
            .entries
            .iter()
            .enumerate()
            .filter_map(running)
            .collect()
    }

    /// One end says it is done: then so must the other be, or have a reason.
    pub fn check_agreement(&self) {
        let entries: Vec<_> = {
            let inner = self.lock();
            let entry = |entry: &Entry| (entry.session.clone(), entry.ends.clone());
            inner.entries.iter().map(entry).collect()
        };
        for (id, (session, ends)) in entries.iter().enumerate() {
            let disagree = ends.contains(&State::Done) && *ends != [State::Done, State::Done];
            if disagree && !self.is_excused(id) {
                self.fault(format!("stream {id} of {session} ended as {ends:?}"));
            }
        }
    }

    /// A stream came in whose preamble cannot be read.
    pub fn no_preamble(&self, session: &Session, error: &tunnel::session::IncomingError) {
        use tunnel::session::IncomingError::Ended;
        if !matches!(error, Ended(_)) && !self.has_ended(session.id()) {
            self.fault(format!("{}: {error}", session.id()));
        }
    }

    fn is_excused(&self, id: usize) -> bool {
        let (session, dropped, bulk) = {
            let inner = self.lock();
            let entry = &inner.entries[id];
            let drops = |manner: &Manner| manner.drops_after.is_some();
            let dropped = entry.spec.manners.iter().any(drops);
            (
                entry.session.clone(),
                dropped,
                entry.spec.class == Class::Bulk,
            )
        };
        dropped || self.has_ended(&session) || (bulk && self.has_lost_lane(&session))
    }

    /// yamux does not tell its readers a reset from an end.
    fn may_look_ended(&self, id: usize) -> bool {
        let inner = self.lock();
        let entry = &inner.entries[id];
        let ends = inner.sessions.get(&entry.session);
        let yamux = ends.is_some_and(|ends| ends.iter().any(|end| end.mux() == YAMUX));
        let drops = |manner: &Manner| manner.drops_after.is_some();
        yamux && entry.spec.manners.iter().any(drops)
    }

    /// Runs one end of a stream, as it was entered.
    pub async fn run<F>(self: &Arc<Self>, id: usize, end: usize, stream: F)
    where
        F: Future<Output = io::Result<Stream>>,
    {
        self.trace
            .note(format_args!("stream {id}, end {end} begins"));
        let spec = {
            let mut inner = self.lock();
            inner.entries[id].ends[end] = State::Running;
            inner.entries[id].spec.clone()
        };
        let mut running = Running {
            ledger: Arc::clone(self),
            id,
            end,
            state: State::Failed,
        };
        let ran = match stream.await {
            Ok(stream) => self.exchange(id, end, &spec, stream).await,
            Err(error) => Err(error),
        };
        // Only the kind: texts of yamux count the connections of the process.
        let ended = ran.as_ref().map_err(io::Error::kind);
        self.trace
            .note(format_args!("stream {id}, end {end}: {ended:?}"));
        match ran {
            Ok(()) => running.state = State::Done,
            Err(error) if self.is_excused(id) => drop(error),
            Err(error) => self.fault(format!("stream {id}, end {end}: {error} ({spec:?})")),
        }
    }

    async fn exchange(&self, id: usize, end: usize, spec: &Spec, stream: Stream) -> io::Result<()> {
        let manner = spec.manners[end];
        if let Some(class) = manner.becomes {
            stream.set_class(class);
        }
        let (read, write) = tokio::io::split(stream);
        let moved = AtomicUsize::new(0);
        let count = |bytes: usize| {
            let moved = moved.fetch_add(bytes, Ordering::Relaxed) + bytes;
            match manner.drops_after {
                Some(most) if moved >= most => Err(io::Error::other("let go")),
                _ => Ok(()),
            }
        };
        let all_read = Notify::new();
        let reading = async {
            let flow = &spec.flows[1 - end];
            self.read(id, 1 - end, flow, read, &count).await?;
            all_read.notify_one();
            Ok(())
        };
        let writing = async {
            if manner.answers_last {
                all_read.notified().await;
            }
            write_all(id, end, &spec.flows[end], write, &count).await
        };
        futures::try_join!(reading, writing).map(|_: ((), ())| ())
    }

    async fn read(
        &self,
        id: usize,
        direction: usize,
        flow: &Flow,
        mut read: ReadHalf<Stream>,
        count: &(impl Fn(usize) -> io::Result<()> + Sync),
    ) -> io::Result<()> {
        let mut buffer = vec![0; flow.read_piece];
        let (mut offset, mut stop) = (0, flow.stop);
        loop {
            if let Some((_, pause)) = stop.take_if(|(at, _)| offset >= *at) {
                sleep(pause).await;
            }
            let len = read.read(&mut buffer).await?;
            let whole = offset + len <= flow.len;
            if !whole || !is_pattern(id, direction, offset, &buffer[..len]) {
                self.fault(format!("stream {id}: wrong bytes at {offset} ({len})"));
                return Err(io::Error::other("wrong bytes"));
            }
            if len == 0 {
                break;
            }
            offset += len;
            self.lock().delivered += len;
            count(len)?;
            if !flow.read_pause.is_zero() {
                sleep(flow.read_pause).await;
            }
        }
        if offset != flow.len && self.may_look_ended(id) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if offset != flow.len {
            self.fault(format!("stream {id}: ends at {offset} of {}", flow.len));
            return Err(io::Error::other("wrong end"));
        }
        Ok(())
    }
}

async fn write_all(
    id: usize,
    direction: usize,
    flow: &Flow,
    mut write: WriteHalf<Stream>,
    count: &(impl Fn(usize) -> io::Result<()> + Sync),
) -> io::Result<()> {
    let mut offset = 0;
    while offset < flow.len {
        let len = flow.piece.min(flow.len - offset);
        write.write_all(pattern(id, direction, offset, len)).await?;
        offset += len;
        count(len)?;
        if !flow.pause.is_zero() {
            sleep(flow.pause).await;
        }
    }
    write.shutdown().await
}

fn is_of_broken_rules(end: &End) -> bool {
    match end {
        End::Protocol(_) | End::Carrier(_) | End::Mux(_) => true,
        End::ClosedByPeer { code, .. } => *code != CloseCode::Normal,
        _ => false,
    }
}

/// Marks the end of one end, however it comes.
struct Running {
    ledger: Arc<Ledger>,
    id: usize,
    end: usize,
    state: State,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(mut inner) = self.ledger.state.lock() {
            inner.entries[self.id].ends[self.end] = self.state.clone();
        }
    }
}

/// A prime, so that no length of a buffer or window divides it.
const PERIOD: usize = 65_521;

/// Longest piece that [`pattern`] gives.
pub const MOST_PIECE: usize = 64 * 1024;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 1_u64;
    let mut bytes: Vec<u8> = (0..PERIOD)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    bytes.extend_from_within(..);
    bytes.extend_from_within(..PERIOD);
    bytes
});

/// What is written to a stream there.
fn pattern(id: usize, direction: usize, offset: usize, len: usize) -> &'static [u8] {
    let begin = (id * 7_919 + direction * 31_337 + offset) % PERIOD;
    &BYTES[begin..begin + len]
}

fn is_pattern(id: usize, direction: usize, offset: usize, bytes: &[u8]) -> bool {
    bytes == pattern(id, direction, offset, bytes.len())
}

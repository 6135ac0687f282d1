//! A network in memory and in virtual time: one line to each agent, with connections that behave
//! like TCP. What a line drops is sent again later, as TCP does; bytes are late, never out of order.

use super::trace::Trace;
use bytes::{Buf as _, Bytes};
use futures::future::BoxFuture;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::{Instant, Sleep, sleep, sleep_until},
};
use tunnel::{Io, dial::Connect};

/// What the buffers of both kernels hold of one direction of a connection.
const BUFFERS: usize = 128 * 1024;

/// Calls at one instant of virtual time, above which nothing but calls happens any more.
const MOST_CALLS: u32 = 2_000_000;

/// A direction of a line or connection, as an index.
pub const UP: usize = 0;
pub const DOWN: usize = 1;

/// How a line is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub latency: Duration,
    pub jitter: Duration,
    /// Bytes a second, in each direction, for all connections together.
    pub rate: u64,
}

/// A network that is in order.
pub const FINE: Weather = Weather {
    latency: Duration::from_millis(20),
    jitter: Duration::from_millis(2),
    rate: 100_000_000,
};

/// What may befall new connections, in thousandths; none also spares those there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Reset within their first bytes.
    pub cut: u32,
    /// Silent for ever after their first bytes.
    pub stall: u32,
    /// Slower than the line.
    pub slow: u32,
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Whole,
    Reset,
    /// The same, but only the agent is told. What it has sent still arrives, late.
    Torn,
    /// Nothing gets through any more, and nobody is told.
    Gone,
}

#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    rng: StdRng,
    trace: Arc<Trace>,
    lines: Vec<Line>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    listener: Option<mpsc::Sender<(usize, Socket)>>,
    trouble: Trouble,
    calls: (Instant, u32),
}

struct Line {
    weather: Weather,
    /// Since when a direction drops everything.
    dark: [Option<Instant>; 2],
    free_at: [Instant; 2],
}

struct Connection {
    line: usize,
    pipes: [Pipe; 2],
    fate: Fate,
    /// After so many bytes it meets this fate.
    doom: Option<(usize, Fate)>,
    extra: Duration,
    ends: usize,
}

struct Pipe {
    queue: VecDeque<(Instant, Bytes)>,
    queued: usize,
    /// When the last byte arrives.
    last: Instant,
    /// Retransmissions come no sooner.
    not_before: Instant,
    end: Option<Instant>,
    /// When its reader is told that the peer's socket is no more.
    reset: Option<Instant>,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(now: Instant) -> Self {
        Self {
            queue: VecDeque::new(),
            queued: 0,
            last: now,
            not_before: now,
            end: None,
            reset: None,
            reader_gone: false,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        let waiting = [self.reader.take(), self.writer.take()];
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Connection {
    fn meet(&mut self, fate: Fate, rng: &mut StdRng) {
        self.fate = fate;
        self.doom = None;
        if fate == Fate::Torn {
            let late = Duration::from_millis(rng.random_range(0..9_000));
            self.pipes[UP].not_before = Instant::now() + late;
        }
        self.pipes.iter_mut().for_each(Pipe::wake);
    }

    /// Whether the end that writes in this direction is told that it is lost.
    fn is_lost(&self, side: usize) -> bool {
        self.fate == Fate::Reset || (self.fate == Fate::Torn && side == UP)
    }
}

impl State {
    fn call(&mut self, now: Instant) {
        if self.calls.0 != now {
            self.calls = (now, 0);
        }
        self.calls.1 += 1;
        assert!(
            self.calls.1 < MOST_CALLS,
            "time stands still: somebody polls for ever"
        );
    }

    /// Lets something befall the connections of a line.
    fn befall(&mut self, line: usize, fate: Fate) {
        for connection in self.connections.values_mut() {
            if connection.line == line && connection.fate == Fate::Whole {
                connection.meet(fate, &mut self.rng);
            }
        }
    }

    fn is_dark(&self, line: usize) -> bool {
        self.lines[line].dark.iter().any(Option::is_some)
    }
}

impl Network {
    pub fn new(seed: u64, lines: usize, weather: Weather, trace: Arc<Trace>) -> Self {
        let now = Instant::now();
        let line = || Line {
            weather,
            dark: [None; 2],
            free_at: [now; 2],
        };
        Self(Arc::new(Mutex::new(State {
            rng: StdRng::seed_from_u64(seed),
            trace,
            lines: (0..lines).map(|_| line()).collect(),
            connections: BTreeMap::new(),
            next: 0,
            listener: None,
            trouble: Trouble::default(),
            calls: (now, 0),
        })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    /// The server listens, from now on here.
    pub fn listen(&self) -> mpsc::Receiver<(usize, Socket)> {
        let (listener, accepted) = mpsc::channel(1_024);
        self.with(|state| state.listener = Some(listener));
        accepted
    }

    /// What reaches the server over a line.
    pub fn connector(&self, line: usize) -> Arc<dyn Connect> {
        Arc::new(Connector {
            network: self.clone(),
            line,
        })
    }

    pub fn set_weather(&self, line: usize, weather: Weather) {
        self.with(|state| state.lines[line].weather = weather);
    }

    pub fn set_trouble(&self, trouble: Trouble) {
        self.with(|state| {
            state.trouble = trouble;
            if trouble == Trouble::default() {
                let connections = state.connections.values_mut();
                connections.for_each(|connection| connection.doom = None);
            }
        });
    }

    /// What is connected over a line meets this fate now; what connects later does not.
    pub fn befall(&self, line: usize, fate: Fate) {
        self.with(|state| state.befall(line, fate));
    }

    /// A direction of a line drops everything.
    pub fn darken(&self, line: usize, direction: usize) {
        let now = Instant::now();
        self.with(|state| {
            state.lines[line].dark[direction].get_or_insert(now);
        });
    }

    /// Both directions of a line are whole again. What was dropped is sent again within the time
    /// that TCP's waits have grown to.
    pub fn heal(&self, line: usize) {
        let now = Instant::now();
        self.with(|state| {
            let dark = std::mem::take(&mut state.lines[line].dark);
            for connection in state.connections.values_mut() {
                if connection.line != line {
                    continue;
                }
                for (pipe, dark) in connection.pipes.iter_mut().zip(dark) {
                    let Some(since) = dark else { continue };
                    if !pipe.queue.is_empty() || pipe.end.is_some() {
                        let most = (now - since).min(Duration::from_secs(60)).as_millis() as u64;
                        let wait = state.rng.random_range(0..=most);
                        pipe.not_before = now + Duration::from_millis(wait);
                    }
                    pipe.wake();
                }
            }
        });
    }

    /// Both ends of a new connection.
    fn establish(&self, line: usize) -> Option<Socket> {
        let now = Instant::now();
        self.with(|state| {
            let listener = state.listener.clone().filter(|open| !open.is_closed())?;
            let id = state.next;
            state.next += 1;
            let Trouble { cut, stall, slow } = state.trouble;
            let lot = state.rng.random_range(0..1_000);
            // A handshake takes some 6,000 bytes.
            let after = state.rng.random_range(1..8_000);
            let doom = match lot {
                lot if lot < cut / 2 => Some((after, Fate::Reset)),
                lot if lot < cut => Some((after, Fate::Torn)),
                lot if lot < cut + stall => Some((after, Fate::Gone)),
                _ => None,
            };
            let extra = match state.rng.random_range(0..1_000) < slow {
                true => state.rng.random_range(0..400),
                false => 0,
            };
            state.connections.insert(
                id,
                Connection {
                    line,
                    pipes: [Pipe::new(now), Pipe::new(now)],
                    fate: Fate::Whole,
                    doom,
                    extra: Duration::from_millis(extra),
                    ends: 2,
                },
            );
            state
                .trace
                .note(format_args!("connection {id} on line {line}: {doom:?}"));
            // A full backlog drops the server's end, which the agent sees as a loss.
            let _ = listener.try_send((line, Socket::new(self.clone(), id, DOWN)));
            Some(Socket::new(self.clone(), id, UP))
        })
    }
}

struct Connector {
    network: Network,
    line: usize,
}

impl Connect for Connector {
    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let (network, line) = (self.network.clone(), self.line);
        Box::pin(async move {
            // When SYN is sent.
            for wait in [0, 1, 2, 4, 8, 16] {
                sleep(Duration::from_secs(wait)).await;
                if network.with(|state| state.is_dark(line)) {
                    continue;
                }
                sleep(2 * network.with(|state| state.lines[line].weather.latency)).await;
                if network.with(|state| state.is_dark(line)) {
                    continue;
                }
                let socket = network.establish(line);
                let socket = socket.ok_or(io::ErrorKind::ConnectionRefused)?;
                return Ok(Box::new(socket) as Box<dyn Io>);
            }
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

/// One end of a connection.
pub struct Socket {
    network: Network,
    id: u64,
    /// The direction in which it writes.
    side: usize,
    timer: Pin<Box<Sleep>>,
}

impl Socket {
    fn new(network: Network, id: u64, side: usize) -> Self {
        Self {
            network,
            id,
            side,
            timer: Box::pin(sleep(Duration::ZERO)),
        }
    }

    /// Wakes this end then.
    fn wait(&mut self, cx: &mut Context<'_>, until: Instant) {
        self.timer.set(sleep_until(until));
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let now = Instant::now();
        let network = self.network.clone();
        let mut state = network.0.lock().unwrap();
        state.call(now);
        let State {
            connections, lines, ..
        } = &mut *state;
        let Some(connection) = connections.get_mut(&self.id) else {
            return Poll::Ready(Ok(()));
        };
        let direction = 1 - self.side;
        let lost = connection.is_lost(self.side);
        let pipe = &mut connection.pipes[direction];
        if lost {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        pipe.reader = Some(cx.waker().clone());
        if connection.fate == Fate::Gone || lines[connection.line].dark[direction].is_some() {
            return Poll::Pending;
        }
        let (arrives, what) = match (pipe.reset, pipe.queue.front(), pipe.end) {
            (Some(at), _, _) => (at, Err(io::ErrorKind::ConnectionReset.into())),
            (None, Some((at, _)), _) => (*at, Ok(())),
            (None, None, Some(at)) => (at, Ok(())),
            (None, None, None) => return Poll::Pending,
        };
        let arrives = arrives.max(pipe.not_before);
        if arrives > now {
            drop(state);
            self.wait(cx, arrives);
            return Poll::Pending;
        }
        if what.is_ok() {
            while let Some((at, bytes)) = pipe.queue.front_mut()
                && *at <= now
                && buf.remaining() > 0
            {
                let len = bytes.len().min(buf.remaining());
                buf.put_slice(&bytes[..len]);
                bytes.advance(len);
                pipe.queued -= len;
                if bytes.is_empty() {
                    pipe.queue.pop_front();
                }
            }
            pipe.writer.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(what)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        let mut state = self.network.0.lock().unwrap();
        state.call(now);
        let State {
            connections,
            lines,
            rng,
            trace,
            ..
        } = &mut *state;
        let Some(connection) = connections.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let line = &mut lines[connection.line];
        let told = connection.pipes[1 - self.side].reset;
        if connection.is_lost(self.side) || told.is_some_and(|at| at <= now) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let pipe = &mut connection.pipes[self.side];
        if pipe.end.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = bytes.len().min(BUFFERS - pipe.queued);
        if len == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        trace.note(format_args!("{} {} {len}", self.id, self.side));
        if pipe.reader_gone && line.dark == [None; 2] && connection.fate != Fate::Gone {
            // Nobody is there: the kernel says so.
            let back = &mut connection.pipes[1 - self.side];
            back.reset.get_or_insert(now + 2 * line.weather.latency);
            back.wake();
            return Poll::Ready(Ok(len));
        }
        let Weather {
            latency,
            jitter,
            rate,
        } = line.weather;
        let free_at = &mut line.free_at[self.side];
        let takes = Duration::from_nanos(len as u64 * 1_000_000_000 / rate);
        *free_at = now.max(*free_at) + takes;
        let jitter = jitter.mul_f64(rng.random_range(0.0..1.0));
        let arrives = (*free_at + latency + connection.extra + jitter).max(pipe.last);
        pipe.last = arrives;
        pipe.queue
            .push_back((arrives, Bytes::copy_from_slice(&bytes[..len])));
        pipe.queued += len;
        pipe.reader.take().into_iter().for_each(Waker::wake);
        if let Some((left, fate)) = &mut connection.doom {
            *left = left.saturating_sub(len);
            if *left == 0 {
                let fate = *fate;
                connection.meet(fate, rng);
            }
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        self.network.with(|state| {
            if let Some(connection) = state.connections.get_mut(&self.id) {
                let latency = state.lines[connection.line].weather.latency;
                let pipe = &mut connection.pipes[self.side];
                pipe.end.get_or_insert(pipe.last.max(now + latency));
                pipe.wake();
            }
        });
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let now = Instant::now();
        let Ok(mut state) = self.network.0.lock() else {
            return;
        };
        let State {
            connections, lines, ..
        } = &mut *state;
        let Some(connection) = connections.get_mut(&self.id) else {
            return;
        };
        connection.ends -= 1;
        if connection.ends == 0 {
            connections.remove(&self.id);
            return;
        }
        let latency = lines[connection.line].weather.latency;
        let pipe = &mut connection.pipes[self.side];
        pipe.end.get_or_insert(pipe.last.max(now + latency));
        pipe.wake();
        let other = &mut connection.pipes[1 - self.side];
        other.reader_gone = true;
        other.queue.clear();
        other.queued = 0;
        other.wake();
    }
}

//! A connection through port-forward whose bytes are counted on their way there and back.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    process::{ChildStdout, Command},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    client::Client,
    counted::Counted,
    load::{BEGINNING, CATCHING_UP, Load, Tally, within},
    numbers::Numbers,
    pod::Port,
    world::World,
};

/// What is sent at once: 48 KiB a second.
const CHUNK: u64 = 128;
const PACE: Duration = Duration::from_millis(20);

/// A number, big endian.
const WORD: usize = 8;

/// A kubectl that serves a local port.
pub(super) struct Forward {
    pub(super) client: Client,
    pub(super) port: u16,
    _stdout: BufReader<ChildStdout>,
}

impl Forward {
    /// Forwards a free local port to one of the pod's.
    pub(super) fn start(
        world: &World<'_>,
        mut kubectl: Command,
        name: &str,
        to: Port,
    ) -> Result<Self> {
        let port = format!(":{}", to.number());
        kubectl.args(["port-forward", "pod/peer", &port]);
        let (mut client, _, stdout) = Client::start(kubectl, name, world.folder())?;
        client.end_after(BEGINNING);
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let port = line
            .split_once("127.0.0.1:")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        let port = port
            .with_context(|| format!("it does not listen: {line:?} {:?}", client.complaints()))?;
        client.lift_limit();
        Ok(Self {
            client,
            port,
            _stdout: stdout,
        })
    }

    /// A connection through it.
    pub(super) fn dial(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).context("dial")?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(2 * CATCHING_UP))?;
        Ok(stream)
    }
}

struct Echo {
    forward: Forward,
    stream: TcpStream,
    count: Counted,
    stop: SyncSender<()>,
    sending: JoinHandle<u64>,
}

impl Load for Echo {
    fn name(&self) -> &'static str {
        "port-forward"
    }

    fn finish(self: Box<Self>) -> Tally {
        let Self {
            mut forward,
            stream,
            count,
            stop,
            sending,
        } = *self;
        drop(stop);
        let sent = sending.join().unwrap_or(0);
        if sent == 0 {
            return count.end(0, vec!["nothing could be sent".to_owned()]);
        }
        let _ = within(CATCHING_UP, || {
            Ok(count.has(sent - 1) || forward.client.has_ended())
        });
        let mut complaints = forward.client.complaints();
        if stream.shutdown(Shutdown::Both).is_err() {
            complaints.push("the connection was closed from the other side".to_owned());
        }
        count.end(sent - 1, complaints)
    }
}

/// Sends numbered words to a pod that sends everything back.
pub(super) fn echo(world: &World<'_>) -> Result<Box<dyn Load>> {
    let forward = Forward::start(world, world.kubectl()?, "port-forward", Port::Echo)?;
    let stream = forward.dial()?;
    let (reading, writing) = (stream.try_clone()?, stream.try_clone()?);
    let count = Counted::new(Numbers::from(0));
    let counting = count.clone();
    std::thread::spawn(move || read(reading, &counting));
    let (stop, stopped) = sync_channel(0);
    let sending = std::thread::spawn(move || send(writing, &stopped));
    let begun = within(BEGINNING, || Ok(count.has_begun()))?;
    ensure!(begun, "port-forward: nothing came back");
    Ok(Box::new(Echo {
        forward,
        stream,
        count,
        stop,
        sending,
    }))
}

/// Sends words until it is stopped; how many.
fn send(mut stream: TcpStream, stopped: &Receiver<()>) -> u64 {
    let mut sent = 0;
    while stopped.recv_timeout(PACE) != Err(RecvTimeoutError::Disconnected) {
        let words: Vec<u8> = (sent..sent + CHUNK).flat_map(u64::to_be_bytes).collect();
        sent += CHUNK;
        if stream.write_all(&words).is_err() {
            break;
        }
    }
    sent
}

fn read(mut stream: TcpStream, count: &Counted) {
    let mut word = [0; WORD];
    while stream.read_exact(&mut word).is_ok() {
        // There and back.
        count.take(Some(u64::from_be_bytes(word)), 2 * WORD, &word);
    }
}

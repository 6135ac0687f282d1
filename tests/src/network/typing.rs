//! Somebody who types in a terminal: every keystroke is echoed once by the container's terminal.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{ChildStdin, ChildStdout, Command},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    client::Client,
    counted::Counted,
    load::{BEGINNING, CATCHING_UP, Load, Tally, within},
    numbers::Numbers,
    world::World,
};

/// Between two keystrokes.
const PACE: Duration = Duration::from_millis(40);

/// Digits of a number that is typed, with the blank behind it.
const WIDTH: usize = 8;

/// Echoes what is typed, and only that: the terminal does it, the program says nothing.
const ECHOING: &str = "stty -icanon min 1; echo ready; exec cat > /dev/null";

struct Typing {
    name: &'static str,
    client: Client,
    count: Counted,
    sent: Sent,
    stop: SyncSender<()>,
    /// How many numbers it typed, and the input: its end would end the session.
    typist: JoinHandle<(u64, ChildStdin)>,
}

/// When each keystroke was sent that was not echoed yet, and the longest that one took.
#[derive(Clone, Debug, Default)]
struct Sent(Arc<Mutex<(VecDeque<Instant>, Duration)>>);

impl Sent {
    fn typed(&self) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.0.push_back(Instant::now());
    }

    fn echoed(&self) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = sent.0.pop_front() {
            sent.1 = sent.1.max(at.elapsed());
        }
    }

    fn longest(&self) -> Duration {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = sent.0.front().map_or(Duration::ZERO, Instant::elapsed);
        sent.1.max(waiting)
    }
}

impl Load for Typing {
    fn name(&self) -> &'static str {
        self.name
    }

    fn finish(self: Box<Self>) -> Tally {
        let Self {
            mut client,
            count,
            sent,
            stop,
            typist,
            ..
        } = *self;
        drop(stop);
        let Ok((typed @ 1.., _stdin)) = typist.join() else {
            return count.end(0, vec!["nothing could be typed".to_owned()]);
        };
        let _ = within(CATCHING_UP, || {
            Ok(count.has(typed - 1) || client.has_ended())
        });
        let mut tally = count.end(typed - 1, client.complaints());
        tally.longest = sent.longest();
        tally
    }
}

/// Over WebSockets, as kubectl does it by itself.
pub(super) fn over_websocket(world: &World<'_>) -> Result<Box<dyn Load>> {
    start(world, "exec -it", "true")
}

/// Over SPDY, as older kubectls do it.
pub(super) fn over_spdy(world: &World<'_>) -> Result<Box<dyn Load>> {
    start(world, "exec -it (SPDY)", "false")
}

fn start(world: &World<'_>, name: &'static str, websockets: &str) -> Result<Box<dyn Load>> {
    let line = format!(
        "stty -echo; KUBECTL_REMOTE_COMMAND_WEBSOCKETS={websockets} '{}' --kubeconfig '{}' exec -it shell -- sh -c '{ECHOING}'",
        world.kubectl_path()?.display(),
        world.kubeconfig().display(),
    );
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let (mut client, stdin, stdout) = Client::start(script, name, world.folder())?;
    let (sent, count) = (Sent::default(), Counted::new(Numbers::from(0)));
    let (ready, is_ready) = sync_channel(1);
    let (reading, arrived) = (count.clone(), sent.clone());
    std::thread::spawn(move || read(stdout, &ready, &reading, &arrived));
    let first = is_ready.recv_timeout(BEGINNING);
    ensure!(
        first.as_ref().is_ok_and(|line| line.trim() == "ready"),
        "{name}: no terminal: {first:?} {:?}",
        client.complaints()
    );
    let (stop, stopped) = sync_channel(0);
    let typing = sent.clone();
    let typist = std::thread::spawn(move || type_on(stdin, &stopped, &typing));
    let begun = within(BEGINNING, || Ok(count.has_begun()))?;
    ensure!(begun, "{name}: no echo: {:?}", client.complaints());
    Ok(Box::new(Typing {
        name,
        client,
        count,
        sent,
        stop,
        typist,
    }))
}

/// Types numbers until it is stopped; how many.
fn type_on(mut stdin: ChildStdin, stopped: &Receiver<()>, sent: &Sent) -> (u64, ChildStdin) {
    let mut number = 0;
    while stopped.recv_timeout(Duration::ZERO) != Err(RecvTimeoutError::Disconnected) {
        for key in format!("{number:0width$} ", width = WIDTH - 1).bytes() {
            sent.typed();
            if stdin.write_all(&[key]).is_err() || stdin.flush().is_err() {
                return (number + 1, stdin);
            }
            let _ = stopped.recv_timeout(PACE);
        }
        number += 1;
    }
    (number, stdin)
}

fn read(stdout: ChildStdout, ready: &SyncSender<String>, count: &Counted, sent: &Sent) {
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    let _ = stdout.read_line(&mut line);
    let _ = ready.send(line);
    let mut word = String::new();
    for byte in stdout.bytes() {
        let Ok(byte) = byte else { return };
        sent.echoed();
        match byte {
            b' ' => {
                // What kubectl says is not of this length.
                let number = (word.len() + 1 == WIDTH).then(|| word.parse().ok());
                count.take(number.flatten(), WIDTH, &word);
                word.clear();
            }
            byte => word.push(char::from(byte)),
        }
    }
}

//! What the pod `peer` serves: the other ends of connections through port-forward.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

/// How much the pod sends where it sends a lot.
pub const LARGE: usize = 4 << 20;

/// How much it answers late.
pub const ANSWER: usize = 128 << 10;

/// How late.
const LATE: Duration = Duration::from_millis(100);

/// Between two ticks.
const TICK: Duration = Duration::from_millis(50);

/// Its ports, by what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Sends back what comes.
    Echo,
    /// Reads a line, and answers a moment later with [`ANSWER`] bytes.
    AnswersLate,
    /// Sends a line every 50 ms and reads nothing.
    OnlyTicks,
    /// Sends without end, reads [`LARGE`] bytes and prints their digest.
    Floods,
}

impl Port {
    const ALL: [Self; 4] = [Self::Echo, Self::AnswersLate, Self::OnlyTicks, Self::Floods];

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Echo => 7000,
            Self::AnswersLate => 7001,
            Self::OnlyTicks => 7002,
            Self::Floods => 7003,
        }
    }

    fn serve(self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        match self {
            Self::Echo => io::copy(&mut &*stream, &mut &*stream).map(drop),
            Self::AnswersLate => {
                BufReader::new(stream).read_line(&mut String::new())?;
                pause(LATE);
                (&*stream).write_all(&vec![0; ANSWER])?;
                stream.shutdown(Shutdown::Write)
            }
            Self::OnlyTicks => loop {
                (&*stream).write_all(b"tick\n")?;
                pause(TICK);
            },
            Self::Floods => {
                let reading = stream.try_clone()?;
                std::thread::spawn(move || print_digest(self, &reading));
                loop {
                    (&*stream).write_all(&[0; 16384])?;
                }
            }
        }
    }
}

fn pause(time: Duration) {
    let (_sender, nothing): (_, Receiver<()>) = sync_channel(0);
    let _ = nothing.recv_timeout(time);
}

/// Goes to the log of the pod.
#[expect(clippy::print_stdout, reason = "its output is its purpose")]
fn print_digest(port: Port, stream: &TcpStream) -> io::Result<()> {
    let mut hash = Sha256::new();
    let limited = stream.take(LARGE as u64);
    let read = io::copy(&mut { limited }, &mut HashWriter(&mut hash))?;
    println!("{port:?} {read} {}", hex::encode(hash.finalize()));
    Ok(())
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves all ports until the pod ends.
///
/// # Errors
/// When one of them is taken.
pub fn serve() -> io::Result<()> {
    let mut threads = Vec::new();
    for port in Port::ALL {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number()))?;
        threads.push(std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || port.serve(&stream));
            }
        }));
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

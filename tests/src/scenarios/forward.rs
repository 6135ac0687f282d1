//! kubectl as a server of local ports: port-forward and proxy.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    process::{Child, ChildStdout, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::bulk::{MIB, digest};
use crate::table::{Context, Step, custom};

const REQUESTS: usize = 1000;
const DIALLERS: usize = 8;

pub(super) fn forward_requests(context: &Context, env: &[(&str, &str)]) -> Result<String> {
    let server = Server::start(context, "port-forward pod/shell :8080", env, "127.0.0.1:")?;
    let right = thread::scope(|scope| {
        let diallers: Vec<_> = (0..DIALLERS)
            .map(|_| {
                scope.spawn(|| {
                    (0..REQUESTS / DIALLERS)
                        .filter(|_| {
                            server
                                .ask(b"GET /index.html HTTP/1.0\r\n\r\n")
                                .is_ok_and(|answer| answer.ends_with(b"served\n"))
                        })
                        .count()
                })
            })
            .collect();
        diallers
            .into_iter()
            .map(|dialler| dialler.join().unwrap_or(0))
            .sum::<usize>()
    });
    ensure!(
        right == REQUESTS,
        "{right} of {REQUESTS} answers were right"
    );
    Ok(format!("{right} right answers"))
}

/// The answer begins after the client has closed its direction. (The end of the client's data does
/// not reach the pod: containerd forwards no half-close.)
pub(super) fn forward_half_close(context: &Context, env: &[(&str, &str)]) -> Result<String> {
    let server = Server::start(context, "port-forward pod/shell :9000", env, "127.0.0.1:")?;
    let answer = server.ask(b"word\n")?;
    ensure!(
        answer.len() == MIB,
        "{} bytes after the half-close",
        answer.len()
    );
    Ok(digest(&answer))
}

pub(super) fn forward_refused(context: &Context) -> Result<String> {
    let server = Server::start(context, "port-forward pod/shell :9999", &[], "127.0.0.1:")?;
    // Closed or reset: in any case not a byte.
    let answer = server.ask(b"hello").unwrap_or_default();
    Ok(format!("{} bytes", answer.len()))
}

/// `kubectl proxy` as it is by default: it drops the path of the server's address.
pub(super) fn proxy_without_path() -> Step {
    custom("proxy", |context| ask_proxy(context, "proxy --port=0"))
}

pub(super) fn proxy(context: &Context) -> Result<String> {
    ask_proxy(context, "proxy --port=0 --append-server-path")
}

fn ask_proxy(context: &Context, arguments: &str) -> Result<String> {
    let server = Server::start(context, arguments, &[], "127.0.0.1:")?;
    let path = format!("/api/v1/namespaces/{}/pods/shell", context.namespace);
    let mut answers = String::new();
    for path in ["/version", &path, "/none"] {
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answer = String::from_utf8_lossy(&server.get(request.as_bytes())?).into_owned();
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("an answer without a head")?;
        answers.push_str(head.lines().next().unwrap_or_default());
        answers.push('\n');
        answers.push_str(body);
    }
    Ok(answers)
}

/// A kubectl that serves a local port; ended when dropped.
struct Server {
    child: Child,
    port: u16,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it and reads the port from the first line, after `mark`.
    fn start(context: &Context, arguments: &str, env: &[(&str, &str)], mark: &str) -> Result<Self> {
        let mut child = context
            .command(arguments)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start kubectl")?;
        let mut stdout = BufReader::new(child.stdout.take().context("standard output")?);
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .context("read where it listens")?;
        let port = line
            .split_once(mark)
            .and_then(|(_, rest)| rest.split(|letter: char| !letter.is_ascii_digit()).next())
            .and_then(|port| port.parse().ok());
        match port {
            Some(port) => Ok(Self {
                child,
                port,
                _stdout: stdout,
            }),
            None => {
                child.kill().context("end kubectl")?;
                child.wait().context("wait for kubectl")?;
                bail!("kubectl {arguments} did not begin to listen; it said: {line}");
            }
        }
    }

    /// Sends a request, closes this direction, and reads to the end of the other.
    fn ask(&self, request: &[u8]) -> Result<Vec<u8>> {
        let stream = self.send(request)?;
        stream
            .shutdown(Shutdown::Write)
            .context("close one direction")?;
        receive(stream)
    }

    /// The same with a request of HTTP/1.0. Both directions stay open: for Go's HTTP server, which
    /// kubectl is here, a client that closed one is gone.
    fn get(&self, request: &[u8]) -> Result<Vec<u8>> {
        receive(self.send(request)?)
    }

    fn send(&self, request: &[u8]) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).context("dial")?;
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .context("set a timeout")?;
        stream.write_all(request).context("send")?;
        Ok(stream)
    }
}

fn receive(mut stream: TcpStream) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("receive")?;
    Ok(answer)
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

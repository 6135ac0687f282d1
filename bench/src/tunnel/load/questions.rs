//! Questions, each of which waits for the answer to the one before.

use super::super::{door::Door, service::Mode};
use crate::load::Measured;
use anyhow::Context as _;
use futures::future::try_join_all;
use std::{str, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};
use tunnel::Io;

/// Bytes of a ping.
pub const PING: usize = 100;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// As many bytes, sent back.
    Echo(usize),
    /// A page of 1 KiB over HTTP.
    Page,
}

/// For how long, first uncounted.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Uncounted.
    pub warm: Duration,
    /// Counted.
    pub time: Duration,
}

/// Asks on `connections` at once, which are there and have been used before anything is counted.
///
/// # Errors
/// When a connection or an answer fails.
pub async fn ask(
    door: &Door,
    question: Question,
    connections: usize,
    span: Span,
) -> anyhow::Result<Measured> {
    let asking = (0..connections).map(|_| Asking::begin(door, question));
    let asking = try_join_all(asking).await?;
    let begin = Instant::now() + span.warm;
    let end = begin + span.time;
    let workers: Vec<_> = asking
        .into_iter()
        .map(|asking| tokio::spawn(asking.go_on(begin, end)))
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    Measured::of(latencies, span.time)
}

/// A connection with a question on it.
pub struct Asking {
    io: Box<dyn Io>,
    question: Vec<u8>,
    /// Bytes of an answer; none while that is to be read from it.
    length: Option<usize>,
    answer: Vec<u8>,
}

impl Asking {
    /// Connects, and asks once.
    ///
    /// # Errors
    /// When there is no connection, or no answer.
    pub async fn begin(door: &Door, question: Question) -> anyhow::Result<Self> {
        let io = timeout(PATIENCE, door.connect())
            .await
            .context("no connection")??;
        let (first, again, length) = match question {
            Question::Echo(bytes) => {
                let mut first = vec![b'.'; bytes + 1];
                first[0] = Mode::Echo as u8;
                (first, vec![b'.'; bytes], Some(bytes))
            }
            Question::Page => {
                let get = b"GET /1k HTTP/1.1\r\nhost: bench\r\n\r\n".to_vec();
                (get.clone(), get, None)
            }
        };
        let mut asking = Self {
            io,
            question: first,
            length,
            answer: vec![0; 4096],
        };
        asking.once().await?;
        asking.question = again;
        Ok(asking)
    }

    async fn go_on(mut self, begin: Instant, end: Instant) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        loop {
            let asked = Instant::now();
            if asked >= end {
                return Ok(latencies);
            }
            self.once().await?;
            let done = Instant::now();
            if asked >= begin && done <= end {
                latencies.push(done - asked);
            }
        }
    }

    async fn once(&mut self) -> anyhow::Result<()> {
        self.io.write_all(&self.question).await?;
        self.io.flush().await?;
        let mut filled = 0;
        let mut wanted = self.length;
        while wanted.is_none_or(|wanted| filled < wanted) {
            let read = timeout(PATIENCE, self.io.read(&mut self.answer[filled..]))
                .await
                .context("no answer")??;
            anyhow::ensure!(read > 0, "connection closed before the answer");
            filled += read;
            if wanted.is_none() {
                wanted = page_length(&self.answer[..filled])?;
            }
        }
        anyhow::ensure!(
            wanted == Some(filled),
            "{filled} bytes of an answer of {wanted:?}"
        );
        Ok(())
    }
}

/// The length of an answer, once its head is there.
fn page_length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = str::from_utf8(&answer[..head])?.to_ascii_lowercase();
    anyhow::ensure!(text.starts_with("http/1.1 200"), "{text}");
    let body = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .with_context(|| format!("no length in {text:?}"))?;
    Ok(Some(head + 4 + body.trim().parse::<usize>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_its_head_says_and_its_head() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab";
        assert_eq!(page_length(answer).unwrap(), Some(answer.len() + 1));
        assert_eq!(page_length(&answer[..20]).unwrap(), None);
        assert!(page_length(b"HTTP/1.1 502 Bad\r\n\r\n").is_err());
    }
}

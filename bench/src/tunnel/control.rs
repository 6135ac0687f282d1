//! Asking a process of the benchmark: a word, and a line in answer.

use anyhow::Context as _;
use std::time::Duration;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

/// Longest wait for an answer, and for what is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is asked again.
const AGAIN: Duration = Duration::from_millis(10);

/// Answers, for ever.
pub async fn answer(
    listener: TcpListener,
    answers: impl Fn(&str) -> String + Clone + Send + 'static,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let answers = answers.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut word = String::new();
            while stream.read_line(&mut word).await? > 0 {
                let mut line = answers(word.trim());
                line.push('\n');
                stream.write_all(line.as_bytes()).await?;
                word.clear();
            }
            anyhow::Ok(())
        });
    }
}

/// A connection to ask on.
pub struct Control {
    stream: BufReader<TcpStream>,
}

impl Control {
    /// Connects to a port of loopback.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let stream = BufReader::new(stream);
        Ok(Self { stream })
    }

    /// The answer to a word.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn ask(&mut self, word: &str) -> anyhow::Result<String> {
        let exchange = async {
            let line = format!("{word}\n");
            self.stream.write_all(line.as_bytes()).await?;
            let mut answer = String::new();
            self.stream.read_line(&mut answer).await?;
            anyhow::Ok(answer.trim().to_owned())
        };
        timeout(PATIENCE, exchange)
            .await
            .with_context(|| format!("no answer to {word}"))?
    }

    /// Asks again and again, until the answer is a number that is wanted.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until(
        &mut self,
        word: &str,
        limit: Duration,
        wanted: impl Fn(u64) -> bool,
    ) -> anyhow::Result<u64> {
        let end = Instant::now() + limit;
        loop {
            let answer = self.ask(word).await?;
            let number = answer
                .parse()
                .with_context(|| format!("{word} is {answer:?}"))?;
            if wanted(number) {
                return Ok(number);
            }
            anyhow::ensure!(Instant::now() < end, "{word} stays {number} for {limit:?}");
            sleep(AGAIN).await;
        }
    }
}

/// Repeats what may fail at first, until it does not.
///
/// # Errors
/// The last one, when the time is up.
pub async fn retried<T>(
    limit: Duration,
    mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + limit;
    loop {
        let failed = match timeout(limit / 4, attempt()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error,
            Err(late) => late.into(),
        };
        if Instant::now() >= end {
            return Err(failed);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

//! As much as goes, over one stream or several.

use super::super::{
    control::Control,
    door::Door,
    service::{BLOCK, Mode},
};
use crate::cpu;
use anyhow::Context as _;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};

/// How long what is on its way may take to arrive when a load has ended.
const ENDING: Duration = Duration::from_secs(10);

/// Tells the uploads of all loads apart.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Which way bytes go, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the service.
    Up,
    /// From it.
    Down,
}

/// What a bulk load found.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// Over all streams, as it arrived.
    pub mib_per_second: f64,
    /// What the stream got that got least, of what the one got that got most.
    pub fairness: f64,
    /// What the given processes computed.
    pub cpu_per_gib: f64,
}

/// Streams of bulk that go on.
pub struct Flow {
    direction: Direction,
    streams: Vec<Stream>,
    stop: Arc<AtomicBool>,
}

struct Stream {
    number: u64,
    received: Arc<AtomicU64>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// What has arrived, by stream.
type Counts = BTreeMap<u64, u64>;

/// Runs `streams` at once: for `warm` uncounted, then for `time`. `pids` are the processes whose CPU counts.
///
/// # Errors
/// When a stream breaks, or nothing arrives.
pub async fn bulk(
    door: &Door,
    control: &mut Control,
    (direction, streams): (Direction, usize),
    (warm, time): (Duration, Duration),
    pids: &[i32],
) -> anyhow::Result<Bulk> {
    let mut begun = Instant::now();
    let flow = Flow::start(door, direction, streams);
    let mut before = Counts::new();
    // Without a time to warm up, the connection is part of what is measured.
    if !warm.is_zero() {
        sleep(warm).await;
        before = flow.counts(control).await?;
        begun = Instant::now();
    }
    let computed = computed(pids)?;
    sleep(time.saturating_sub(begun.elapsed())).await;
    let after = flow.counts(control).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = self::computed(pids)?.saturating_sub(computed).as_secs_f64();
    flow.end(control).await?;
    let arrived: Vec<f64> = after
        .iter()
        .map(|(number, bytes)| {
            bytes.saturating_sub(before.get(number).copied().unwrap_or(0)) as f64
        })
        .collect();
    let bytes: f64 = arrived.iter().sum();
    anyhow::ensure!(bytes > 0.0, "nothing arrived in {time:?}");
    // A stream that never began is in no count.
    let least = if arrived.len() < streams {
        0.0
    } else {
        arrived.iter().copied().fold(f64::INFINITY, f64::min)
    };
    let most = arrived.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    Ok(Bulk {
        mib_per_second: bytes / f64::from(1 << 20) / seconds,
        fairness: least / most,
        cpu_per_gib: cpu / (bytes / f64::from(1 << 30)),
    })
}

fn computed(pids: &[i32]) -> anyhow::Result<Duration> {
    pids.iter().map(|pid| cpu::of(*pid)).sum()
}

impl Flow {
    /// Starts `streams` at once.
    #[must_use]
    pub fn start(door: &Door, direction: Direction, streams: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let streams = (0..streams)
            .map(|_| {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let received = Arc::new(AtomicU64::new(0));
                let task = match direction {
                    Direction::Up => tokio::spawn(send(door.clone(), number, Arc::clone(&stop))),
                    Direction::Down => {
                        tokio::spawn(receive(door.clone(), number, Arc::clone(&received)))
                    }
                };
                Stream {
                    number,
                    received,
                    task,
                }
            })
            .collect();
        Self {
            direction,
            streams,
            stop,
        }
    }

    async fn counts(&self, control: &mut Control) -> anyhow::Result<Counts> {
        if self.direction == Direction::Down {
            let counts = self.streams.iter();
            return Ok(counts
                .map(|stream| (stream.number, stream.received.load(Ordering::Relaxed)))
                .collect());
        }
        let answer = control.ask("received").await?;
        let counts = answer.split_whitespace().map(|count| {
            let (number, bytes) = count.split_once(':').context("not a count")?;
            Ok((number.parse()?, bytes.parse()?))
        });
        counts
            .collect::<anyhow::Result<Counts>>()
            .with_context(|| format!("received: {answer:?}"))
    }

    /// Ends them in good order, and waits until nothing is on its way.
    ///
    /// # Errors
    /// When one broke, or does not end.
    pub async fn end(self, control: &mut Control) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        control.ask("stop").await?;
        let late = Instant::now() + ENDING;
        for stream in self.streams {
            let unfinished = stream.task.abort_handle();
            match timeout_at(late, stream.task).await {
                Ok(ended) => ended??,
                // Not every tunnel passes an end on while much is on its way.
                Err(_) => unfinished.abort(),
            }
        }
        control.until("open", ENDING, |open| open == 0).await?;
        Ok(())
    }
}

async fn send(door: Door, number: u64, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut io = door.connect().await?;
    io.write_all(&header(Mode::Upload, number)).await?;
    let block = vec![0x5a; BLOCK];
    while !stop.load(Ordering::Relaxed) {
        io.write_all(&block).await?;
    }
    // Some tunnels pass no end on before the connection is closed, and it is, next.
    Ok(io.shutdown().await?)
}

async fn receive(door: Door, number: u64, received: Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut io = door.connect().await?;
    io.write_all(&header(Mode::Download, number)).await?;
    io.flush().await?;
    let mut block = vec![0; BLOCK];
    loop {
        match io.read(&mut block).await? {
            0 => return Ok(()),
            read => received.fetch_add(read as u64, Ordering::Relaxed),
        };
    }
}

fn header(mode: Mode, number: u64) -> Vec<u8> {
    let mut header = vec![mode as u8];
    header.extend_from_slice(&number.to_be_bytes());
    header
}

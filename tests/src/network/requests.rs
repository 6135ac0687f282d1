//! Ordinary requests: a new one four times a second, whatever became of those before.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use http::Request;
use tokio::{runtime::Handle, sync::watch, task::JoinSet};

use super::{
    load::{CATCHING_UP, Load, Tally},
    world::World,
};

/// Between two of them.
const PACE: Duration = Duration::from_millis(250);

/// One that was served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    /// When it was sent.
    pub(super) sent: Instant,
    /// How long it took.
    pub(super) took: Duration,
}

/// What the requests of a load have come to, for who looks on.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<(Tally, Vec<Served>)>>);

impl Log {
    fn add(&self, sent: Instant, result: Result<String, kube::Error>) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let took = sent.elapsed();
        log.0.longest = log.0.longest.max(took);
        match result {
            Ok(answer) => {
                log.0.bytes += u64::try_from(answer.len()).unwrap_or(u64::MAX);
                log.1.push(Served { sent, took });
            }
            Err(error) => {
                let said = format!("after {:.1} s: {error}", took.as_secs_f64());
                log.0.errors.push(said);
            }
        }
    }

    /// How long the first request took that was sent after that moment; none when none was served.
    pub(super) fn first_after(&self, moment: Instant) -> Option<Served> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let after = log.1.iter().filter(|served| served.sent >= moment);
        after
            .min_by_key(|served| served.sent + served.took)
            .copied()
    }
}

struct Requests {
    stop: watch::Sender<bool>,
    runtime: Handle,
    sending: tokio::task::JoinHandle<()>,
    log: Log,
}

impl Load for Requests {
    fn name(&self) -> &'static str {
        "requests"
    }

    fn finish(self: Box<Self>) -> Tally {
        self.stop.send_replace(true);
        let ended = self.runtime.block_on(self.sending);
        let mut log = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_err() {
            log.0.errors.push("the task that asks ended".to_owned());
        }
        log.0.clone()
    }
}

/// Begins to ask.
pub(super) fn start(world: &World<'_>) -> Result<(Box<dyn Load>, Log)> {
    let log = Log::default();
    let (stop, stopped) = watch::channel(false);
    let runtime = Handle::current();
    let sending = runtime.spawn(ask_on(world.tunnel_client(), log.clone(), stopped));
    let load = Requests {
        stop,
        runtime,
        sending,
        log: log.clone(),
    };
    Ok((Box::new(load), log))
}

async fn ask_on(client: kube::Client, log: Log, mut stopped: watch::Receiver<bool>) {
    let mut asking = JoinSet::new();
    loop {
        let (client, log) = (client.clone(), log.clone());
        asking.spawn(async move {
            let sent = Instant::now();
            let Ok(request) = Request::get("/api/v1/namespaces/kube-system").body(Vec::new())
            else {
                return;
            };
            log.add(sent, client.request_text(request).await);
        });
        while asking.try_join_next().is_some() {}
        let stop = stopped.wait_for(|stop| *stop);
        if tokio::time::timeout(PACE, stop).await.is_ok() {
            break;
        }
    }
    let rest = async { while asking.join_next().await.is_some() {} };
    if tokio::time::timeout(CATCHING_UP, rest).await.is_err() {
        let mut log = log.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.0.lost += u64::try_from(asking.len()).unwrap_or(u64::MAX);
    }
}

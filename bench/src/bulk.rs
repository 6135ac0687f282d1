//! One large download over each way, each end of which is one thread: how the ends share cores
//! must not differ from way to way.

use crate::{
    backend::{self, Tls},
    endpoint::Endpoint,
    load, lone_tunnel, reverse_proxy, simulator,
};
use anyhow::Context as _;
use std::{future::Future, sync::Arc, thread};
use tokio::runtime::{Builder, Handle};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// MiB per second of each way, a figure a repetition.
#[derive(Debug, Default)]
pub struct Rates {
    /// A TLS connection.
    pub bare: Vec<f64>,
    /// A tunnel with no server around it.
    pub tunnel: Vec<f64>,
    /// A reverse proxy between two TLS connections.
    pub hop: Vec<f64>,
    /// A server and the tunnel of its agent.
    pub through: Vec<f64>,
}

/// Downloads `mib` MiB `repetitions` times over each way, in turns.
///
/// # Errors
/// When a download fails.
pub async fn measure(through: Endpoint, mib: u64, repetitions: usize) -> anyhow::Result<Rates> {
    let tls = backend::tls()?;
    let (serving, proxying, loading) = (Thread::start()?, Thread::start()?, Thread::start()?);
    let port = serving
        .run(backend::listen(Arc::clone(&tls.server)))
        .await?;
    let config = local_config(port, &tls)?;
    let proxy_tls = Arc::clone(&tls.server);
    let hop = proxying
        .run(async move { reverse_proxy::start(&config, proxy_tls).await })
        .await?;
    let listening = tls.clone();
    let (dialer, mut sessions) = loading
        .run(async move { lone_tunnel::listen(&listening).await })
        .await?;
    let agent = serving
        .run(async move { simulator::connect(&dialer, "none", None, &TaskTracker::new()).await })
        .await?;
    let tunnel = sessions.recv().await.context("the agent did not connect")?;
    let bare = Endpoint::local(port, Arc::clone(&tls.client))?;
    let hop = Endpoint::local(hop, tls.client)?;
    let rates = loading
        .run(async move {
            let (path, bytes) = (format!("/bulk/{mib}"), mib << 20);
            let mut rates = Rates::default();
            for _ in 0..repetitions {
                let rate = load::download(&bare, &path, bytes).await?;
                rates.bare.push(rate);
                let rate = load::download_over(&tunnel, &path, bytes).await?;
                rates.tunnel.push(rate);
                let rate = load::download(&hop, &path, bytes).await?;
                rates.hop.push(rate);
                let rate = load::download(&through, &path, bytes).await?;
                rates.through.push(rate);
            }
            Ok(rates)
        })
        .await?;
    drop(agent);
    Ok(rates)
}

fn local_config(port: u16, tls: &Tls) -> anyhow::Result<kube::Config> {
    let mut config = kube::Config::new(format!("https://localhost:{port}").parse()?);
    config.root_cert = Some(vec![tls.ca_der.clone()]);
    Ok(config)
}

/// A thread with a runtime of its own, until it is dropped.
struct Thread {
    handle: Handle,
    _stop: DropGuard,
}

impl Thread {
    fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        thread::spawn(move || runtime.block_on(stopped));
        Ok(Self {
            handle,
            _stop: stop.drop_guard(),
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        self.handle.spawn(work).await?
    }
}

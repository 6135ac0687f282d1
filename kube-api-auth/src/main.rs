//! `kube-api-auth`: the token webhook of a connected cluster's API server.
//!
//! The API server asks it about bearer tokens that it does not know itself. It answers from what the Lariat
//! server keeps in the cluster for it, so that the server's users are known while the server is away. To
//! answer it asks nobody and writes nothing.

mod config;
mod follow;
mod hash;
mod known;
mod metrics;
mod policy;
mod review;
mod serve;
mod table;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use config::{Config, LogFormat};
use known::Known;
use metrics::Metrics;
use serve::Webhook;

/// `sysexits.h`: the command line or the environment is wrong.
const EX_USAGE: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::from_args(std::env::args_os()) {
        Ok(config) => config,
        Err(error) => {
            let _ = error.print();
            let asked = error.exit_code() == 0;
            return if asked {
                ExitCode::SUCCESS
            } else {
                EX_USAGE.into()
            };
        }
    };
    init_log(&config);
    match run(config).await {
        Ok(0) => {
            info!("ended: drained");
            ExitCode::SUCCESS
        }
        Ok(cut) => {
            info!(cut, "ended; some connections had to be cut");
            ExitCode::SUCCESS
        }
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until told to stop. Returns how many connections had to be cut.
async fn run(config: Config) -> anyhow::Result<usize> {
    let kube_config = config.kube_config().await?;
    let cluster = kube_config.cluster_url.clone();
    let kube =
        kube::Client::try_from(kube_config).context("cannot make a client for the cluster")?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %listener.local_addr()?,
        %cluster,
        namespace = config.namespace,
        "kube-api-auth starts"
    );
    let stop = CancellationToken::new();
    let known = Arc::new(Known::default());
    let webhook = Arc::new(Webhook {
        metrics: Metrics::new(Arc::clone(&known)),
        known: Arc::clone(&known),
        now: Timestamp::now,
    });
    let mut following = tokio::spawn(follow::all(kube, config.namespace, known));
    let serving = serve::serve(listener, webhook, stop.clone(), config.drain);
    let mut serving = tokio::spawn(serving);
    tokio::select! {
        () = terminated() => info!("told to stop: finishing what runs"),
        ended = &mut following => {
            ended.context("the task that follows the cluster failed")?;
            anyhow::bail!("the task that follows the cluster ended by itself");
        }
        ended = &mut serving => {
            ended.context("the serving task failed")?;
            anyhow::bail!("the serving task ended by itself");
        }
    }
    stop.cancel();
    let cut = serving.await.context("the serving task failed")?;
    following.abort();
    Ok(cut)
}

async fn terminated() {
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}

fn init_log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::new(&config.log_level);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

//! `cattle-cluster-agent`: connects the cluster it runs in to a Lariat server, by dialling out.
//!
//! It serves what the server asks for over the tunnel, as far as the policy in its own cluster
//! allows: today, requests to the cluster's API server in the name of the server's users.

mod config;
mod connection;
mod credentials;
mod facts;
mod health;
mod kube_proxy;
mod policy;
mod streams;
mod traces;

use anyhow::Context as _;
use config::{Config, LogFormat};
use std::{io::IsTerminal as _, process::ExitCode, sync::Arc};
use telemetry::Traces;
use tokio::{net::TcpListener, signal::unix::SignalKind};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

// Messages of 64 KiB come and go: the system's allocator takes a tenth more CPU for a copy.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
        Ok(how) => {
            info!("ended: {how}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<&'static str> {
    let kube_config = config.kube_config().await?;
    let kube = kube::Client::try_from(kube_config.clone())
        .context("cannot make a client for the cluster")?;
    let listener = TcpListener::bind(config.health_address)
        .await
        .with_context(|| {
            format!(
                "cannot listen on {} for health checks",
                config.health_address
            )
        })?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        server = %config.server,
        cluster = %kube_config.cluster_url,
        health = %listener.local_addr()?,
        "cattle-cluster-agent starts"
    );

    let stop = CancellationToken::new();
    let status = health::Status::new();
    let policy = policy::Current::denying("the policy was not read yet");
    let forwarder = kube_proxy::Forwarder::new(&kube_config)?;
    let (traces, exporter) = match &config.traces {
        Some(settings) => {
            let (traces, exporter) = Traces::start(settings).context("cannot export traces")?;
            info!(collector = %settings.url(), "requests are traced");
            (traces, Some(exporter))
        }
        None => (Traces::off(), None),
    };
    let drained = CancellationToken::new();
    let exporting = exporter.map(|exporter| tokio::spawn(exporter.run(drained.clone())));
    let streams = Arc::new(streams::Streams::new(forwarder, policy.clone(), traces));
    let health = tokio::spawn(health::serve(listener, status.clone(), stop.clone()));
    let watching = tokio::spawn(policy::watch(
        kube.clone(),
        config.namespace.clone(),
        policy,
        stop.clone(),
    ));
    let connection = connection::Connection {
        config,
        kube,
        status,
        streams,
        stop: stop.clone(),
    };
    let mut connecting = tokio::spawn(connection.run());

    tokio::select! {
        () = terminated() => info!("told to stop: finishing what runs"),
        ended = &mut connecting => {
            ended.context("the connection task failed")?;
            anyhow::bail!("the connection task ended by itself");
        }
    }
    stop.cancel();
    connecting.await.context("the connection task failed")?;
    let _ = futures::future::join(health, watching).await;
    drained.cancel();
    if let Some(exporting) = exporting {
        // Waits at most six seconds.
        exporting.await.context("the export of traces failed")?;
    }
    Ok("drained")
}

async fn terminated() {
    let signal = |kind| tokio::signal::unix::signal(kind);
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

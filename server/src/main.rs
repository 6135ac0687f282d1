//! The Lariat management server: parse, build, bind, announce, run until told, drain, say how it
//! ended.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use lariat_server::Server;
use lariat_server::backup;
use lariat_server::clock::Clock;
use lariat_server::config::{self, Command, Config, LogFormat, Sources};
use lariat_server::encryption;
use lariat_server::management;
use secrecy::ExposeSecret;
use store::backup::Summary;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

// Returns memory of closed connections to the system, which the system's allocator does not.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What sysexits.h calls EX_USAGE: the configuration is wrong.
const EXIT_USAGE: u8 = 64;

#[expect(
    clippy::print_stdout,
    reason = "what was asked for on the command line"
)]
fn main() -> ExitCode {
    let sources = Sources::collect(
        std::env::args().skip(1),
        |name| std::env::var(name).ok(),
        |path| std::fs::read_to_string(path),
    );
    match &sources.command {
        Command::Serve => configured(&sources, serve),
        Command::Backup { file } => configured(&sources, |config| {
            let Summary { revision, entries } = backup::take(&config, file)?;
            println!(
                "{entries} entries at revision {revision} are in {}",
                file.display()
            );
            Ok(())
        }),
        Command::Restore { file, overwrite } => configured(&sources, |config| {
            let Summary { revision, entries } = backup::restore(&config, file, *overwrite)?;
            println!("{entries} entries are restored; the store goes on from revision {revision}");
            Ok(())
        }),
        Command::Keys(command) => configured(&sources, |config| {
            encryption::ask_or_run(&config, *command, |line| println!("{line}"))
        }),
        Command::KeysHelp => {
            print!("{}", config::keys_help());
            ExitCode::SUCCESS
        }
        Command::Help => {
            print!("{}", config::help());
            ExitCode::SUCCESS
        }
        Command::Version => {
            println!("lariat-server {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Command::ConfigReference => {
            print!("{}", config::reference());
            ExitCode::SUCCESS
        }
        Command::Definitions => match management::definitions() {
            Ok(definitions) => {
                println!("{definitions:#}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("{error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

#[expect(
    clippy::print_stderr,
    reason = "there is no log before there is a configuration"
)]
fn configured(sources: &Sources, run: impl FnOnce(Config) -> anyhow::Result<()>) -> ExitCode {
    let config = match Config::new(sources) {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!(
                "lariat-server: the configuration has {} mistakes:",
                mistakes.len()
            );
            for mistake in mistakes {
                eprintln!("  {mistake}");
            }
            return ExitCode::from(EXIT_USAGE);
        }
    };
    start_log(&config);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("another crypto provider is installed");
    }
    let shutdown = CancellationToken::new();
    let mut server = Server::bind(config, Clock::system(), shutdown.clone()).await?;
    announce(&mut server)?;
    tokio::spawn(signals(shutdown, server.app().audit.clone()));
    match server.run().await {
        0 => tracing::info!("stopped"),
        cut => tracing::warn!(cut, "stopped; some connections had to be cut"),
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a password is shown, not logged")]
fn announce(server: &mut Server) -> anyhow::Result<()> {
    let address = server.address().context("cannot tell the address")?;
    let config = &server.app().config;
    let checksum = server.app().certificates.checksum().unwrap_or_default();
    tracing::info!(%address, url = %config.server_url, ca_checksum = checksum, "serving");
    if let Some(password) = server.take_made_up_password() {
        let password = password.expose_secret();
        eprintln!("\nThe first administrator is \"admin\" with the password {password}");
        eprintln!("This is shown once. Change it with: lariat passwd\n");
    }
    Ok(())
}

/// SIGTERM and SIGINT stop the server, a second one at once; SIGHUP opens the audit log again.
async fn signals(shutdown: CancellationToken, audit: lariat_server::audit::AuditSink) {
    let streams = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = streams else {
        return tracing::error!("cannot handle signals");
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {
                audit.reopen();
                continue;
            }
        }
        if shutdown.is_cancelled() {
            tracing::warn!("told to stop again; stopping at once");
            std::process::exit(1);
        }
        tracing::info!("stopping; open requests may end");
        shutdown.cancel();
    }
}

fn start_log(config: &Config) {
    // The filter was parsed before.
    let filter = tracing_subscriber::EnvFilter::new(&config.log);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

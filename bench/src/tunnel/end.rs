//! What this program is when the benchmark starts it again: an end of a tunnel, or what is around one. Each is one
//! thread.

mod agent;
mod gateway;
mod server;

pub(super) use agent::introduction;

use super::{control, delay, service::Service};
use crate::{
    backend::{self, Certificates, Tls},
    reverse_proxy::Pool,
};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, runtime::Builder};

/// Copy buffer of each direction.
const SPLICE_BUFFER: usize = 64 * 1024;

/// A role of this program.
#[derive(Subcommand)]
pub enum Role {
    /// The accepting end of a tunnel
    #[command(hide = true)]
    Server(Accepting),
    /// The dialling end
    #[command(hide = true)]
    Agent(Dialling),
    /// What loads are sent to
    #[command(hide = true)]
    Target,
    /// An HTTP server over TLS
    #[command(hide = true)]
    Backend(Folder),
    /// A reverse proxy to the HTTP server
    #[command(hide = true)]
    Hop(Proxying),
    /// A network with a round trip
    #[command(hide = true)]
    Delay(Delaying),
}

/// Where the certificates are.
#[derive(Args)]
pub struct Folder {
    folder: PathBuf,
}

/// Settings of an accepting end.
#[derive(Args)]
pub struct Accepting {
    folder: PathBuf,
    /// What agents dial for visitors, and for requests that are not answered at the agent
    #[arg(long, default_value = "")]
    target: String,
}

/// Settings of a dialling end.
#[derive(Args)]
pub struct Dialling {
    folder: PathBuf,
    /// Port of the server
    #[arg(long)]
    server: u16,
    /// Port of the HTTP server that answers requests
    #[arg(long, default_value_t = 0)]
    backend: u16,
    /// How many agents, each with a session of its own
    #[arg(long, default_value_t = 1)]
    count: usize,
}

/// Settings of a reverse proxy.
#[derive(Args)]
pub struct Proxying {
    folder: PathBuf,
    /// Port of the HTTP server
    #[arg(long)]
    backend: u16,
}

/// Settings of a network.
#[derive(Args)]
pub struct Delaying {
    /// Where connections go
    to: String,
    /// Where they come from
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST)]
    address: Ipv4Addr,
    /// Where they come from; any port by default
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Half a round trip
    #[arg(long, default_value_t = 25)]
    each_way_ms: u64,
}

impl Role {
    /// Does it, for ever.
    ///
    /// # Errors
    /// When it cannot begin.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Server(settings) => server::run(settings).await,
                Self::Agent(settings) => agent::run(settings).await,
                Self::Target => target().await,
                Self::Backend(settings) => {
                    let port = backend::listen(certificates(&settings.folder)?.server).await?;
                    announce(&[("https", port)]);
                    std::future::pending().await
                }
                Self::Hop(settings) => hop(settings).await,
                Self::Delay(settings) => {
                    let listener = TcpListener::bind((settings.address, settings.port)).await?;
                    announce(&[("near", listener.local_addr()?.port())]);
                    let each_way = Duration::from_millis(settings.each_way_ms);
                    delay::run(listener, settings.to, each_way).await;
                    Ok(())
                }
            }
        })
    }
}

async fn target() -> anyhow::Result<()> {
    let service = Arc::new(Service::default());
    let listener = listen().await?;
    let asked = listen().await?;
    announce(&[
        ("tcp", listener.local_addr()?.port()),
        ("control", asked.local_addr()?.port()),
    ]);
    let answers = Arc::clone(&service);
    tokio::spawn(control::answer(asked, move |word| answers.control(word)));
    while let Ok((tcp, _)) = listener.accept().await {
        tcp.set_nodelay(true)?;
        let service = Arc::clone(&service);
        tokio::spawn(async move { service.serve(tcp).await });
    }
    Ok(())
}

async fn hop(settings: Proxying) -> anyhow::Result<()> {
    let tls = certificates(&settings.folder)?;
    let pool = Pool::local(settings.backend, &tls.client)?;
    let listener = listen().await?;
    announce(&[("http", listener.local_addr()?.port())]);
    while let Ok((tcp, _)) = listener.accept().await {
        tcp.set_nodelay(true)?;
        tokio::spawn(pool.clone().serve(tcp));
    }
    Ok(())
}

async fn listen() -> anyhow::Result<TcpListener> {
    Ok(TcpListener::bind("127.0.0.1:0").await?)
}

/// Names of the certificates' files in the folder of the benchmark.
pub const CERTIFICATE_FILES: [&str; 3] = ["ca.pem", "certificate.pem", "key.pem"];

fn certificates(folder: &Path) -> anyhow::Result<Tls> {
    let read = |name| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let [ca, certificate, key] = CERTIFICATE_FILES.map(read);
    Certificates {
        ca: ca?,
        certificate: certificate?,
        key: key?,
    }
    .tls()
}

/// Tells the process that started this one where it listens.
#[expect(clippy::print_stdout, reason = "that is where it is read")]
fn announce(ports: &[(&str, u16)]) {
    let ports: serde_json::Map<_, _> = ports
        .iter()
        .map(|(of, port)| ((*of).to_owned(), (*port).into()))
        .collect();
    println!("{}", serde_json::Value::Object(ports));
}

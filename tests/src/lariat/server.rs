//! `lariat-server` as a process.

use super::{api::Api, binary};
use anyhow::Context as _;
use serde_json::json;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use testbed::{Process, Testbed};

/// Password of the first administrator of servers started here.
const PASSWORD: &str = "testbed-administrator";

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where and how a server runs.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Its data and logs are in this folder.
    pub folder: PathBuf,
    /// The address at which clusters find it.
    pub address: IpAddr,
    /// Its port; 0 picks one.
    pub port: u16,
    /// More flags. With `--listen` among them it listens there, otherwise on all addresses of IPv4.
    pub flags: Vec<String>,
}

impl ServerOptions {
    /// A server on loopback with its data in `folder`.
    #[must_use]
    pub fn loopback(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            flags: Vec::new(),
        }
    }
}

/// A running server. It ends when it is dropped, and at the latest with the testbed's owner.
pub struct Server<'a> {
    testbed: &'a Testbed,
    options: ServerOptions,
    environment: Vec<(String, String)>,
    process: Process,
}

impl<'a> Server<'a> {
    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start; the error holds the end of its log.
    pub async fn start(testbed: &'a Testbed, mut options: ServerOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.folder)
            .with_context(|| format!("cannot create {}", options.folder.display()))?;
        if options.port == 0 {
            options.port = free_port(options.address)?;
        }
        let process = launch(testbed, &options, &[])?;
        let server = Self {
            testbed,
            options,
            environment: Vec::new(),
            process,
        };
        server.wait_ready().await?;
        Ok(server)
    }

    /// Its address for clients and agents.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "https://{}",
            SocketAddr::new(self.options.address, self.options.port)
        )
    }

    /// Its private CA, as a file.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.options.folder.join("ca.pem")
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.options.folder.join("server.log")
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// The administrator's name and password.
    #[must_use]
    pub fn administrator(&self) -> (&'static str, &'static str) {
        ("admin", PASSWORD)
    }

    /// A logged-in administrator.
    ///
    /// # Errors
    /// When the login fails.
    pub async fn api(&self) -> anyhow::Result<Api> {
        Api::login(&self.url(), "admin", PASSWORD).await
    }

    /// A kubeconfig for the management API, as administrator.
    ///
    /// # Errors
    /// When the login fails.
    pub async fn kubeconfig(&self) -> anyhow::Result<String> {
        let token = self.api().await?.token;
        let config = json!({
            "apiVersion": "v1", "kind": "Config",
            "clusters": [{"name": "lariat", "cluster": {
                "server": self.url(), "certificate-authority": self.ca_file()}}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "lariat", "context": {"cluster": "lariat", "user": "admin"}}],
            "current-context": "lariat",
        });
        Ok(config.to_string())
    }

    /// Ends the server as a crash would.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Ends the server as an administrator would.
    pub fn stop(&self) {
        self.process.stop(PATIENCE);
    }

    /// What it has in its environment from its next start on, beside this program's own.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Starts it again with the same data, after it has ended, and does not wait.
    ///
    /// # Errors
    /// When there is no program.
    pub fn relaunch(&mut self) -> anyhow::Result<()> {
        self.process = launch(self.testbed, &self.options, &self.environment)?;
        Ok(())
    }

    /// The same, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.relaunch()?;
        self.wait_ready().await
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let problem = match Api::fetch_ca(&self.url()).await {
                Ok(ca) if self.is_own(&ca) => return Ok(std::fs::write(self.ca_file(), ca)?),
                Ok(_) => anyhow::anyhow!("another server answers at {}", self.url()),
                Err(error) => error,
            };
            if let Some(status) = self.process.exited() {
                anyhow::bail!("the server ended with {status}:\n{}", self.log_end());
            }
            if started.elapsed() > PATIENCE {
                return Err(problem.context(format!(
                    "the server is not ready after {} s:\n{}",
                    PATIENCE.as_secs(),
                    self.log_end()
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn is_own(&self, ca: &str) -> bool {
        let own = self.options.folder.join("data/ca.crt");
        std::fs::read_to_string(own).is_ok_and(|own| own == ca)
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

fn launch(
    testbed: &Testbed,
    options: &ServerOptions,
    environment: &[(String, String)],
) -> anyhow::Result<Process> {
    let mut command = Command::new(binary("lariat-server")?);
    let url = format!("https://{}", SocketAddr::new(options.address, options.port));
    command
        .arg("--data-dir")
        .arg(options.folder.join("data"))
        .args(["--server-url", &url])
        .arg("--audit-log")
        .arg(options.folder.join("audit.log"))
        .args(&options.flags)
        .envs(environment.iter().cloned())
        .env("LARIAT_BOOTSTRAP_PASSWORD", PASSWORD);
    if !options.flags.iter().any(|flag| flag == "--listen") {
        command.args(["--listen", &format!("0.0.0.0:{}", options.port)]);
    }
    let log = options.folder.join("server.log");
    Ok(testbed.start_process("lariat-server", &command, &log)?)
}

/// A port at that address that a server can have.
///
/// # Errors
/// When all that are looked at are taken.
pub fn free_port(address: IpAddr) -> anyhow::Result<u16> {
    // Below the range that outgoing connections use, so that it stays free until it is bound. Each
    // process begins elsewhere: two that look at once do not find the same port.
    let first = u16::try_from(std::process::id() % 200)?;
    (0..200)
        .map(|step| 18443 + (first + step) % 200)
        .find(|port| TcpListener::bind((address, *port)).is_ok())
        .context("no free port between 18443 and 18643")
}

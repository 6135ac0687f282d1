//! What the operator decides: flags over environment over file over defaults, every mistake
//! reported in one run.

mod reference;
mod settings;
mod sources;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use reference::{help, keys_help, reference};
pub use sources::{Command, Sources};

/// Everything the operator decides, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the store, the private CA and its certificates are kept.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the objects are kept.
    pub store: StoreChoice,
    /// How clients and agents reach the server: scheme `https`, no path.
    pub server_url: Url,
    /// Names and addresses in the certificate that the server makes, besides those it knows.
    pub tls_names: Vec<String>,
    /// A certificate of the operator's own. Read again when it changes.
    pub tls_files: Option<TlsFiles>,
    /// Password of the first administrator. Used only while there is no user.
    pub bootstrap_password: BootstrapPassword,
    /// The key ring that seals secrets in the store, if it is not in the data directory.
    pub encryption_keys: Option<PathBuf>,
    /// Which events are logged, in the syntax of `RUST_LOG`.
    pub log: String,
    /// How they are written.
    pub log_format: LogFormat,
    /// What is recorded of requests, and where.
    pub audit: Audit,
    /// Which sessions in containers are recorded, and where.
    pub recordings: Recordings,
    /// Limits on clients.
    pub limits: Limits,
    /// How long open requests may go on after the server was told to stop.
    pub drain_timeout: Duration,
    /// Image of the cluster agent that import manifests name.
    pub agent_image: String,
    /// Image of the token webhook in import manifests.
    pub auth_image: String,
    /// How requests are traced, if they are.
    pub traces: Option<telemetry::Settings>,
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The CA that clients must trust, if it is not among their platform's roots.
    pub ca: Option<PathBuf>,
}

/// Where the objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// In a file in the data directory.
    Redb,
    /// In an etcd.
    Etcd(EtcdSettings),
}

/// Where an etcd is and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdSettings {
    /// The client URLs of its members, all `https` or all `http`.
    pub endpoints: Vec<String>,
    /// What the store's keys begin with.
    pub prefix: String,
    /// The CA (PEM) that its members' certificates are from; there for `https` and only then.
    pub ca: Option<PathBuf>,
    /// A certificate and its key (PEM) to show to it.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A user, and the file with the password.
    pub login: Option<(String, PathBuf)>,
}

/// Where the password of the first administrator comes from.
#[derive(Clone, Debug)]
pub enum BootstrapPassword {
    /// Made up, and printed once.
    Generate,
    /// Given in the environment or the configuration file.
    Given(SecretString),
    /// In a file of its own; a newline at its end does not count.
    File(PathBuf),
}

/// How log events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What is recorded of requests, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Where the lines go.
    pub log: AuditLog,
    /// When the file is put aside, and for how long what was put aside is kept.
    pub rotation: Rotation,
    /// A kubeconfig file of who gets the events as well.
    pub webhook: Option<PathBuf>,
    /// What is recorded; the default policy if none is named.
    pub policy: Option<PathBuf>,
}

/// When a file is put aside for a new one, and for how long what was put aside is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// It is put aside before it is longer, in bytes. 0: never.
    pub max_size: u64,
    /// Days after which one that was put aside is deleted. 0: never.
    pub max_age_days: u32,
    /// How many are kept; the oldest are deleted. 0: all.
    pub max_backups: usize,
    /// Whether they are compressed.
    pub compress: bool,
}

/// Which sessions in containers are recorded, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recordings {
    /// Whether all are; otherwise those of which a role or a cluster demands it.
    pub all: bool,
    /// Where they are kept.
    pub folder: PathBuf,
    /// Days after which one is deleted. 0: never.
    pub max_age_days: u32,
    /// How long all of them may be together, in bytes. 0: as long as there is room.
    pub max_size: u64,
    /// How long one of them may be, in bytes. 0: as long as there is room.
    pub max_session_size: u64,
}

/// Where audit lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditLog {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To the end of a file.
    File(PathBuf),
}

/// Limits on clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in total. More wait in the kernel's queue.
    pub connections: usize,
    /// Connections from one address. More are closed at once.
    pub connections_per_address: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// Agents that shake hands at the same time. More are told to come later.
    pub agent_handshakes: usize,
    /// How long the head of an HTTP/1.1 request may take, and how long a kept connection may stay
    /// idle before it.
    pub header: Duration,
    /// How long the whole body of a request to the management API may take.
    pub body: Duration,
    /// How much of the management API users get.
    pub api: apiserver::flow::Limits,
    /// How much of the way to clusters.
    pub proxy: ProxyLimits,
    /// How often somebody may try to log in.
    pub logins: LoginBounds,
}

/// How often somebody may try to log in: so many times at once, and in a minute. 0: as often as they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginBounds {
    /// From one address.
    pub per_address: u32,
    /// To one account.
    pub per_account: u32,
}

/// How much goes to clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Of one user.
    pub per_user: ProxyBounds,
    /// To one cluster.
    pub per_cluster: ProxyBounds,
    /// To the namespaces of one project.
    pub per_project: ProxyBounds,
}

/// How much may go to clusters. 0: any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyBounds {
    /// Requests under way.
    pub requests: u64,
    /// Watches, logs and upgraded connections that are open.
    pub streams: u64,
    /// Bytes in both directions, without headers.
    pub bytes_per_second: u64,
}

/// Something the operator got wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was given, for example `--listen` or `LARIAT_LISTEN`.
    pub place: String,
    /// What is wrong and what would be right. Never shows a secret.
    pub fault: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.fault)
    }
}

impl Config {
    /// Builds the configuration.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn new(sources: &Sources) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = sources.mistakes.clone();
        let parsed = settings::parse(sources, &mut mistakes);
        match parsed {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(mistakes),
        }
    }

    /// Path of a file in the data directory.
    #[must_use]
    pub fn data_file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.data_dir.join(name)
    }
}

//! Real HTTP proxies with a password, which clients tunnel through with CONNECT.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    Error, Result, Testbed, command,
    error::Step,
    packages::{self, Program},
    process::Process,
    wait,
};

/// How long a proxy may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The one user they know.
const USER: &str = "agent";

const SQUID: [Program; 2] = [
    Program {
        name: "squid",
        package: "squid-openssl",
    },
    Program {
        name: "htpasswd",
        package: "apache2-utils",
    },
];

const TINYPROXY: [Program; 1] = [Program {
    name: "tinyproxy",
    package: "tinyproxy",
}];

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// squid answers a wrong password with 407.
    Squid,
    /// tinyproxy answers a wrong password with 401, and speaks HTTP/1.0.
    Tinyproxy,
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct ForwardProxy {
    process: Process,
    program: Command,
    kind: Kind,
    address: SocketAddr,
    password: String,
    folder: PathBuf,
}

impl ForwardProxy {
    /// Starts a proxy at a free port of `address`, which lets nobody through but its one user with
    /// `password`. Its files are in `folder`.
    ///
    /// # Errors
    /// When it is not installed and cannot be, or does not start.
    pub fn start(
        testbed: &Testbed,
        kind: Kind,
        address: Ipv4Addr,
        password: &str,
        folder: &Path,
    ) -> Result<Self> {
        fs::create_dir_all(folder).at("create", folder)?;
        let folder = fs::canonicalize(folder).at("resolve", folder)?;
        let address = free_port(address)?;
        let program = match kind {
            Kind::Squid => squid(&folder, address, password)?,
            Kind::Tinyproxy => tinyproxy(&folder, address, password)?,
        };
        let process = launch(testbed, kind, &program, &folder)?;
        let proxy = Self {
            process,
            program,
            kind,
            address,
            password: password.to_owned(),
            folder,
        };
        proxy.wait_until_it_listens()?;
        Ok(proxy)
    }

    /// Kills it and starts it again at the same address.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self, testbed: &Testbed) -> Result<()> {
        self.end();
        self.process = launch(testbed, self.kind, &self.program, &self.folder)?;
        self.wait_until_it_listens()
    }

    fn wait_until_it_listens(&self) -> Result<()> {
        let step = || format!("start {:?}", self.kind);
        wait::until(&step(), PATIENCE, Duration::from_millis(50), || {
            if let Some(status) = self.process.exited() {
                return Err(Error::Unexpected {
                    step: step(),
                    detail: format!("it ended with {status}; see {}", self.folder.display()),
                });
            }
            Ok(TcpStream::connect(self.address)
                .map(drop)
                .map_err(|error| error.to_string()))
        })
    }

    fn end(&self) {
        self.process.kill();
        if self.kind == Kind::Squid {
            remove_shared_memory(&service(self.address));
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address with the credentials of its user, as `HTTPS_PROXY` has it.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_with(&self.password)
    }

    /// The same with another password.
    #[must_use]
    pub fn url_with(&self, password: &str) -> String {
        let encoded: String = password
            .bytes()
            .map(|byte| match byte {
                byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect();
        format!("http://{USER}:{encoded}@{}", self.address)
    }

    /// What it has let through or refused, a line each.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn access_log(&self) -> Result<String> {
        let log = self.folder.join("access.log");
        fs::read_to_string(&log).at("read", &log)
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.end();
    }
}

fn launch(testbed: &Testbed, kind: Kind, program: &Command, folder: &Path) -> Result<Process> {
    let name = format!("{kind:?}").to_lowercase();
    testbed.start_process(&name, program, &folder.join("output.log"))
}

/// squid names its shared memory after its service, and leaves it behind when it is killed.
fn service(address: SocketAddr) -> String {
    format!("lariat{}", address.port())
}

fn remove_shared_memory(service: &str) {
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(service) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn squid(folder: &Path, address: SocketAddr, password: &str) -> Result<Command> {
    packages::ensure_all(&SQUID)?;
    let passwords = folder.join("passwords");
    let mut htpasswd = Command::new("htpasswd");
    htpasswd.arg("-bc").arg(&passwords).args([USER, password]);
    command::run("make squid's password file", &mut htpasswd)?;
    let settings = folder.join("squid.conf");
    let shown = folder.display();
    let text = format!(
        "http_port {address}
auth_param basic program /usr/lib/squid/basic_ncsa_auth {shown}/passwords
acl known proxy_auth REQUIRED
http_access allow CONNECT known
http_access deny all
cache deny all
access_log stdio:{shown}/access.log
cache_log {shown}/cache.log
pid_filename none
shutdown_lifetime 0 seconds
"
    );
    fs::write(&settings, text).at("write", &settings)?;
    if nix::unistd::geteuid().is_root() {
        // It gives root up, and then writes its logs.
        let mut chown = Command::new("chown");
        command::run(
            "give squid its folder",
            chown.arg("-R").arg("proxy").arg(folder),
        )?;
    }
    let mut squid = Command::new(packages::find("squid").unwrap_or_else(|| "squid".into()));
    squid
        .args(["-N", "-n", &service(address), "-f"])
        .arg(settings);
    Ok(squid)
}

fn tinyproxy(folder: &Path, address: SocketAddr, password: &str) -> Result<Command> {
    packages::ensure_all(&TINYPROXY)?;
    let settings = folder.join("tinyproxy.conf");
    let text = format!(
        "Listen {}
Port {}
BasicAuth {USER} {password}
LogFile \"{}\"
LogLevel Connect
MaxClients 100
Timeout 600
",
        address.ip(),
        address.port(),
        folder.join("access.log").display(),
    );
    fs::write(&settings, text).at("write", &settings)?;
    let mut tinyproxy =
        Command::new(packages::find("tinyproxy").unwrap_or_else(|| "tinyproxy".into()));
    tinyproxy.args(["-d", "-c"]).arg(settings);
    Ok(tinyproxy)
}

fn free_port(address: Ipv4Addr) -> Result<SocketAddr> {
    TcpListener::bind((address, 0))
        .and_then(|listener| listener.local_addr())
        .step(|| "find a free port".to_owned())
}

//! A real balancer in front of a server: haproxy, which ends connections that are idle for 3 s.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    Error, Result, Testbed,
    error::Step,
    packages::{self, Program},
    process::Process,
};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

const HAPROXY: [Program; 1] = [Program {
    name: "haproxy",
    package: "haproxy",
}];

/// What it does with TLS.
#[derive(Clone, Debug)]
pub enum Mode {
    /// It passes the bytes on as they are.
    PassThrough,
    /// It ends TLS with this certificate, reads the requests, and has a TLS connection of its own to the server.
    Terminate {
        /// The chain and the key, in PEM.
        certificate_and_key: String,
        /// The CA of the server, in PEM.
        authority: String,
    },
}

/// A running balancer; it ends when it is dropped.
#[derive(Debug)]
pub struct Balancer {
    process: Process,
    address: SocketAddr,
    folder: PathBuf,
}

impl Balancer {
    /// Starts one at a free port of `address` that passes what comes on to `server`. Its files are in
    /// `folder`.
    ///
    /// # Errors
    /// When it is not installed and cannot be, or does not start.
    pub fn start(
        testbed: &Testbed,
        mode: &Mode,
        address: IpAddr,
        server: SocketAddr,
        folder: &Path,
    ) -> Result<Self> {
        packages::ensure_all(&HAPROXY)?;
        fs::create_dir_all(folder).at("create", folder)?;
        let folder = fs::canonicalize(folder).at("resolve", folder)?;
        let address = TcpListener::bind((address, 0))
            .and_then(|listener| listener.local_addr())
            .step(|| "find a free port".to_owned())?;
        let settings = folder.join("haproxy.cfg");
        let text = configuration(mode, address, server, &folder)?;
        fs::write(&settings, text).at("write", &settings)?;
        let program = packages::find("haproxy").unwrap_or_else(|| "haproxy".into());
        let mut haproxy = Command::new(program);
        haproxy.arg("-db").arg("-f").arg(&settings);
        let log = folder.join("haproxy.log");
        let balancer = Self {
            process: testbed.start_process("haproxy", &haproxy, &log)?,
            address,
            folder,
        };
        balancer.wait_until_it_listens()?;
        Ok(balancer)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has carried and why each connection ended, a line each (`%ts` of haproxy: `c` and `s` in
    /// front are time-outs of client and server).
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn log(&self) -> Result<String> {
        let log = self.folder.join("haproxy.log");
        fs::read_to_string(&log).at("read", &log)
    }

    fn wait_until_it_listens(&self) -> Result<()> {
        self.process
            .until("haproxy listening", PATIENCE, || {
                Ok(TcpStream::connect(self.address)
                    .map(drop)
                    .map_err(|error| error.to_string()))
            })
            .map_err(|error| match error {
                Error::Ended { .. } => error,
                error => Error::Unexpected {
                    step: format!("start haproxy; see {}", self.folder.display()),
                    detail: error.to_string(),
                },
            })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.process.kill();
    }
}

fn configuration(
    mode: &Mode,
    address: SocketAddr,
    server: SocketAddr,
    folder: &Path,
) -> Result<String> {
    let (kind, bind, to) = match mode {
        Mode::PassThrough => ("tcp\n  option tcplog", String::new(), String::new()),
        Mode::Terminate {
            certificate_and_key,
            authority,
        } => {
            let certificate = write_secret(folder, "balancer.pem", certificate_and_key)?;
            let authority = write_secret(folder, "authority.pem", authority)?;
            (
                "http\n  option httplog",
                format!(" ssl crt {} alpn http/1.1", certificate.display()),
                format!(" ssl verify required ca-file {}", authority.display()),
            )
        }
    };
    // Lines of the log are for a terminal here: `-db` writes them where haproxy writes its errors.
    Ok(format!(
        "global
  log stdout format raw local0
defaults
  log global
  mode {kind}
  timeout connect 3s
  timeout client 3s
  timeout server 3s
  timeout tunnel 3s
frontend front
  bind {address}{bind}
  default_backend back
backend back
  server one {server}{to}
"
    ))
}

fn write_secret(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = folder.join(name);
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .at("write", &path)?;
    Ok(path)
}

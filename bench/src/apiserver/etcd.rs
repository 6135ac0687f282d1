//! An etcd for our server, of the kind that a kube-apiserver of the testbed has: one member on
//! loopback, without TLS, that syncs as it does by default.

use anyhow::{Context as _, ensure};
use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use testbed::{
    Process, Testbed,
    tools::{self, Tool},
};

/// How long it may take until it serves.
const PATIENCE: Duration = Duration::from_secs(30);

/// An etcd that runs; ended when dropped.
pub(super) struct Etcd<'a> {
    testbed: &'a Testbed,
    program: PathBuf,
    folder: PathBuf,
    ports: [u16; 2],
    process: Process,
}

impl<'a> Etcd<'a> {
    /// Starts it, its data in `folder`.
    pub(super) fn start(testbed: &'a Testbed, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let program = tools::ensure(&[Tool::Etcd])?.path("etcd")?;
        // Below the range of outgoing connections.
        let mut free =
            (18643..18843).filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        let ports = [free.next(), free.next()].map(|port| port.context("no free port"));
        let [client, peer] = ports;
        let ports = [client?, peer?];
        let process = launch(testbed, &program, folder, ports)?;
        let folder = folder.to_owned();
        Ok(Self {
            testbed,
            program,
            folder,
            ports,
            process,
        })
    }

    /// Its URL for clients.
    pub(super) fn url(&self) -> String {
        url(self.ports[0])
    }

    /// Its process id.
    pub(super) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Ends it, and starts it with nothing in it.
    pub(super) fn empty(&mut self) -> anyhow::Result<()> {
        self.process.kill();
        std::fs::remove_dir_all(self.folder.join("data"))?;
        self.process = launch(self.testbed, &self.program, &self.folder, self.ports)?;
        Ok(())
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn is_healthy(port: u16) -> bool {
    let ask = || {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        connection.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        std::io::read_to_string(connection)
    };
    ask().is_ok_and(|answer| answer.contains(r#""health":"true""#))
}

fn launch(
    testbed: &Testbed,
    program: &Path,
    folder: &Path,
    ports: [u16; 2],
) -> anyhow::Result<Process> {
    let [client, peer] = ports.map(url);
    let mut command = Command::new(program);
    command
        .args(["--name", "default", "--log-level", "warn"])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--listen-client-urls", &client])
        .args(["--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer])
        .args(["--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")]);
    let process = testbed.start_process("etcd", &command, &folder.join("etcd.log"))?;
    let begun = Instant::now();
    // It listens long before it has elected itself.
    while !is_healthy(ports[0]) {
        ensure!(begun.elapsed() < PATIENCE, "etcd does not serve");
        ensure!(process.exited().is_none(), "etcd has ended");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(process)
}

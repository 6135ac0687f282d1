//! An etcd of one or several members, each in a network namespace of its own.
//!
//! The members are on the hub of the testbed, where the owner reaches them; a member can be
//! killed, stopped, and cut off from the others while its clients still reach it.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    Error, Result, Testbed, command,
    error::Step,
    network::{Hub, Segment},
    pki::{Pki, Subject},
    process::Process,
    slot::Slot,
    tools::{self, Programs, Tool},
    wait,
};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// How long members may take until they serve.
const START: Duration = Duration::from_secs(60);

/// How an [`Etcd`] is to be.
#[derive(Clone, Copy, Debug)]
pub struct EtcdOptions {
    /// How many members it has.
    pub members: usize,
    /// Whether it is reached over TLS and asks its clients for certificates.
    pub tls: bool,
}

/// An etcd that runs; ended when dropped.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    pki: Option<Pki>,
    programs: Programs,
    folder: PathBuf,
    // Last, because the members are plugged into it.
    _hub: Arc<Hub>,
}

/// One member.
#[derive(Debug)]
pub struct Member {
    name: String,
    command: Command,
    log: PathBuf,
    slot: Arc<Slot>,
    process: Mutex<Option<Process>>,
    segment: Segment,
    peers: Vec<Ipv4Addr>,
}

impl Testbed {
    /// Starts an etcd, its data and logs in `folder`. Needs root.
    ///
    /// # Errors
    /// When it cannot be built, its networks cannot be made, or it does not serve within a minute.
    pub fn etcd(&self, folder: &Path, options: EtcdOptions) -> Result<Etcd> {
        let hub = self.hub()?;
        std::fs::create_dir_all(folder).at("create", folder)?;
        let segments = (0..options.members)
            .map(|_| Segment::create(self.slot(), &hub, self.next_number()?))
            .collect::<Result<Vec<_>>>()?;
        let mut etcd = Etcd {
            members: Vec::new(),
            pki: (options.tls)
                .then(|| issue(&folder.join("pki"), &segments))
                .transpose()?,
            programs: tools::ensure(&[Tool::Etcd])?,
            folder: folder.to_owned(),
            _hub: hub,
        };
        let addresses: Vec<_> = segments.iter().map(Segment::address).collect();
        for (number, segment) in segments.into_iter().enumerate() {
            let member = etcd.member_command(number, &addresses)?;
            etcd.members.push(Member {
                name: format!("member-{number}"),
                command: segment.command(&member),
                log: folder.join(format!("member-{number}.log")),
                slot: Arc::clone(self.slot()),
                process: Mutex::default(),
                peers: addresses
                    .iter()
                    .copied()
                    .filter(|peer| *peer != segment.address())
                    .collect(),
                segment,
            });
        }
        for member in &etcd.members {
            member.start()?;
        }
        etcd.wait_until_healthy()?;
        Ok(etcd)
    }
}

impl Etcd {
    /// The members, in the order of [`Self::endpoints`].
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The URLs for clients.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let url = |member: &Member| self.url(member.segment.address());
        self.members.iter().map(url).collect()
    }

    /// The file with the authority that signs the certificates, if there is TLS.
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.pki.as_ref().map(|pki| pki.path("ca.crt"))
    }

    /// The files of a certificate for clients and of its key, if there is TLS.
    #[must_use]
    pub fn client_files(&self) -> Option<(PathBuf, PathBuf)> {
        let pki = self.pki.as_ref()?;
        Some((pki.path("client.crt"), pki.path("client.key")))
    }

    /// Runs `etcdctl`; what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn etcdctl(&self, words: &[&str]) -> Result<String> {
        let mut etcdctl = Command::new(self.programs.path("etcdctl")?);
        etcdctl.arg("--endpoints").arg(self.endpoints().join(","));
        if let (Some(ca), Some((certificate, key))) = (self.ca_file(), self.client_files()) {
            etcdctl.arg("--cacert").arg(ca);
            etcdctl.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        command::run("run etcdctl", etcdctl.args(words))
    }

    /// Waits until every member serves.
    ///
    /// # Errors
    /// When one does not within a minute.
    pub fn wait_until_healthy(&self) -> Result<()> {
        wait::until(
            "all members of etcd",
            START,
            Duration::from_millis(200),
            || {
                let health = self.etcdctl(&["endpoint", "health", "--command-timeout=2s"]);
                Ok(health.map(drop).map_err(|error| error.to_string()))
            },
        )
    }

    fn url(&self, address: Ipv4Addr) -> String {
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}:{CLIENT_PORT}")
    }

    fn member_command(&self, number: usize, addresses: &[Ipv4Addr]) -> Result<Command> {
        let peer = |address: &Ipv4Addr| format!("http://{address}:{PEER_PORT}");
        let address = addresses[number];
        let all: Vec<_> = (addresses.iter().enumerate())
            .map(|(number, address)| format!("member-{number}={}", peer(address)))
            .collect();
        let mut etcd = Command::new(self.programs.path("etcd")?);
        etcd.args(["--log-level", "warn"])
            .args(["--name", &format!("member-{number}")])
            .arg("--data-dir")
            .arg(self.folder.join(format!("member-{number}")))
            .args(["--listen-client-urls", &self.url(address)])
            .args(["--advertise-client-urls", &self.url(address)])
            .args(["--listen-peer-urls", &peer(&address)])
            .args(["--initial-advertise-peer-urls", &peer(&address)])
            .args(["--initial-cluster", &all.join(",")]);
        if let Some(pki) = &self.pki {
            etcd.arg("--cert-file").arg(pki.path("server.crt"));
            etcd.arg("--key-file").arg(pki.path("server.key"));
            etcd.arg("--trusted-ca-file").arg(pki.path("ca.crt"));
            etcd.arg("--client-cert-auth");
        }
        Ok(etcd)
    }
}

impl Member {
    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if process.is_none() {
            let started = Process::start(&self.slot, &self.name, &self.command, &self.log)?;
            *process = Some(started);
        }
        Ok(())
    }

    /// Kills it (SIGKILL) and waits until it is gone. Its data stays.
    pub fn kill(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        // Dropping it does.
        process.take();
    }

    /// Stops it where it is (SIGSTOP): its connections stay, nothing answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on after [`Self::pause`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Drops every packet between it and the other members; its clients still reach it.
    ///
    /// # Errors
    /// When the rules cannot be set.
    pub fn cut_off(&self) -> Result<()> {
        self.segment.cut(&self.peers)
    }

    /// Ends [`Self::cut_off`].
    ///
    /// # Errors
    /// When the rules cannot be removed.
    pub fn heal(&self) -> Result<()> {
        self.segment.heal()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        match &*process {
            Some(process) => process.signal(signal),
            None => Err(Error::Unsupported(format!("{} does not run", self.name))),
        }
    }
}

fn issue(folder: &Path, segments: &[Segment]) -> Result<Pki> {
    let pki = Pki::create(folder)?;
    let addresses: Vec<_> = (segments.iter())
        .map(|segment| IpAddr::V4(segment.address()))
        .collect();
    let server = Subject {
        common_name: "etcd",
        addresses: &addresses,
        ..Subject::default()
    };
    pki.issue("server", &server)?;
    let client = Subject {
        common_name: "client",
        ..Subject::default()
    };
    pki.issue("client", &client)?;
    Ok(pki)
}

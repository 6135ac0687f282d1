//! A real node: containerd, runc and a kubelet, in mount and process namespaces of their own.
//!
//! The first process in them is a shell (`node-init.sh`). When it ends, so do containerd, every
//! container, their networks and their mounts: the kernel leaves nothing but empty control groups.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Error, Result, command, error::Step, https::Client, image::Image, network::NODE_ADDRESS,
    pki::Subject, process::Process, site::Site, slot::Resource, sweep,
};

/// The name of the real node in every cluster.
pub const NODE_NAME: &str = "node-1";

const READY: Duration = Duration::from_secs(90);
const INIT: &str = include_str!("node-init.sh");

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    process: Option<Process>,
    command: Command,
    socket: PathBuf,
    control_group: String,
}

impl Node {
    /// The folder's socket path must fit into `sun_path` (unix(7)).
    pub(crate) fn check_path(folder: &Path) -> Result<()> {
        let socket = folder.join("containerd.sock.ttrpc");
        if socket.as_os_str().len() < 108 {
            return Ok(());
        }
        Err(std::io::Error::other(
            "the path is too long for a socket; set LARIAT_TESTBED_STATE to a shorter one",
        ))
        .at("use", &socket)
    }

    /// Starts a node with `images` in its image store.
    pub(crate) fn start(site: &Site, images: &[Image]) -> Result<Self> {
        write_kubelet_identity(site)?;
        let control_group = format!("lariat-{}-{}", site.slot.index(), site.number);
        let socket = site.folder.join("containerd.sock");
        let init = site.write("node-init.sh", INIT)?;
        site.write("containerd.toml", &containerd_config(site, &socket))?;
        site.write("kubelet.yaml", &kubelet_config(site, &control_group))?;
        site.write("cni.conflist", CNI_CONFIG)?;
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
                "--",
                "bash",
            ])
            .arg(&init)
            .args(images.iter().map(|image| image.file()))
            .env("FOLDER", &site.folder)
            .env("LOGS", &site.logs)
            .env("SOCKET", &socket)
            .env("CONTROL_GROUP", &control_group)
            .env("NODE_NAME", NODE_NAME)
            .env("NODE_ADDRESS", NODE_ADDRESS.to_string())
            .env("KUBELET", site.programs.path("kubelet")?)
            .env("KUBECONFIG", site.pki.path("kubelet.kubeconfig"));
        site.slot.record(Resource::ControlGroup {
            name: control_group.clone(),
        })?;
        let process = site.start("node", &command)?;
        Ok(Self {
            process: Some(process),
            command,
            socket,
            control_group,
        })
    }

    /// Waits until the API server calls the node ready.
    pub(crate) fn wait_ready(&self, client: &Client) -> Result<()> {
        let Some(process) = &self.process else {
            return Err(Error::Unsupported("the node is not running".into()));
        };
        process.until("the node being ready", READY, || {
            let answer = client.get(&format!("/api/v1/nodes/{NODE_NAME}"));
            Ok(match answer.map(|answer| is_ready(&answer.body)) {
                Ok(true) => Ok(()),
                Ok(false) => Err("the node is not ready".into()),
                Err(error) => Err(error.to_string()),
            })
        })
    }

    /// Ends the node as a power cut would.
    pub(crate) fn kill(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        // The end of the first process in the namespace is the end of all in it, and only then
        // does its parent, which is our child, end.
        let children = format!("/proc/{0}/task/{0}/children", process.pid());
        let init = fs::read_to_string(children)
            .ok()
            .and_then(|list| list.split_whitespace().next()?.parse().ok());
        if let Some(init) = init
            && kill(Pid::from_raw(init), Signal::SIGKILL).is_ok()
        {
            let _ = process.wait(Duration::from_secs(20));
        }
    }

    /// Starts a killed node again, as a reboot would.
    pub(crate) fn boot(&mut self, site: &Site) -> Result<()> {
        self.kill();
        sweep::remove_control_groups(&self.control_group)?;
        self.process = Some(site.start("node", &self.command)?);
        Ok(())
    }

    /// Puts an image into the node's image store.
    pub(crate) fn import(&self, image: &Image) -> Result<()> {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address")
            .arg(&self.socket)
            .args(["--namespace", "k8s.io", "images", "import"])
            .arg(image.file());
        command::run(&format!("import the image {}", image.name()), &mut ctr)?;
        Ok(())
    }

    /// Ends the node and removes what it leaves.
    pub(crate) fn end(&mut self, site: &Site) {
        self.kill();
        let resource = Resource::ControlGroup {
            name: self.control_group.clone(),
        };
        match sweep::resources(std::slice::from_ref(&resource)) {
            Ok(()) => site.slot.forget(&resource),
            Err(error) => tracing::warn!(%error, "control groups are left until the owner ends"),
        }
    }
}

fn is_ready(node: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(node).is_ok_and(|node| {
        node["status"]["conditions"]
            .as_array()
            .is_some_and(|conditions| {
                conditions
                    .iter()
                    .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
            })
    })
}

fn write_kubelet_identity(site: &Site) -> Result<()> {
    let identity = site.pki.issue(
        "kubelet",
        &Subject {
            common_name: &format!("system:node:{NODE_NAME}"),
            organization: Some("system:nodes"),
            names: &[NODE_NAME],
            addresses: &[IpAddr::V4(NODE_ADDRESS), IpAddr::from([127, 0, 0, 1])],
        },
    )?;
    site.pki
        .write_kubeconfig("kubelet", &site.local_url(), &identity)?;
    Ok(())
}

fn containerd_config(site: &Site, socket: &Path) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "{socket}"
[ttrpc]
  address = "/run/containerd/ttrpc.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#,
        root = site.folder.join("containerd").display(),
        socket = socket.display(),
        pause = crate::image::PAUSE,
    )
}

fn kubelet_config(site: &Site, control_group: &str) -> String {
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {NODE_ADDRESS}
port: 10250
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: "{authority}"}}}}
authorization: {{mode: Webhook}}
tlsCertFile: "{certificate}"
tlsPrivateKeyFile: "{key}"
containerRuntimeEndpoint: "unix://{socket}"
cgroupDriver: cgroupfs
cgroupRoot: /{control_group}
cgroupsPerQOS: true
enforceNodeAllocatable: []
failSwapOn: false
failCgroupV1: false
oomScoreAdj: 0
resolvConf: ""
evictionHard: {{memory.available: 50Mi}}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 5s
"#,
        authority = site.pki.path("ca.crt").display(),
        certificate = site.pki.path("kubelet.crt").display(),
        key = site.pki.path("kubelet.key").display(),
        socket = site.folder.join("containerd.sock").display(),
    )
}

const CNI_CONFIG: &str = r#"{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": true,
   "ipam": {"type": "host-local", "dataDir": "/run/ipam",
            "ranges": [[{"subnet": "10.244.1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
"#;

//! The main job on one machine: a server, a cluster behind NAT, its agent, and kubectl through
//! the tunnel.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::{Context as _, bail};
use clap::Parser;
use e2e::lariat::{Stage, binary};
use std::{
    fmt::Write as _,
    fs::File,
    io::ErrorKind,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use testbed::{BUSYBOX, Testbed, Tier};

/// How long the demo may take to start in the background. The first start builds Kubernetes.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Shows the main job, or keeps it running in the background.
#[derive(Parser)]
enum Args {
    /// Start everything, use it once, end it
    Run,
    /// Start everything and leave it running
    Up,
    /// End what `up` has started
    Down,
    /// What `up` leaves running
    #[command(hide = true)]
    Hold,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let place = Place::new()?;
    match Args::parse() {
        Args::Run => {
            place.ensure_free()?;
            let testbed = Testbed::open("demo")?;
            start(&testbed, &place).await?;
            println!(
                "\nThat was all; it ends here. `make demo-up` leaves it running for you to type:"
            );
            println!("{}", next_steps(&place));
            place.forget();
            Ok(())
        }
        Args::Up => up(&place),
        Args::Down => down(&place),
        Args::Hold => {
            let testbed = Testbed::open("demo")?;
            let stage = start(&testbed, &place).await?;
            hold(&stage).await
        }
    }
}

/// Where the demo keeps its files.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let folder = std::env::current_dir()?.join("target/demo");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { folder })
    }

    fn env(&self) -> PathBuf {
        self.folder.join("env")
    }

    fn pid(&self) -> PathBuf {
        self.folder.join("pid")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("demo.log")
    }

    /// The process that holds the demo, if it is alive.
    fn owner(&self) -> Option<i32> {
        let pid: i32 = std::fs::read_to_string(self.pid())
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        command.ends_with(b"\0hold\0").then_some(pid)
    }

    fn ensure_free(&self) -> anyhow::Result<()> {
        if let Some(pid) = self.owner() {
            bail!("the demo is running already (process {pid}); end it with: make demo-down");
        }
        self.forget();
        Ok(())
    }

    fn forget(&self) {
        for file in [self.env(), self.pid()] {
            let _ = std::fs::remove_file(file);
        }
    }
}

async fn start<'a>(testbed: &'a Testbed, place: &Place) -> anyhow::Result<Stage<'a>> {
    let started = Instant::now();
    let step = |what: &str| println!("[{:>5.1} s] {what}", started.elapsed().as_secs_f64());
    let root = std::fs::metadata("/proc/self")
        .map(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)?;
    let tier = if root { Tier::Full } else { Tier::Loopback };
    if root {
        step("starting a Kubernetes cluster with a real node, behind a gateway with NAT");
    } else {
        step("starting a Kubernetes control plane on loopback (a real node behind NAT needs root)");
    }
    binary("lariat-server")?;
    // The cluster is a new one each time; so is the server that knows it.
    match std::fs::remove_dir_all(place.folder.join("server")) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let cluster = testbed
        .cluster("demo")
        .tier(tier)
        .logs(place.folder.join("cluster"))
        .start()?;
    step("starting lariat-server, creating a cluster in it, applying its import manifest");
    let stage = Stage::start(testbed, cluster, &place.folder).await?;
    step("the agent has dialled out, and the server reaches the cluster's API server through it");
    for arguments in [
        &["get", "nodes", "-o", "wide"][..],
        &["get", "pods", "-A"],
        &["auth", "whoami"],
    ] {
        println!("\n$ kubectl {}", arguments.join(" "));
        let output = stage.kubectl()?.args(arguments).output()?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            bail!(
                "kubectl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    if stage.cluster.has_node() {
        exec(&stage)?;
    }
    println!();
    step("kubectl works through the tunnel");
    std::fs::write(place.env(), env_file(&stage)?)?;
    Ok(stage)
}

/// A shell command in the agent's neighbour: a pod of the demo's own.
fn exec(stage: &Stage<'_>) -> anyhow::Result<()> {
    let image = format!("--image={BUSYBOX}");
    for arguments in [
        &[
            "run",
            "hello",
            &image,
            "--image-pull-policy=Never",
            "--",
            "sleep",
            "86400",
        ][..],
        &[
            "wait",
            "pod/hello",
            "--for=condition=Ready",
            "--timeout=60s",
        ],
        &[
            "exec",
            "hello",
            "--",
            "sh",
            "-c",
            "echo hello from $(hostname)",
        ],
    ] {
        println!("\n$ kubectl {}", arguments.join(" "));
        let output = stage.kubectl()?.args(arguments).output()?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            bail!(
                "kubectl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    Ok(())
}

fn env_file(stage: &Stage<'_>) -> anyhow::Result<String> {
    let (user, password) = stage.server.administrator();
    let image = if stage.cluster.has_node() {
        BUSYBOX
    } else {
        ""
    };
    let pid = stage
        .agent
        .as_ref()
        .map_or(String::new(), |agent| agent.pid().to_string());
    let text = |path: &Path| path.display().to_string();
    let mut env = String::new();
    for (name, value) in [
        ("LARIAT_URL", stage.server.url()),
        ("LARIAT_CA", text(&stage.server.ca_file())),
        ("LARIAT_ADMIN_USER", user.to_owned()),
        ("LARIAT_ADMIN_PASSWORD", password.to_owned()),
        ("LARIAT_CLUSTER", stage.id.clone()),
        ("KUBECONFIG_DIRECT", text(stage.cluster.kubeconfig())),
        ("KUBECONFIG_TUNNEL", text(&stage.kubeconfig)),
        ("KUBECTL", text(&stage.cluster.kubectl_path()?)),
        ("DEMO_NODE_IMAGE", image.to_owned()),
        ("DEMO_AGENT_PID", pid),
    ] {
        let quoted = value.replace('\'', r"'\''");
        writeln!(env, "export {name}='{quoted}'")?;
    }
    Ok(env)
}

fn next_steps(place: &Place) -> String {
    format!(
        "  . {env}\n  KUBECONFIG=$KUBECONFIG_TUNNEL $KUBECTL get pods -A\n  \
         target/debug/lariat login $LARIAT_URL --username $LARIAT_ADMIN_USER\n  \
         target/debug/lariat status\n  make demo-down",
        env = place.env().display(),
    )
}

fn up(place: &Place) -> anyhow::Result<()> {
    place.ensure_free()?;
    let log = File::create(place.log())
        .with_context(|| format!("cannot create {}", place.log().display()))?;
    let mut owner = Command::new(std::env::current_exe()?)
        .arg("hold")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot start the demo's process")?;
    std::fs::write(place.pid(), owner.id().to_string())?;
    println!(
        "starting in the background; the log is {}",
        place.log().display()
    );
    let started = Instant::now();
    let mut shown = 0;
    while !place.env().exists() {
        shown += show_from(&place.log(), shown)?;
        if let Some(status) = owner.try_wait()? {
            show_from(&place.log(), shown)?;
            place.forget();
            bail!("the demo did not start ({status})");
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "the demo is not ready after {} min",
                PATIENCE.as_secs() / 60
            );
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
    show_from(&place.log(), shown)?;
    println!("\nIt runs now. What to type next:\n{}", next_steps(place));
    Ok(())
}

/// Prints what a log has got since `from`; how many bytes that were.
fn show_from(log: &Path, from: usize) -> anyhow::Result<usize> {
    let text = std::fs::read(log)?;
    let new = text.get(from..).unwrap_or_default();
    print!("{}", String::from_utf8_lossy(new));
    Ok(new.len())
}

fn down(place: &Place) -> anyhow::Result<()> {
    let Some(pid) = place.owner() else {
        place.forget();
        println!("the demo is not running");
        return Ok(());
    };
    let status = Command::new("kill").arg(pid.to_string()).status()?;
    if !status.success() {
        bail!("cannot end process {pid}");
    }
    let started = Instant::now();
    while place.owner().is_some() {
        if started.elapsed() > Duration::from_secs(60) {
            bail!(
                "process {pid} does not end; its log is {}",
                place.log().display()
            );
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    place.forget();
    println!("ended");
    Ok(())
}

/// Stays until a signal; ends by itself if a part of the cluster does.
async fn hold(stage: &Stage<'_>) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some(ended) = stage.cluster.ended_parts().first() {
            bail!(
                "{ended}; the logs are in {}",
                stage.cluster.logs().display()
            );
        }
        match std::fs::metadata(stage.server.folder()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("the demo's folder was removed")
            }
            _ => {}
        }
    }
}

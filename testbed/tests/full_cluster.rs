//! A full cluster starts, runs pods, survives faults of its network, and leaves nothing behind.
//! Needs root; builds the tools when the cache does not hold them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::IpAddr,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use testbed::{BUSYBOX, Cluster, Quality, Testbed, wait};

const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// What this machine has of the things that the owner of a slot makes.
fn traces(slot: usize) -> BTreeSet<String> {
    let mut traces = BTreeSet::new();
    let mut add = |folder: &str, prefix: &str| {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(prefix) {
                traces.insert(format!("{folder}/{name}"));
            }
        }
    };
    let name = format!("lariat-{slot}-");
    add("/run/netns", &name);
    for kind in ["hub", "w", "d"] {
        add("/sys/class/net", &format!("lrt{slot}{kind}"));
    }
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        add(&hierarchy.path().display().to_string(), &name);
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let folder = format!("/slot-{slot}/");
    traces.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&name) || line.contains(&folder))
            .map(str::to_owned),
    );
    traces.extend(processes(slot));
    traces
}

/// The living processes that name the slot's folder or are in one of its control groups.
fn processes(slot: usize) -> Vec<String> {
    let marks = [format!("/slot-{slot}/"), format!("/lariat-{slot}-")];
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |file: &str| {
            String::from_utf8_lossy(&fs::read(entry.path().join(file)).unwrap_or_default())
                .into_owned()
        };
        let about = read("cmdline") + &read("cgroup");
        let is_alive = !read("stat").contains(") Z ");
        if is_alive && marks.iter().any(|mark| about.contains(mark)) {
            processes.push(format!(
                "process {} {}",
                entry.file_name().display(),
                read("comm")
            ));
        }
    }
    processes
}

/// The slot of the living owner with this purpose.
fn slot(purpose: &str) -> usize {
    let owners = testbed::owners().unwrap();
    owners
        .iter()
        .find(|owner| owner.alive && owner.state.purpose == purpose)
        .unwrap()
        .slot
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> Output {
    cluster.kubectl().unwrap().args(arguments).output().unwrap()
}

fn succeed(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = kubectl(cluster, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn run_pod(cluster: &Cluster, name: &str) {
    let run = format!("--image={BUSYBOX}");
    succeed(
        cluster,
        &[
            "run",
            name,
            &run,
            "--image-pull-policy=Never",
            "--restart=Always",
            "--",
            "sleep",
            "3600",
        ],
    );
    succeed(
        cluster,
        &[
            "wait",
            "--for=condition=Ready",
            &format!("pod/{name}"),
            "--timeout=60s",
        ],
    );
}

/// One test, in order, because what is left on a machine cannot be told apart by who left it.
#[test]
fn a_cluster_works_and_leaves_nothing() {
    let slot = {
        let testbed = Testbed::open("test of the testbed").unwrap();
        let mut cluster = testbed.cluster("full").start().unwrap();
        run_pod(&cluster, "shell");
        exec_tells_output_and_exit_code(&cluster);
        the_service_address_of_the_api_server_works_in_pods(&cluster);
        the_hub_can_be_dialled_and_the_cluster_cannot(&cluster);
        a_wire_is_as_long_as_asked_and_is_taken_away(&cluster);
        the_hub_can_be_dialled_by_ipv6(&cluster);
        a_node_comes_back_after_a_power_cut(&mut cluster);
        another_cluster_runs_beside_it(&testbed, &cluster);
        slot("test of the testbed")
    };
    assert_eq!(traces(slot), BTreeSet::new(), "after the end");

    nothing_is_left_of_a_killed_owner();
}

fn exec_tells_output_and_exit_code(cluster: &Cluster) {
    let output = kubectl(
        cluster,
        &[
            "exec",
            "shell",
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 3",
        ],
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("err\n"));
    assert_eq!(output.status.code(), Some(3));
}

fn the_service_address_of_the_api_server_works_in_pods(cluster: &Cluster) {
    succeed(
        cluster,
        &[
            "exec",
            "shell",
            "--",
            "nc",
            "-w",
            "5",
            "10.96.0.1",
            "443",
            "-e",
            "true",
        ],
    );
}

fn the_hub_can_be_dialled_and_the_cluster_cannot(cluster: &Cluster) {
    let network = cluster.network().unwrap();
    let hub = network.hub_address();
    let listener = std::net::TcpListener::bind((hub, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let dial = [
        "exec",
        "shell",
        "--",
        "nc",
        "-w",
        "2",
        &hub.to_string(),
        &port,
        "-e",
        "true",
    ]
    .map(str::to_owned);
    let dial = dial.each_ref().map(String::as_str);
    succeed(cluster, &dial);
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(
        peer.ip().to_string().rsplit_once('.').unwrap().0,
        hub.to_string().rsplit_once('.').unwrap().0
    );

    let gateway = (peer.ip(), 16443).into();
    let dialled = std::net::TcpStream::connect_timeout(&gateway, Duration::from_secs(1));
    assert!(dialled.is_err(), "the gateway lets nobody in");

    network.cut().unwrap();
    assert!(!kubectl(cluster, &dial).status.success(), "cut");
    network.heal().unwrap();
    succeed(cluster, &dial);
    network.flush_translations().unwrap();
    succeed(cluster, &dial);
}

/// How long the cluster takes to reach a listener on the hub: one round trip, and the start of a shell.
fn dial(cluster: &Cluster, hub: IpAddr) -> Duration {
    let listener = std::net::TcpListener::bind((hub, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("exec 3<>/dev/tcp/{hub}/{port}")]);
    let started = Instant::now();
    let output = cluster.network().unwrap().command(&bash).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    started.elapsed()
}

fn a_wire_is_as_long_as_asked_and_is_taken_away(cluster: &Cluster) {
    let network = cluster.network().unwrap();
    let hub = network.hub_address().into();
    let delay = Duration::from_millis(300);
    let wire = network.wire(Quality {
        delay,
        ..Quality::default()
    });
    let wire = wire.unwrap();
    assert!(dial(cluster, hub) >= 2 * delay);
    assert!(wire.carried() >= 4, "{} frames", wire.carried());
    drop(wire);
    assert!(dial(cluster, hub) < 2 * delay);
}

fn the_hub_can_be_dialled_by_ipv6(cluster: &Cluster) {
    let hub = cluster.network().unwrap().add_ipv6().unwrap();
    dial(cluster, hub.into());
}

fn a_node_comes_back_after_a_power_cut(cluster: &mut Cluster) {
    cluster.kill_node().unwrap();
    cluster.boot_node().unwrap();
    let cluster = &*cluster;
    wait::until("exec after the boot", LIMIT, PAUSE, || {
        let output = kubectl(cluster, &["exec", "shell", "--", "true"]);
        Ok(if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        })
    })
    .unwrap();
}

fn another_cluster_runs_beside_it(testbed: &Testbed, first: &Cluster) {
    let second = testbed.cluster("second").start().unwrap();
    run_pod(&second, "other");
    assert_eq!(first.hub_address(), second.hub_address());
    let pods = |cluster| succeed(cluster, &["get", "pods", "-o", "name"]);
    assert_eq!(pods(first), "pod/shell\n");
    assert_eq!(pods(&second), "pod/other\n");
}

fn nothing_is_left_of_a_killed_owner() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["up", "doomed"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("is ready"), "{first}");
    let slot = slot("doomed");
    assert!(
        !traces(slot).is_empty(),
        "there is something to leave behind"
    );
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait::until("the end of what it had started", LIMIT, PAUSE, || {
        let left = processes(slot);
        Ok(if left.is_empty() {
            Ok(())
        } else {
            Err(left.join(", "))
        })
    })
    .unwrap();
    let swept = testbed::clean().unwrap();
    assert!(swept.iter().any(|state| state.purpose == "doomed"));
    assert_eq!(traces(slot), BTreeSet::new(), "after the clean-up");
}

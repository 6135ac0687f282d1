//! The proxy measured: requests, exec, bulk and memory, each beside the same without the tunnel in
//! the same run. Writes `docs/benchmarks/proxy.md` and its plot.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::Context as _;
use bench::{
    backend, bulk,
    endpoint::Endpoint,
    goal::{Goals, Wanted, median, median_by, median_ratio},
    load::{self, Measured},
    memory,
    report::{Bar, Table, bars},
    reverse_proxy, simulator,
};
use clap::Parser;
use e2e::lariat::{Api, Server, ServerOptions, Stage};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api as Kube, Client,
    api::{AttachParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use testbed::{BUSYBOX, Testbed};
use tokio::io::AsyncReadExt as _;
use tokio_util::task::TaskTracker;
use tunnel::dial::{Dialer, Trust};
use tunnel_proto::frame::CloseCode;

/// Measures the proxy and writes the report.
#[derive(Parser)]
struct Args {
    /// How often each figure other than requests is measured; the median counts
    #[arg(long, default_value_t = 3)]
    repetitions: usize,
    /// Idle sessions whose memory is measured
    #[arg(long, default_value_t = 1000)]
    sessions: usize,
    /// Where the report goes
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Measures one part and writes no report, for work on that part
    #[arg(long)]
    only: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Requests,
    Streams,
    Bulk,
    Sessions,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another crypto provider is installed"))?;
    let testbed = Testbed::open("bench-proxy")?;
    let folder = std::env::current_dir()?.join("target/bench-proxy");
    let _ = std::fs::remove_dir_all(&folder);
    let mut report = Report::default();

    if args.wants(Part::Requests) || args.wants(Part::Streams) {
        real_cluster(&testbed, &folder, &args, &mut report).await?;
    }
    if args.wants(Part::Bulk) || args.wants(Part::Sessions) {
        simulated(&testbed, &folder, &args, &mut report).await?;
    }
    if args.only.is_some() {
        return Ok(());
    }
    report.write(&args.out)?;
    println!("{}", report.goals.outcome());
    Ok(())
}

/// Through a real agent behind NAT to a real API server and a real node.
async fn real_cluster(
    testbed: &Testbed,
    folder: &Path,
    args: &Args,
    report: &mut Report,
) -> anyhow::Result<()> {
    println!("starting a cluster with 500 pods, a server and an agent");
    let cluster = testbed.cluster("bench").kwok_nodes(10).start()?;
    let made = cluster
        .kubectl()?
        .args(["create", "namespace", "load"])
        .output()?;
    anyhow::ensure!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    cluster.add_kwok_pods("load", 500)?;
    let stage = Stage::start(testbed, cluster, folder).await?;
    if args.wants(Part::Requests) {
        requests(&stage, report).await?;
    }
    if args.wants(Part::Streams) {
        streams(&stage, args, report).await?;
    }
    Ok(())
}

async fn kube_config(path: &Path) -> anyhow::Result<kube::Config> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Ok(kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

fn token_of(path: &Path) -> anyhow::Result<String> {
    use secrecy::ExposeSecret as _;
    let kubeconfig = Kubeconfig::read_from(path)?;
    let user = kubeconfig
        .auth_infos
        .into_iter()
        .find_map(|user| user.auth_info?.token);
    Ok(user
        .context("no token in the kubeconfig")?
        .expose_secret()
        .to_owned())
}

/// GETs of a small object and of a long list, directly, over one hop, and through the tunnel.
async fn requests(stage: &Stage<'_>, report: &mut Report) -> anyhow::Result<()> {
    let direct_config = kube_config(stage.cluster.kubeconfig()).await?;
    let tunnel_config = kube_config(&stage.kubeconfig).await?;
    let token = token_of(&stage.kubeconfig)?;
    let client = Client::try_from(direct_config.clone())?;
    let small: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "bench-1k"},
        "data": {"text": "x".repeat(640)},
    }))?;
    Kube::<ConfigMap>::namespaced(client, "default")
        .create(&PostParams::default(), &small)
        .await?;

    let tls = backend::tls()?;
    let hop = reverse_proxy::start(&direct_config, tls.server).await?;
    let ways = [
        ("direct", Endpoint::of_kube(&direct_config, None)?),
        ("one hop", Endpoint::local(hop, tls.client)?),
        ("tunnel", Endpoint::of_kube(&tunnel_config, Some(&token))?),
    ];
    // Short and often: the ways take turns, and the machine drifts.
    for (what, path, rounds, seconds) in [
        (
            "GET 1 KiB",
            "/api/v1/namespaces/default/configmaps/bench-1k",
            9,
            2,
        ),
        (
            "list 500 pods",
            "/api/v1/namespaces/load/pods?limit=500",
            3,
            5,
        ),
    ] {
        let time = Duration::from_secs(seconds);
        for connections in [1, 64] {
            let mut found: [Vec<Measured>; 3] = Default::default();
            for _ in 0..rounds {
                for ((_, endpoint), found) in ways.iter().zip(&mut found) {
                    found.push(load::get(endpoint, path, connections, time).await?);
                }
            }
            let [_, hop, tunnel] = &found;
            let times_hop = |figure: fn(&Measured) -> f64| {
                let figures = |all: &[Measured]| all.iter().map(figure).collect::<Vec<_>>();
                median_ratio(&figures(tunnel), &figures(hop))
            };
            if what == "GET 1 KiB" && connections == 64 {
                report.goal(
                    "requests per second at 64 connections, × one hop",
                    times_hop(|one| one.per_second),
                    Wanted::AtLeast(0.7),
                );
            }
            if what == "GET 1 KiB" && connections == 1 {
                report.goal(
                    "p50 of one request, × one hop",
                    times_hop(|one| one.p50.as_secs_f64()),
                    Wanted::AtMost(2.5),
                );
            }
            for ((way, _), found) in ways.iter().zip(found) {
                let median = median_by(found, |one| one.per_second);
                report.request(what, connections, way, &median);
            }
        }
    }
    Ok(())
}

/// exec: the round trip, and bytes from a pod.
async fn streams(stage: &Stage<'_>, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let direct = Client::try_from(kube_config(stage.cluster.kubeconfig()).await?)?;
    let tunnel = Client::try_from(kube_config(&stage.kubeconfig).await?)?;
    run_shell(stage)?;
    let mut trips: [Vec<f64>; 2] = Default::default();
    let mut rates: [Vec<f64>; 2] = Default::default();
    for _ in 0..args.repetitions * 10 {
        for (client, trips) in [&direct, &tunnel].into_iter().zip(&mut trips) {
            let started = Instant::now();
            exec(client, &["true"]).await?;
            trips.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    for _ in 0..args.repetitions {
        for (client, rates) in [&direct, &tunnel].into_iter().zip(&mut rates) {
            let started = Instant::now();
            let bytes = exec(client, &["head", "-c", "268435456", "/dev/zero"]).await?;
            anyhow::ensure!(bytes == 256 << 20, "exec gave {bytes} bytes");
            rates.push(256.0 / started.elapsed().as_secs_f64());
        }
    }
    let [direct_trip, tunnel_trip] = trips.map(median);
    let [direct_rate, tunnel_rate] = rates.map(median);
    report.stream("exec round trip, ms", direct_trip, tunnel_trip);
    report.stream("256 MiB out of a pod, MiB/s", direct_rate, tunnel_rate);
    Ok(())
}

fn run_shell(stage: &Stage<'_>) -> anyhow::Result<()> {
    for arguments in [
        &[
            "run",
            "shell",
            &format!("--image={BUSYBOX}"),
            "--image-pull-policy=Never",
            "--",
            "sleep",
            "100000",
        ][..],
        &[
            "wait",
            "pod/shell",
            "--for=condition=Ready",
            "--timeout=60s",
        ],
    ] {
        let output = stage.cluster.kubectl()?.args(arguments).output()?;
        anyhow::ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

async fn exec(client: &Client, command: &[&str]) -> anyhow::Result<u64> {
    let pods: Kube<Pod> = Kube::default_namespaced(client.clone());
    let params = AttachParams::default().stdout(true).stderr(false);
    let mut process = pods.exec("shell", command.to_vec(), &params).await?;
    let mut stdout = process.stdout().context("no standard output")?;
    let mut block = vec![0; 128 * 1024];
    let mut bytes = 0;
    loop {
        match stdout.read(&mut block).await? {
            0 => break,
            read => bytes += read as u64,
        }
    }
    process.join().await?;
    Ok(bytes)
}

/// What the tunnel itself adds: bulk from a simulated agent beside bare TLS, and idle sessions.
async fn simulated(
    testbed: &Testbed,
    folder: &Path,
    args: &Args,
    report: &mut Report,
) -> anyhow::Result<()> {
    println!("starting a server for simulated agents");
    let options = ServerOptions {
        flags: [
            "--max-connections-per-address",
            "20000",
            "--max-connections",
            "20000",
        ]
        .map(String::from)
        .to_vec(),
        ..ServerOptions::loopback(folder.join("idle-server"))
    };
    let server = Server::start(testbed, options).await?;
    let api = server.api().await?;
    let dialer = Dialer::new(
        server.url().parse()?,
        Trust::pem(&std::fs::read(server.ca_file())?)?,
    );
    let tasks = TaskTracker::new();
    let first = connect(&api, &dialer, &tasks, 0).await?;
    api.wait_ready(&first.id, Duration::from_secs(30)).await?;
    // First: what bulk leaves in the allocator would hide what sessions take.
    if args.wants(Part::Sessions) {
        sessions(&server, &api, &dialer, &tasks, args, report).await?;
    }
    if args.wants(Part::Bulk) {
        bulk_over_each_way(&api, &first.id, folder, report).await?;
    }
    Ok(())
}

async fn sessions(
    server: &Server<'_>,
    api: &Api,
    dialer: &Dialer,
    tasks: &TaskTracker,
    args: &Args,
    report: &mut Report,
) -> anyhow::Result<()> {
    let tokens: Vec<String> = futures::stream::iter(1..=args.sessions)
        .map(|number| registration(api, number))
        .buffer_unordered(16)
        .try_collect()
        .await?;
    let before = memory::resident(server.pid())?;
    let agents: Vec<simulator::Agent> = futures::stream::iter(&tokens)
        .map(|token| simulator::connect(dialer, token, None, tasks))
        .buffer_unordered(32)
        .try_collect()
        .await?;
    // Two looks of the health check at every cluster, so that what they keep is counted as well.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let after = memory::resident(server.pid())?;
    let each = after.saturating_sub(before) as f64 / 1024.0 / agents.len() as f64;
    report.memory = format!(
        "{} idle sessions of clusters without objects: {:.1} MiB before, {:.1} MiB after, {each:.1} KiB each. What a cluster costs \
         that is kept is in [another benchmark](fleet.md).",
        agents.len(),
        before as f64 / f64::from(1 << 20),
        after as f64 / f64::from(1 << 20),
    );
    println!("{}", report.memory);
    report.goal(
        "server memory per idle session, KiB",
        each,
        Wanted::AtMost(40.0),
    );
    for agent in agents {
        agent.session.close(CloseCode::Normal, "measured");
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(())
}

async fn registration(api: &Api, number: usize) -> anyhow::Result<String> {
    let id = api.create_cluster(&format!("simulated-{number}")).await?;
    Ok(api.import(&id).await?.token)
}

async fn connect(
    api: &Api,
    dialer: &Dialer,
    tasks: &TaskTracker,
    number: usize,
) -> anyhow::Result<simulator::Agent> {
    let token = registration(api, number).await?;
    simulator::connect(dialer, &token, None, tasks).await
}

async fn bulk_over_each_way(
    api: &Api,
    cluster: &str,
    folder: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    const MIB: u64 = 512;
    const ROUNDS: usize = 9;
    let kubeconfig = folder.join("simulated.kubeconfig");
    e2e::lariat::write_secret(&kubeconfig, &api.kubeconfig(cluster, false).await?)?;
    let config = kube_config(&kubeconfig).await?;
    let through = Endpoint::of_kube(&config, Some(&token_of(&kubeconfig)?))?;
    // Bare TLS alone is once or twice as fast, as the scheduler puts its ends on one core or two.
    let rates = bulk::measure(through, MIB, ROUNDS).await?;
    let over_bare = median_ratio(&rates.tunnel, &rates.bare);
    let over_hop = median_ratio(&rates.through, &rates.hop);
    let [bare, tunnel, hop, through] =
        [rates.bare, rates.tunnel, rates.hop, rates.through].map(median);
    report.bulk("bare TLS", bare, bare);
    report.bulk("one tunnel, no server around it", tunnel, bare);
    report.bulk("one hop: two TLS connections", hop, bare);
    report.bulk("server and tunnel", through, bare);
    report.goal(
        "bulk over the tunnel, × bare TLS",
        over_bare,
        Wanted::AtLeast(0.5),
    );
    report.goal(
        "bulk through server and tunnel, × one hop",
        over_hop,
        Wanted::AtLeast(0.5),
    );
    Ok(())
}

/// What was measured, on its way into the report.
struct Report {
    requests: Table,
    streams: Table,
    bulk: Table,
    memory: String,
    goals: Goals,
    bars: Vec<Bar>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            requests: Table::new(&[
                "what",
                "connections",
                "way",
                "per second",
                "p50, ms",
                "p99, ms",
            ]),
            streams: Table::new(&["what", "direct", "tunnel", "ratio"]),
            bulk: Table::new(&["512 MiB over", "MiB/s", "× bare TLS"]),
            memory: String::new(),
            goals: Goals::default(),
            bars: Vec::new(),
        }
    }
}

impl Report {
    fn request(&mut self, what: &str, connections: usize, way: &str, one: &Measured) {
        let milliseconds = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
        println!(
            "{what}, {connections} connections, {way}: {:.0} per second, p50 {} ms",
            one.per_second,
            milliseconds(one.p50)
        );
        self.requests.row([
            what.to_owned(),
            connections.to_string(),
            way.to_owned(),
            format!("{:.0}", one.per_second),
            milliseconds(one.p50),
            milliseconds(one.p99),
        ]);
        self.bars.push(Bar {
            label: format!("{what}, {connections}, {way}"),
            value: one.per_second,
        });
    }

    fn stream(&mut self, what: &str, direct: f64, tunnel: f64) {
        println!("{what}: {direct:.1} directly, {tunnel:.1} through the tunnel");
        self.streams.row([
            what.to_owned(),
            format!("{direct:.1}"),
            format!("{tunnel:.1}"),
            format!("{:.2}", tunnel / direct),
        ]);
    }

    fn bulk(&mut self, way: &str, rate: f64, bare: f64) {
        println!("512 MiB, {way}: {rate:.0} MiB/s");
        self.bulk.row([
            way.to_owned(),
            format!("{rate:.0}"),
            format!("{:.2}", rate / bare),
        ]);
    }

    fn goal(&mut self, name: &'static str, measured: f64, wanted: Wanted) {
        println!("{name}: {measured:.3}");
        self.goals.add(name, measured, wanted);
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        let cores = std::thread::available_parallelism()?;
        let text = format!(
            "# The proxy\n\nMade by `make bench-proxy`: all processes of one run share {cores} cores, loopback and\n\
             namespaces of one machine. Compare rows with each other; absolute figures are the\n\
             machine's. *Direct* is the client at the API server, *one hop* a hyper reverse proxy with\n\
             TLS on both sides and kept connections, *tunnel* the client at the server, the agent behind\n\
             NAT in the cluster.\n\n\
             ## Goals\n\n{}\n## Requests\n\n{}\n![requests per second](proxy.svg)\n\n## Streams\n\n{}\n## Bulk\n\n{}\n## Memory\n\n{}\n",
            self.goals.table().markdown(),
            self.requests.markdown(),
            self.streams.markdown(),
            self.bulk.markdown(),
            self.memory,
        );
        print!("\n{text}");
        std::fs::write(folder.join("proxy.md"), text)?;
        let svg = bars("Requests per second", "what, connections, way", &self.bars);
        std::fs::write(folder.join("proxy.svg"), svg)?;
        Ok(())
    }
}

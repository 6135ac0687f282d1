//! Traces of requests as a collector gets them: from a server, an agent and a kube-apiserver.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::FutureExt as _;
use serde_json::Value;
use testbed::collector::{Collector, Span};
use testbed::{Testbed, Tier, wait};

use crate::cases::Case;
use crate::lariat::{AgentProcess, Raw, Stage, agent_command, start_process_with, write_secret};
use crate::table::invoke;

/// How long one kubectl may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How long spans may take: kube-apiserver sends them every five seconds.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Whose spans they are.
const SERVER: &str = "lariat-server";
const AGENT: &str = "cattle-cluster-agent";
const API_SERVER: &str = "apiserver";

/// Kinds of spans, by the numbers of the protocol.
const INTERNAL: i32 = 1;
const RECEIVED: i32 = 2;
const SENT: i32 = 3;

/// A server, an agent and an API server that send their spans to one collector.
pub struct World<'a> {
    stage: Stage<'a>,
    agent: RefCell<Option<AgentProcess>>,
    collector: Collector,
    folder: PathBuf,
}

/// All cases. The last ends the server.
#[must_use]
pub fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![
        ("one kubectl request is one trace", |world| {
            one_trace(world).boxed_local()
        }),
        ("a client's own trace goes on", |world| {
            client_s_own(world).boxed_local()
        }),
        ("a watch is a short request and a long body", |world| {
            watch(world).boxed_local()
        }),
        (
            "where the API server does not trust the agent, it links",
            |world| linked(world).boxed_local(),
        ),
        ("what the server did last arrives though it ends", |world| {
            last(world).boxed_local()
        }),
    ]
}

impl<'a> World<'a> {
    /// Starts everything; data and logs go to `folder`.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(testbed: &'a Testbed, folder: &Path) -> Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        let collector = Collector::start(Ipv4Addr::LOCALHOST)?;
        let cluster = testbed
            .cluster("traces")
            .tier(Tier::Loopback)
            .traces_to(collector.address())
            .start()?;
        let url = collector.url();
        let flags = ["--otlp-endpoint", url.as_str()];
        let mut stage = Stage::start_with(testbed, cluster, folder, &flags).await?;
        // The same once more, with a collector.
        drop(stage.agent.take());
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str())];
        let agent = start_process_with(&stage.server, &stage.cluster, &stage.import, &environment)?;
        stage.kubectl_works(LIMIT).await?;
        Ok(Self {
            stage,
            agent: RefCell::new(Some(agent)),
            collector,
            folder: folder.to_owned(),
        })
    }

    /// One request of kubectl, whatever it is answered; path and query of the cluster's API server.
    fn get(&self, path: &str) -> Result<()> {
        let mut kubectl = self.stage.kubectl()?;
        let outcome = invoke::run(kubectl.args(["get", "--raw", path]), b"", LIMIT)?;
        ensure!(outcome.code == Some(0), "{}", outcome.transcript());
        Ok(())
    }

    /// Path of a list that nobody else asks for.
    fn path(case: &str) -> String {
        format!("/api/v1/namespaces/{case}/configmaps")
    }

    /// The spans of the request with this path, when `complete` finds them all there.
    fn trace_of<T>(
        &self,
        path: &str,
        complete: impl Fn(&Span, &Trace<'_>) -> Result<T, String>,
    ) -> Result<T> {
        let path = format!("/k8s/clusters/{}{path}", self.stage.id);
        let found = self
            .collector
            .until(&format!("the trace of {path}"), ARRIVAL, |spans| {
                let root = spans
                    .iter()
                    .find(|span| span.service == SERVER && span.attribute("url.path") == path);
                let root = root.ok_or("the server's span is not there")?;
                let trace = Trace {
                    all: spans,
                    spans: spans
                        .iter()
                        .filter(|span| span.trace == root.trace)
                        .collect(),
                };
                complete(root, &trace)
            });
        let faults = self.collector.faults();
        ensure!(faults.is_empty(), "the collector was sent {faults:?}");
        Ok(found?)
    }

    /// The audit event of a request, which is written after its answer.
    fn audit(&self, id: &str) -> Result<Value> {
        let path = self.stage.server.folder().join("audit.log");
        let every = Duration::from_millis(50);
        let event = wait::until("an audit event", ARRIVAL, every, || {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let events = log.lines().map(serde_json::from_str::<Value>);
            let mut events = events.flatten();
            let event = events.find(|event| event["auditID"] == id);
            Ok(event.ok_or_else(|| format!("there is none of {id}")))
        });
        Ok(event?)
    }
}

/// The spans of a trace, and all others.
struct Trace<'s> {
    all: &'s [Span],
    spans: Vec<&'s Span>,
}

impl<'s> Trace<'s> {
    /// The one part of `parent` with this name.
    fn part(
        &self,
        parent: &Span,
        service: &str,
        name: &str,
        kind: i32,
    ) -> Result<&'s Span, String> {
        let mut found = self.spans.iter().copied().filter(|span| {
            span.parent == parent.id && span.service == service && span.name == name
        });
        match (found.next(), found.next()) {
            (Some(span), None) if span.kind == kind => Ok(span),
            (None, _) => {
                let names: Vec<_> = self.spans.iter().map(|span| &span.name).collect();
                Err(format!(
                    "no {name:?} of {service} in {:?}, but {names:?}",
                    parent.name
                ))
            }
            (Some(span), _) => Err(format!("another or two of {span:?}")),
        }
    }

    /// From the server's span to the agent's request to the API server.
    fn way(&self, root: &Span) -> Result<[&'s Span; 3], String> {
        let tunnel = self.part(root, SERVER, "tunnel request", SENT)?;
        let agent = self.part(tunnel, AGENT, "agent request", RECEIVED)?;
        let asked = self.part(agent, AGENT, "API server request", SENT)?;
        Ok([tunnel, agent, asked])
    }
}

async fn one_trace(world: &World<'_>) -> Result<String> {
    let path = World::path("case-one");
    world.get(&format!("{path}?limit=7"))?;
    let (root, way, answered, parts) = world.trace_of(&path, |root, trace| {
        let way = trace.way(root)?;
        let name = "GET /api/v1/namespaces/{:namespace}/configmaps";
        let answered = trace.part(way[2], API_SERVER, name, RECEIVED)?;
        let names = ["authenticate", "authorize", "wait for session", "body"];
        let mut parts = Vec::new();
        for name in names {
            parts.push(trace.part(root, SERVER, name, INTERNAL)?.clone());
        }
        Ok((root.clone(), way.map(Clone::clone), answered.clone(), parts))
    })?;
    ensure!(
        root.parent.is_empty(),
        "kubectl has begun no trace: {root:?}"
    );
    ensure!(
        root.name == "GET /k8s/clusters/{cluster}/{path}",
        "{root:?}"
    );
    let [tunnel, agent, asked] = &way;
    for (span, name, expected) in [
        (&root, "http.request.method", "GET"),
        (&root, "http.response.status_code", "200"),
        (&root, "lariat.cluster", world.stage.id.as_str()),
        (tunnel, "lariat.class", "interactive"),
        (tunnel, "http.response.status_code", "200"),
        (agent, "url.path", path.as_str()),
        (agent, "http.response.status_code", "200"),
        (asked, "http.response.status_code", "200"),
    ] {
        ensure!(span.attribute(name) == expected, "{name}: {span:?}");
    }
    // All on one machine: each begins within the one before it, and what leads to the answer ends before it.
    for pair in [&root, tunnel, agent, asked, &answered].windows(2) {
        ensure!(pair[0].times.0 <= pair[1].times.0, "{pair:?}");
        ensure!(pair[1].times.0 <= pair[0].times.1, "{pair:?}");
    }
    for part in &parts {
        let within = root.times.0 <= part.times.0 && part.times.1 <= root.times.1;
        ensure!(within, "{part:?} is not within {root:?}");
    }
    let id = root.attribute("lariat.request_id");
    ensure!(answered.attribute("audit-id") == id, "{answered:?}");
    let event = world.audit(id)?;
    let trace = &event["annotations"]["audit.lariat.internal/trace-id"];
    ensure!(trace == root.trace.as_str(), "{event}");
    let spans = world.collector.spans();
    let mut said = spans.iter().flat_map(|span| span.attributes.values());
    let token = world.stage.api.token.as_str();
    ensure!(
        !said.any(|text| text.contains(token)),
        "a token is in a span"
    );
    let milliseconds = |span: &Span| (span.times.1 - span.times.0) as f64 / 1e6;
    Ok(format!(
        "server {:.2} ms, tunnel {:.2}, agent {:.2}, API server {:.2}, as it says {:.2}",
        milliseconds(&root),
        milliseconds(tunnel),
        milliseconds(agent),
        milliseconds(asked),
        milliseconds(&answered)
    ))
}

async fn client_s_own(world: &World<'_>) -> Result<String> {
    let server = &world.stage.server;
    let address: SocketAddr = server
        .url()
        .trim_start_matches("https://")
        .parse()
        .context("the server's address")?;
    let raw = Raw::new(address, &std::fs::read_to_string(server.ca_file())?)?;
    let bearer = format!("Bearer {}", world.stage.api.token);
    let client = "b7ad6b7169203331";
    let send = async |case: &str, trace: &str, flags: &str| {
        let path = format!("/k8s/clusters/{}{}", world.stage.id, World::path(case));
        let parent = format!("00-{trace}-{client}-{flags}");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("traceparent", parent.as_str()),
        ];
        let (status, answer) = raw.request("GET", &path, &headers, "").await?;
        ensure!(status == 200, "{answer}");
        let id = answer
            .lines()
            .find_map(|line| line.strip_prefix("audit-id: "));
        let id = id.context("no Audit-Id in the answer")?;
        Ok::<_, anyhow::Error>(id.to_owned())
    };
    let quiet = "1af7651916cd43dd8448eb211c80319c";
    let id = send("case-quiet", quiet, "00").await?;
    // Not recorded, and found all the same.
    let event = world.audit(&id)?;
    ensure!(
        event["annotations"]["audit.lariat.internal/trace-id"] == quiet,
        "{event}"
    );
    let trace = "2af7651916cd43dd8448eb211c80319c";
    send("case-own", trace, "01").await?;
    let spans = world.trace_of(&World::path("case-own"), |root, found| {
        if root.parent != client || root.trace != trace {
            return Err(format!("{root:?} is not of the client's trace"));
        }
        let [_, _, asked] = found.way(root)?;
        let name = "GET /api/v1/namespaces/{:namespace}/configmaps";
        found.part(asked, API_SERVER, name, RECEIVED)?;
        Ok(found.spans.len())
    })?;
    // Spans arrive in the order in which they end.
    let spans_of = |trace: &str| {
        let all = world.collector.spans();
        all.iter().filter(|span| span.trace == trace).count()
    };
    ensure!(
        spans_of(quiet) == 0,
        "a trace that its client does not record was recorded"
    );
    Ok(format!(
        "{spans} spans in it, none in one that is not recorded"
    ))
}

async fn watch(world: &World<'_>) -> Result<String> {
    let path = World::path("case-watch");
    world.get(&format!("{path}?watch=true&timeoutSeconds=2"))?;
    let (tunnel, body) = world.trace_of(&path, |root, trace| {
        let [tunnel, _, _] = trace.way(root)?;
        let body = trace.part(root, SERVER, "body", INTERNAL)?;
        Ok((tunnel.clone(), body.clone()))
    })?;
    ensure!(tunnel.attribute("lariat.class") == "watch", "{tunnel:?}");
    let [head, rest] = [&tunnel, &body].map(|span| span.times.1 - span.times.0);
    ensure!(rest > 1_000_000_000 && rest > head, "{tunnel:?} {body:?}");
    Ok(format!(
        "head {} ms, body {} ms",
        head / 1_000_000,
        rest / 1_000_000
    ))
}

/// An agent as it is in a cluster: with the rights of its account, which is in no privileged group.
async fn linked(world: &World<'_>) -> Result<String> {
    let stage = &world.stage;
    let kubeconfig = world.folder.join("account.kubeconfig");
    write_secret(
        &kubeconfig,
        &std::fs::read_to_string(stage.cluster.local_kubeconfig())?,
    )?;
    let mut kubectl = stage.cluster.kubectl()?;
    let token = ["-n", "cattle-system", "create", "token", "cattle"];
    let token = invoke::run(kubectl.args(token), b"", LIMIT)?;
    ensure!(token.code == Some(0), "{}", token.transcript());
    let token = token.stdout_text().trim().to_owned();
    for arguments in [
        vec!["set-credentials", "account", "--token", token.as_str()],
        vec!["set-context", "--current", "--user", "account"],
    ] {
        let mut kubectl = stage.cluster.kubectl()?;
        kubectl.arg("config").args(arguments);
        kubectl.arg("--kubeconfig").arg(&kubeconfig);
        let outcome = invoke::run(&mut kubectl, b"", LIMIT)?;
        ensure!(outcome.code == Some(0), "{}", outcome.transcript());
    }
    drop(world.agent.take());
    let mut command = agent_command(&stage.server, &stage.import, &kubeconfig)?;
    command
        .args(["--health-address", "127.0.0.1:18080"])
        .args(["--otlp-endpoint", &world.collector.url()]);
    let agent = stage
        .cluster
        .start_process("cattle-cluster-agent-account", &command)?;
    world.agent.replace(Some(agent));
    stage.kubectl_works(LIMIT).await?;
    let path = World::path("case-linked");
    world.get(&path)?;
    world.trace_of(&path, |root, trace| {
        let [_, _, asked] = trace.way(root)?;
        let link = (asked.trace.clone(), asked.id.clone());
        let mut linked = trace.all.iter().filter(|span| span.links.contains(&link));
        let answered = linked.next().ok_or("no span of the API server is linked")?;
        let same = answered.service == API_SERVER
            && answered.trace != root.trace
            && answered.attribute("audit-id") == root.attribute("lariat.request_id");
        match same {
            true => Ok(()),
            false => Err(format!("{answered:?} is not linked to {root:?}")),
        }
    })?;
    Ok("a trace of its own, linked to the agent's span, with the same request id".to_owned())
}

async fn last(world: &World<'_>) -> Result<String> {
    let path = World::path("case-last");
    world.get(&path)?;
    world.stage.server.stop();
    // What was sent is there when the program has ended.
    let path = format!("/k8s/clusters/{}{path}", world.stage.id);
    let spans = world.collector.spans();
    let root = spans.iter().find(|span| span.attribute("url.path") == path);
    let Some(root) = root else {
        bail!("the last span of the server is lost");
    };
    let parts = spans.iter().filter(|span| span.parent == root.id).count();
    ensure!(parts >= 5, "only {parts} parts of {root:?}");
    Ok(format!("{parts} parts"))
}

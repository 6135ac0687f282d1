//! KWOK: nodes and pods that exist in the API alone, for scale. Never for exec, attach or cp: what
//! KWOK plays there is not what a kubelet does.

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};

use crate::{Error, Result, control_plane::flags, https::Client, process::Process, site::Site};

const MARK: &str = "kwok.x-k8s.io/node";
const WRITERS: u32 = 4;

pub(crate) fn start(site: &Site) -> Result<Process> {
    let stages = fs::read_to_string(site.programs.path("kwok-stages.yaml")?).unwrap_or_default();
    let config = site.write("kwok.yaml", &stages)?;
    let file = |name: &str| site.pki.path(name).display().to_string();
    site.pki.issue(
        "kwok",
        &crate::pki::Subject {
            common_name: "kwok",
            names: &["localhost"],
            addresses: &[std::net::IpAddr::from([127, 0, 0, 1])],
            ..crate::pki::Subject::default()
        },
    )?;
    let port = site.ports.kwok().to_string();
    let mut kwok = site.program("kwok")?;
    flags(
        &mut kwok,
        &[
            ("kubeconfig", &file("local-admin.kubeconfig")),
            ("config", &config.display().to_string()),
            // The real node, if there is one, is not KWOK's.
            (
                "manage-nodes-with-annotation-selector",
                &format!("{MARK}=fake"),
            ),
            // Without leases of their own the nodes go NotReady after 50 s.
            ("node-lease-duration-seconds", "40"),
            ("cidr", "10.200.0.0/16"),
            ("node-ip", "127.0.0.1"),
            ("node-port", &port),
            ("server-address", &format!("127.0.0.1:{port}")),
            ("tls-cert-file", &file("kwok.crt")),
            ("tls-private-key-file", &file("kwok.key")),
        ],
    );
    site.start("kwok", &kwok)
}

/// Makes nodes `kwok-0` … and waits until they are ready. They are tainted, so that only pods
/// that tolerate `kwok.x-k8s.io/node` are scheduled to them.
pub(crate) fn add_nodes(kwok: &Process, client: &Client, count: u32) -> Result<()> {
    create_all(client, "/api/v1/nodes", count, node)?;
    wait_for_count(
        kwok,
        client,
        "/api/v1/nodes?labelSelector=type%3Dkwok",
        "the KWOK nodes being ready",
        count,
        |node| {
            node["status"]["conditions"]
                .as_array()
                .is_some_and(|conditions| {
                    conditions.iter().any(|condition| {
                        condition["type"] == "Ready" && condition["status"] == "True"
                    })
                })
        },
    )
}

/// Makes pods `load-0` … spread over `nodes` KWOK nodes and waits until they run.
pub(crate) fn add_pods(
    kwok: &Process,
    client: &Client,
    namespace: &str,
    count: u32,
    nodes: u32,
) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    create_all(client, &path, count, |number| pod(number, nodes))?;
    let running = format!("{path}?labelSelector=app%3Dload");
    wait_for_count(
        kwok,
        client,
        &running,
        "the KWOK pods running",
        count,
        |pod| pod["status"]["phase"] == "Running",
    )
}

fn node(number: u32) -> Value {
    let name = format!("kwok-{number}");
    let capacity = json!({"cpu": "32", "memory": "256Gi", "pods": "1000"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {MARK: "fake"},
            "labels": {"type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        },
        "spec": {"taints": [{"key": MARK, "value": "fake", "effect": "NoSchedule"}]},
        "status": {"capacity": capacity, "allocatable": capacity},
    })
}

fn pod(number: u32, nodes: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("load-{number}"), "labels": {"app": "load"}},
        "spec": {
            "nodeName": format!("kwok-{}", number % nodes.max(1)),
            "containers": [{"name": "load", "image": "lariat.test/none:1"}],
        },
    })
}

/// POSTs `count` objects over a few connections.
fn create_all(
    client: &Client,
    path: &str,
    count: u32,
    object: impl Fn(u32) -> Value + Sync,
) -> Result<()> {
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|first| {
                let object = &object;
                scope.spawn(move || create_every(client, path, first, count, object))
            })
            .collect();
        writers.into_iter().try_for_each(|writer| {
            writer
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

fn create_every(
    client: &Client,
    path: &str,
    first: u32,
    count: u32,
    object: impl Fn(u32) -> Value,
) -> Result<()> {
    let failed = |detail: String| Error::Unexpected {
        step: format!("create objects at {path}"),
        detail,
    };
    let mut connection = client
        .connect()
        .map_err(|error| failed(error.to_string()))?;
    for number in (first..count).step_by(WRITERS as usize) {
        let answer = connection
            .send("POST", path, &object(number).to_string())
            .map_err(|error| failed(error.to_string()))?;
        if answer.status != 201 {
            return Err(failed(format!("{}: {}", answer.status, answer.body)));
        }
    }
    Ok(())
}

fn wait_for_count(
    kwok: &Process,
    client: &Client,
    path: &str,
    what: &str,
    count: u32,
    is_there: impl Fn(&Value) -> bool,
) -> Result<()> {
    let limit = Duration::from_secs(60) + Duration::from_millis(100) * count;
    kwok.until(what, limit, || {
        let list = match client.get(path) {
            Ok(answer) => serde_json::from_str::<Value>(&answer.body).unwrap_or_default(),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let there = list["items"].as_array().map_or(0, |items| {
            items.iter().filter(|item| is_there(item)).count()
        });
        if there >= count as usize {
            return Ok(Ok(()));
        }
        // A large list costs the API server something; leave it time to do the work.
        let _ = kwok.wait(Duration::from_millis(u64::from(count)).min(Duration::from_secs(2)));
        Ok(Err(format!("{there} of {count}")))
    })
}

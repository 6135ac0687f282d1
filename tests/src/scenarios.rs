//! The table itself, one module per subject.

mod bulk;
mod cluster;
mod forward;
mod libraries;
mod read;
mod scale;
mod streams;
mod terminal;
mod watch;
mod workloads;
mod write;

use testbed::BUSYBOX;

use crate::table::{Invocation, Scenario, kubectl};

pub use scale::{LOAD_NAMESPACE, LOAD_PODS};

/// All scenarios in the order in which they run.
#[must_use]
pub fn all() -> Vec<Scenario> {
    vec![
        read::objects(),
        read::discovery(),
        write::objects(),
        write::apply(),
        workloads::deployment(),
        streams::pod(),
        bulk::scenario(),
        terminal::scenario(),
        watch::scenario(),
        cluster::scenario(),
        scale::scenario(),
        libraries::scenario(),
    ]
}

/// What clients do that drop the path of a server's address; run with a kubeconfig that chooses
/// the cluster by the TLS server name.
#[must_use]
pub fn by_server_name() -> Scenario {
    let mut scenario = Scenario {
        name: "byname",
        prepare: shell_pod()
            .into_iter()
            .chain([Invocation::new(
                "expose pod shell --port=80 --target-port=8080",
            )])
            .collect(),
        steps: vec![
            kubectl("get pods"),
            kubectl("exec -i shell -- tr a-z A-Z").stdin("upper\n"),
            kubectl("logs shell"),
            forward::proxy_without_path(),
        ],
    };
    scenario.steps.extend(read::raw());
    scenario.steps.extend(streams::raw());
    scenario.steps.extend(cluster::raw());
    scenario
}

/// Makes a pod `shell` that prints numbered lines and then sleeps, and waits until it is ready.
fn shell_pod() -> [Invocation; 2] {
    let manifest = format!(
        r#"{{"apiVersion": "v1", "kind": "Pod",
            "metadata": {{"name": "shell", "labels": {{"app": "shell"}}}},
            "spec": {{"terminationGracePeriodSeconds": 1, "containers": [{{
                "name": "shell", "image": "{BUSYBOX}", "imagePullPolicy": "Never",
                "command": ["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; mkdir -p /www; echo served > /www/index.html; exec httpd -f -p 8080 -h /www"],
                "ports": [{{"containerPort": 8080}}]}}]}}}}"#
    );
    [
        Invocation::new("create -f -").stdin(manifest),
        Invocation::new("wait --for=condition=Ready pod/shell --timeout=60s"),
    ]
}

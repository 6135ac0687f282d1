//! What concerns the whole cluster: nodes, certificates, metrics, events.

use std::time::Duration;

use anyhow::Result;
use rcgen::{CertificateParams, DnType, KeyPair};

use super::{read::with_path, shell_pod};
use crate::table::{Context, Invocation, Scenario, Step, custom, kubectl};

pub(super) fn scenario() -> Scenario {
    let unschedulable = "get node node-1 -o jsonpath={.spec.unschedulable}";
    let taints = "get node node-1 -o jsonpath={.spec.taints}";
    let approved = "get csr {ns} -o jsonpath={.status.conditions[*].type}";
    let denied = "get csr {ns}-2 -o jsonpath={.status.conditions[*].type}";
    let mut scenario = Scenario {
        name: "cluster",
        prepare: shell_pod()
            .into_iter()
            .chain([
                Invocation::new("label pod shell side={ns}"),
                Invocation::new("create -f -").stdin(signing_request("{ns}")),
                Invocation::new("create -f -").stdin(signing_request("{ns}-2")),
            ])
            .collect(),
        steps: vec![
            kubectl("top node node-1").first_column(),
            custom("top pod, once it has been measured", top_pod),
            kubectl("events --for pod/shell").first_column().since(26),
            kubectl("get csr {ns}"),
            kubectl("certificate approve {ns}").effect(approved),
            kubectl("certificate deny {ns}-2").effect(denied),
            kubectl("certificate approve none").exits(1),
            kubectl("delete csr {ns} {ns}-2"),
            kubectl("taint node node-1 test=yes:PreferNoSchedule").effect(taints),
            kubectl("taint node node-1 test=no:PreferNoSchedule").exits(1),
            kubectl("taint node node-1 test-").effect(taints),
            kubectl("label node node-1 test=yes")
                .effect("get node node-1 -o jsonpath={.metadata.labels.test}"),
            kubectl("label node node-1 test-"),
            kubectl("cordon node-1").effect(unschedulable),
            kubectl("cordon node-1"),
            kubectl("drain node-1 --pod-selector=side={ns} --timeout=60s").exits(1),
            kubectl("uncordon node-1").effect(unschedulable),
            kubectl("drain node-1 --pod-selector=side={ns} --force --timeout=60s")
                .effect("get pods -o name"),
            kubectl("uncordon node-1").effect(unschedulable),
            kubectl("drain nosuchnode").exits(1),
            kubectl("describe node kwok-0").first_column(),
            kubectl("create namespace {ns}-more").effect("get namespace {ns}-more -o name"),
            kubectl("delete namespace {ns}-more")
                .effect("get namespace {ns}-more --ignore-not-found"),
        ],
    };
    scenario.steps.extend(raw().into_iter().map(with_path));
    scenario
}

/// What a kubelet and an aggregated API server serve.
pub(super) fn raw() -> Vec<Step> {
    vec![
        kubectl("get --raw /apis/metrics.k8s.io/v1beta1"),
        kubectl("get --raw /api/v1/nodes/node-1/proxy/healthz"),
    ]
}

/// The values differ, the rest does not.
fn top_pod(context: &Context) -> Result<String> {
    let path = "get --raw /apis/metrics.k8s.io/v1beta1/namespaces/{ns}/pods/shell";
    testbed::wait::until(
        "the metrics of a pod",
        Duration::from_secs(90),
        Duration::from_millis(500),
        || {
            let measured = context.operate(&Invocation::new(path));
            Ok(measured.map_err(|error| error.to_string()))
        },
    )?;
    let outcome = context.kubectl("top pod shell")?;
    let text = outcome.stdout_text();
    let words = text.lines().map(|line| line.split_whitespace().next());
    Ok(format!(
        "{:?} {:?}",
        outcome.code,
        words.collect::<Vec<_>>()
    ))
}

/// A CertificateSigningRequest for a client.
fn signing_request(name: &str) -> String {
    let pem = || -> Result<String, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "somebody");
        params.serialize_request(&KeyPair::generate()?)?.pem()
    };
    // An empty request is refused by the API server, and the case fails with its words.
    let request = pem().map(|pem| base64(pem.as_bytes())).unwrap_or_default();
    format!(
        r#"{{"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {{"name": "{name}"}},
            "spec": {{"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
                      "request": "{request}"}}}}"#
    )
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(bytes)
}

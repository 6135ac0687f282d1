//! metrics-server, as a process beside the API server: what `kubectl top` asks.

use std::process::Command;

use serde_json::json;

use crate::{
    Error, Result,
    control_plane::{flags, wait_for_ok},
    https::Client,
    network::NODE_ADDRESS,
    node::NODE_NAME,
    process::Process,
    site::Site,
};

/// Starts it and waits until the metrics of the node are there.
pub(crate) fn start(site: &Site, client: &Client) -> Result<Process> {
    let file = |name: &str| site.pki.path(name).display().to_string();
    let kubeconfig = file("local-admin.kubeconfig");
    let certificates = site.folder.join("metrics-server").display().to_string();
    let port = site.ports.metrics_server();
    let mut server: Command = site.program("metrics-server")?;
    flags(
        &mut server,
        &[
            ("kubeconfig", &kubeconfig),
            ("authentication-kubeconfig", &kubeconfig),
            ("authorization-kubeconfig", &kubeconfig),
            ("secure-port", &port.to_string()),
            ("cert-dir", &certificates),
            ("kubelet-certificate-authority", &file("ca.crt")),
            ("kubelet-preferred-address-types", "InternalIP"),
            // It must be longer than the timeout, and is at least 10 s.
            ("kubelet-request-timeout", "5s"),
            ("metric-resolution", "10s"),
        ],
    );
    let process = site.start("metrics-server", &server)?;
    register(client, port)?;
    wait_for_ok(
        &process,
        client,
        &format!("/apis/metrics.k8s.io/v1beta1/nodes/{NODE_NAME}"),
    )?;
    Ok(process)
}

fn register(client: &Client, port: u16) -> Result<()> {
    let name = "metrics-server";
    let objects = [
        (
            "/api/v1/namespaces/kube-system/services",
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
            }),
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": true}}],
            }),
        ),
        (
            "/apis/apiregistration.k8s.io/v1/apiservices",
            json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {"name": "v1beta1.metrics.k8s.io"},
                "spec": {
                    "group": "metrics.k8s.io", "version": "v1beta1",
                    "groupPriorityMinimum": 100, "versionPriority": 100,
                    "insecureSkipTLSVerify": true,
                    "service": {"name": name, "namespace": "kube-system"},
                },
            }),
        ),
    ];
    let failed = |detail| Error::Unexpected {
        step: "register metrics-server".into(),
        detail,
    };
    let mut connection = client
        .connect()
        .map_err(|error| failed(error.to_string()))?;
    for (path, object) in objects {
        let answer = connection
            .send("POST", path, &object.to_string())
            .map_err(|error| failed(error.to_string()))?;
        if answer.status != 201 {
            return Err(failed(format!(
                "{path} answered {}: {}",
                answer.status, answer.body
            )));
        }
    }
    Ok(())
}

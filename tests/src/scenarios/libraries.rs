//! Other clients: helm, the Python library, kube-rs.

mod rust;

use anyhow::Result;
use testbed::clients;

use super::shell_pod;
use crate::helm;
use crate::table::{Context, LIMIT, Scenario, custom, invoke};

const CHART: [(&str, &str); 3] = [
    (
        "Chart.yaml",
        include_str!("../../charts/greeting/Chart.yaml"),
    ),
    (
        "values.yaml",
        include_str!("../../charts/greeting/values.yaml"),
    ),
    (
        "templates/all.yaml",
        include_str!("../../charts/greeting/templates/all.yaml"),
    ),
];
const PYTHON_CLIENT: &str = include_str!("../../clients/python_client.py");

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "other",
        prepare: shell_pod().into(),
        steps: vec![
            custom("helm install --wait", |context| {
                helm(context, &["install", "hi", "CHART", "--wait"])
            })
            .once(),
            custom("helm upgrade --wait", |context| {
                helm(
                    context,
                    &["upgrade", "hi", "CHART", "--wait", "--set", "word=again"],
                )
            })
            .once(),
            custom("helm get values", |context| {
                helm(context, &["get", "values", "hi"])
            })
            .once(),
            custom("helm rollback --wait", |context| {
                helm(context, &["rollback", "hi", "1", "--wait"])
            })
            .once(),
            custom("helm history", |context| {
                helm(context, &["history", "hi", "--output", "yaml"])
            })
            .once(),
            custom("helm list", |context| helm(context, &["list"])).once(),
            custom("helm uninstall --wait", |context| {
                helm(context, &["uninstall", "hi", "--wait"])
            })
            .once(),
            custom("the Python client: objects, watch, logs, exec", python).once(),
            custom(
                "kube-rs: objects, patch, watch, logs, exec, port-forward",
                rust::objects_and_streams,
            )
            .once(),
            custom("protobuf, byte for byte", rust::protobuf).once(),
            custom("gzip, byte for byte", rust::gzip).once(),
        ],
    }
}

fn helm(context: &Context, arguments: &[&str]) -> Result<String> {
    let chart = context.scratch.join("chart");
    helm::write_chart(&chart, &CHART)?;
    let chart = chart.display().to_string();
    let mut helm = helm::command(&context.scratch.join("helm"), &context.way.kubeconfig)?;
    helm.args(arguments.iter().map(|word| {
        if *word == "CHART" {
            chart.as_str()
        } else {
            word
        }
    }))
    .arg("--namespace")
    .arg(&context.namespace);
    let outcome = invoke::run(&mut helm, b"", LIMIT)?;
    anyhow::ensure!(outcome.code == Some(0), "{}", outcome.transcript());
    let after = context.operate(&crate::table::Invocation::new(
        "get configmaps,deployments -o name",
    ))?;
    Ok(format!("{}\n{after}", outcome.transcript()))
}

fn python(context: &Context) -> Result<String> {
    let mut python = clients::python_with_kubernetes()?;
    python
        .args(["-c", PYTHON_CLIENT, &context.namespace])
        .env("KUBECONFIG", &context.way.kubeconfig);
    let outcome = invoke::run(&mut python, b"", LIMIT)?;
    anyhow::ensure!(outcome.code == Some(0), "{}", outcome.transcript());
    Ok(outcome.stdout_text())
}

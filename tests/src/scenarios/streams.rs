//! Everything that streams: logs, exec, attach, cp, port-forward, debug, proxy.

use std::fs;

use anyhow::{Context as _, Result};
use testbed::BUSYBOX;

use super::{
    forward::{forward_half_close, forward_refused, forward_requests, proxy},
    read::with_path,
    shell_pod,
};
use crate::table::{Context, Invocation, Scenario, Step, custom, kubectl};

/// kubectl's switches between its two ways to upgrade a connection.
pub(super) const EXEC_SWITCH: &str = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS";

pub(super) fn pod() -> Scenario {
    let reader = format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "reader"}},
            "spec": {{"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": [{{
                "name": "reader", "image": "{BUSYBOX}", "imagePullPolicy": "Never",
                "stdin": true, "stdinOnce": true, "command": ["cat"]}}]}}}}"#
    );
    let counter = format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "counter"}},
            "spec": {{"restartPolicy": "Never", "containers": [{{
                "name": "counter", "image": "{BUSYBOX}", "imagePullPolicy": "Never",
                "command": ["sh", "-c", "for i in 1 2 3 4 5 6; do echo tick $i; sleep 0.5; done"]}}]}}}}"#
    );
    let run = format!(
        "run once --image={BUSYBOX} --image-pull-policy=Never --restart=Never -i --rm -q -- sh -c 'read word; echo got $word; exit 0'"
    );
    let debug =
        format!("debug shell --image={BUSYBOX} --image-pull-policy=Never -c inspector -- sleep 1");
    let mut steps = vec![
        kubectl("logs shell"),
        kubectl("logs shell --tail=2"),
        kubectl("logs shell --timestamps"),
        kubectl("logs shell --limit-bytes=10"),
        kubectl("logs -l app=shell --prefix"),
        kubectl("logs -f counter"),
        kubectl("logs counter --previous").exits(1),
        kubectl("logs shell -c none").exits(1),
        kubectl("logs missing").exits(1),
        kubectl(&run).stdin("word\n"),
        custom("attach -i, input to its end", attach),
        kubectl(&debug)
            .since(27)
            .effect("get pod shell -o jsonpath={.spec.ephemeralContainers[*].name}"),
        custom("cp of a small folder, both ways", copy_folder),
        custom(
            "port-forward, 1,000 requests over 8 connections at a time",
            |context| forward_requests(context, &[]),
        ),
        custom("port-forward over SPDY, 1,000 requests", |context| {
            forward_requests(context, &[("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")])
        })
        .since(31),
        custom("port-forward over WebSockets, half-close", |context| {
            forward_half_close(context, &[("KUBECTL_PORT_FORWARD_WEBSOCKETS", "true")])
        })
        .since(31),
        custom("port-forward over SPDY, half-close", |context| {
            forward_half_close(context, &[("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")])
        }),
        custom(
            "port-forward to a port where nobody listens",
            forward_refused,
        ),
        custom("proxy, with the path of the server", proxy).since(26),
    ];
    steps.extend(raw().into_iter().map(with_path));
    steps.extend(exec(|step| step));
    steps.extend(exec(|step| step.env(EXEC_SWITCH, "true").since(31)));
    steps.extend(exec(|step| step.env(EXEC_SWITCH, "false").since(31)));
    Scenario {
        name: "stream",
        prepare: shell_pod()
            .into_iter()
            .chain([
                Invocation::new("create -f -").stdin(counter),
                Invocation::new("create -f -").stdin(reader),
                Invocation::new("expose pod shell --port=80 --target-port=8080"),
                Invocation::new("wait --for=condition=Ready pod/reader --timeout=60s"),
                Invocation::new("wait --for=condition=Ready pod/counter --timeout=60s"),
                Invocation::new("exec -i shell -- sh -c 'cat > /tmp/late; chmod 755 /tmp/late'")
                    .stdin("#!/bin/sh\nread word\nsleep 0.3\nhead -c 1048576 /dev/zero\n"),
                Invocation::new(
                    "exec shell -- sh -c 'nc -ll -p 9000 -e /tmp/late > /dev/null 2>&1 < /dev/null &'",
                ),
            ])
            .collect(),
        steps,
    }
}

/// What pods and services serve, through the API server.
pub(super) fn raw() -> Vec<Step> {
    vec![
        kubectl("get --raw /api/v1/namespaces/{ns}/pods/http:shell:8080/proxy/"),
        kubectl("get --raw /api/v1/namespaces/{ns}/services/http:shell:80/proxy/index.html"),
        kubectl("get --raw /api/v1/namespaces/{ns}/pods/http:shell:8080/proxy/none").exits(1),
    ]
}

fn exec(adjust: impl Fn(Step) -> Step) -> Vec<Step> {
    [
        kubectl("exec shell -- echo hello"),
        kubectl("exec shell -- sh -c 'echo out; exit 3'").exits(3),
        kubectl("exec shell -- sh -c 'echo err >&2; exit 42'").exits(42),
        kubectl("exec -i shell -- sh -c 'tr a-z A-Z'").stdin("to the end\n"),
        kubectl("exec -i shell -- wc -c").stdin(""),
        kubectl("exec shell -c none -- true").exits(1),
        kubectl("exec missing -- true").exits(1),
        kubectl("exec shell -- cat /etc/passwd"),
    ]
    .into_iter()
    .map(adjust)
    .collect()
}

fn attach(context: &Context) -> Result<String> {
    let outcome = context.run(&Invocation::new("attach -i reader").stdin("hello\nworld\n"))?;
    Ok(format!(
        "exit {:?}\n{}",
        outcome.code,
        outcome.stdout_text()
    ))
}

fn copy_folder(context: &Context) -> Result<String> {
    let folder = context
        .scratch
        .join(format!("folder-{}", context.namespace));
    fs::create_dir_all(folder.join("inner")).context("make a folder")?;
    fs::write(folder.join("inner/file"), "content\n").context("write a file")?;
    let path = folder.display().to_string();
    let there = context.run(&Invocation {
        arguments: vec!["cp".into(), path.clone(), "shell:/tmp/folder".into()],
        ..Invocation::default()
    })?;
    let seen = context.operate(&Invocation::new("exec shell -- cat /tmp/folder/inner/file"))?;
    let back = context.run(&Invocation {
        arguments: vec![
            "cp".into(),
            "shell:/tmp/folder".into(),
            format!("{path}-back"),
        ],
        ..Invocation::default()
    })?;
    let again = fs::read_to_string(format!("{path}-back/inner/file")).context("read it back")?;
    Ok(format!("{:?} {seen}{:?} {again}", there.code, back.code))
}

//! kube-rs against either way.

use std::fmt::Write;

use anyhow::{Context as _, Result, ensure};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client, Config,
    api::{
        AttachParams, DeleteParams, LogParams, Patch, PatchParams, PostParams, WatchEvent,
        WatchParams,
    },
    config::{KubeConfigOptions, Kubeconfig},
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::table::Context;

pub(super) fn objects_and_streams(context: &Context) -> Result<String> {
    block_on(context, async |client, namespace| {
        let mut seen = String::new();
        objects(&client, &namespace, &mut seen).await?;
        streams(&client, &namespace, &mut seen).await?;
        Ok(seen)
    })
}

async fn objects(client: &Client, namespace: &str, seen: &mut String) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let object = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "rust"}, "data": {"a": "1"},
    }))?;
    let made = api
        .create(&PostParams::default(), &object)
        .await
        .context("create")?;
    let version = made.metadata.resource_version.clone().unwrap_or_default();
    let patch = serde_json::json!({"data": {"b": "2"}});
    api.patch("rust", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .context("patch")?;
    api.delete("rust", &DeleteParams::default())
        .await
        .context("delete")?;
    let mut changes = api
        .watch(&WatchParams::default().timeout(30), &version)
        .await
        .context("watch")?
        .boxed();
    while let Some(change) = changes.try_next().await.context("watch")? {
        match change {
            WatchEvent::Modified(object) => writeln!(seen, "modified {:?}", object.data)?,
            WatchEvent::Deleted(object) => {
                writeln!(seen, "deleted {:?}", object.data)?;
                break;
            }
            other => writeln!(seen, "{other:?}")?,
        }
    }
    let missing = api.get_opt("none").await.context("get")?;
    writeln!(seen, "missing: {}", missing.is_none())?;
    Ok(())
}

async fn streams(client: &Client, namespace: &str, seen: &mut String) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let tail = LogParams {
        tail_lines: Some(2),
        ..LogParams::default()
    };
    let mut lines = pods
        .log_stream("shell", &tail)
        .await
        .context("logs")?
        .lines();
    while let Some(line) = lines.try_next().await.context("logs")? {
        writeln!(seen, "log {line}")?;
    }

    let parameters = AttachParams::default()
        .stdin(true)
        .stdout(true)
        .stderr(false);
    let mut process = pods
        .exec(
            "shell",
            ["sh", "-c", "read word; echo got $word; exit 3"],
            &parameters,
        )
        .await
        .context("exec")?;
    let mut stdin = process.stdin().context("standard input")?;
    stdin.write_all(b"word\n").await.context("exec")?;
    let mut output = String::new();
    process
        .stdout()
        .context("standard output")?
        .read_to_string(&mut output)
        .await
        .context("exec")?;
    let status = process.take_status().context("a status")?.await;
    writeln!(
        seen,
        "exec {output} {:?}",
        status.and_then(|status| status.message)
    )?;

    let mut forward = pods
        .portforward("shell", &[8080])
        .await
        .context("port-forward")?;
    let mut stream = forward.take_stream(8080).context("a stream")?;
    stream
        .write_all(b"GET /index.html HTTP/1.0\r\n\r\n")
        .await
        .context("port-forward")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .context("port-forward")?;
    writeln!(
        seen,
        "forward {}",
        answer.lines().last().unwrap_or_default()
    )?;
    Ok(())
}

pub(super) fn protobuf(context: &Context) -> Result<String> {
    raw(
        context,
        &[("accept", "application/vnd.kubernetes.protobuf")],
        b"k8s\0",
    )
}

pub(super) fn gzip(context: &Context) -> Result<String> {
    let headers = [("accept", "application/json"), ("accept-encoding", "gzip")];
    raw(context, &headers, &[0x1f, 0x8b])
}

/// A large object that does not change, in the form that the headers ask for.
fn raw(context: &Context, headers: &[(&str, &str)], magic: &[u8]) -> Result<String> {
    block_on(context, async |client, _| {
        let mut request = http::Request::get("/api/v1/namespaces/load/configmaps/large");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = client
            .send(request.body(kube::client::Body::empty())?)
            .await
            .context("ask")?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.context("read the body")?.to_bytes();
        ensure!(
            body.starts_with(magic),
            "the body begins with {:?}",
            &body[..body.len().min(8)]
        );
        let header = |name: &str| head.headers.get(name).map(|value| format!("{value:?}"));
        Ok(format!(
            "{} {:?} {:?} {} bytes {}",
            head.status,
            header("content-type"),
            header("content-encoding"),
            body.len(),
            hex::encode(Sha256::digest(&body)),
        ))
    })
}

fn block_on(
    context: &Context,
    program: impl AsyncFnOnce(Client, String) -> Result<String>,
) -> Result<String> {
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let kubeconfig =
        Kubeconfig::read_from(&context.way.kubeconfig).context("read the kubeconfig")?;
    runtime.block_on(async {
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .context("use the kubeconfig")?;
        let client = Client::try_from(config).context("make a client")?;
        let work = program(client, context.namespace.clone());
        tokio::time::timeout(crate::table::LIMIT, work)
            .await
            .context("it took too long")?
    })
}

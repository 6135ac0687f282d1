//! Everything that streams: logs, exec, attach, cp, port-forward, debug, proxy.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest, Sha256};
use testbed::BUSYBOX;

use super::{read::with_path, shell_pod};
use crate::table::{Context, Invocation, LIMIT, Scenario, Step, custom, invoke, kubectl};

const MIB: usize = 1 << 20;
const REQUESTS: usize = 1000;
const DIALLERS: usize = 8;

/// kubectl's switches between its two ways to upgrade a connection.
const EXEC_SWITCH: &str = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS";

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

pub(super) fn bulk() -> Scenario {
    Scenario {
        name: "bulk",
        prepare: shell_pod().into(),
        steps: vec![
            custom("exec -i, 64 MiB of input", |context| {
                exec_input(context, &[])
            }),
            custom("exec -i over WebSockets, 64 MiB of input", |context| {
                exec_input(context, &[(EXEC_SWITCH, "true")])
            })
            .since(31),
            custom("exec -i over SPDY, 64 MiB of input", |context| {
                exec_input(context, &[(EXEC_SWITCH, "false")])
            })
            .since(31),
            custom("cp of 256 MiB into the pod", copy_in),
            custom("exec, 64 MiB of output", exec_output),
            custom("cp of 256 MiB out of the pod", copy_out),
        ],
    }
}

fn attach(context: &Context) -> Result<String> {
    let outcome = context.run(&Invocation::new("attach -i reader").stdin("hello\nworld\n"))?;
    Ok(format!(
        "exit {:?}\n{}",
        outcome.code,
        outcome.stdout_text()
    ))
}

fn with_env(mut invocation: Invocation, env: &[(&str, &str)]) -> Invocation {
    invocation.env.extend(
        env.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    invocation
}

fn exec_input(context: &Context, env: &[(&str, &str)]) -> Result<String> {
    let input = bytes(64 * MIB);
    let invocation = with_env(Invocation::new("exec -i shell -- sha256sum"), env);
    let mut command = invocation.command(
        &context.client.program,
        &context.way.kubeconfig,
        &context.namespace,
    );
    let outcome = invoke::run(&mut command, &input, LIMIT)?;
    ensure!(
        outcome.stdout_text().starts_with(&digest(&input)),
        "the pod did not get what was sent: {}{}",
        outcome.stdout_text(),
        outcome.stderr
    );
    Ok(outcome.transcript())
}

fn exec_output(context: &Context) -> Result<String> {
    let outcome = context.kubectl("exec shell -- head -c 67108864 /tmp/large")?;
    Ok(format!(
        "{} bytes, {} {:?}",
        outcome.stdout.len(),
        digest(&outcome.stdout),
        outcome.code
    ))
}

fn copy_in(context: &Context) -> Result<String> {
    let file = large_file(context.scratch)?;
    let outcome = context.run(&Invocation {
        arguments: ["cp", &file.0, "shell:/tmp/large"]
            .map(str::to_owned)
            .to_vec(),
        ..Invocation::default()
    })?;
    let arrived = context.operate(&Invocation::new("exec shell -- sha256sum /tmp/large"))?;
    ensure!(
        arrived.starts_with(&file.1),
        "another checksum in the pod: {arrived}{}",
        outcome.stderr
    );
    Ok(format!("exit {:?} {arrived}", outcome.code))
}

fn copy_out(context: &Context) -> Result<String> {
    let (_, checksum) = large_file(context.scratch)?;
    let target = context.scratch.join(format!("back-{}", context.namespace));
    let outcome = context.run(&Invocation {
        arguments: vec![
            "cp".into(),
            "shell:/tmp/large".into(),
            target.display().to_string(),
        ],
        ..Invocation::default()
    })?;
    let arrived = file_digest(&target)?;
    fs::remove_file(&target).context("remove a copy")?;
    ensure!(
        arrived == checksum,
        "another checksum after the way back: {}",
        outcome.stderr
    );
    Ok(format!("exit {:?} {arrived}", outcome.code))
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

/// A file of 256 MiB and its checksum.
fn large_file(scratch: &Path) -> Result<(String, String)> {
    let path = scratch.join("large");
    if !path.exists() {
        fs::write(&path, bytes(256 * MIB)).context("write a large file")?;
    }
    let checksum = file_digest(&path)?;
    Ok((path.display().to_string(), checksum))
}

fn file_digest(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; MIB];
    loop {
        match file.read(&mut buffer).context("read a file")? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Bytes that compress badly, always the same.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// A kubectl that serves a local port; ended when dropped.
struct Server {
    child: Child,
    port: u16,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it and reads the port from the first line, after `mark`.
    fn start(context: &Context, arguments: &str, env: &[(&str, &str)], mark: &str) -> Result<Self> {
        let mut child = context
            .command(arguments)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start kubectl")?;
        let mut stdout = BufReader::new(child.stdout.take().context("standard output")?);
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .context("read where it listens")?;
        let port = line
            .split_once(mark)
            .and_then(|(_, rest)| rest.split(|letter: char| !letter.is_ascii_digit()).next())
            .and_then(|port| port.parse().ok());
        match port {
            Some(port) => Ok(Self {
                child,
                port,
                _stdout: stdout,
            }),
            None => {
                child.kill().context("end kubectl")?;
                child.wait().context("wait for kubectl")?;
                bail!("kubectl {arguments} did not begin to listen; it said: {line}");
            }
        }
    }

    /// Sends a request, closes this direction, and reads to the end of the other.
    fn ask(&self, request: &[u8]) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).context("dial")?;
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .context("set a timeout")?;
        stream.write_all(request).context("send")?;
        stream
            .shutdown(Shutdown::Write)
            .context("close one direction")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("receive")?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

fn forward_requests(context: &Context, env: &[(&str, &str)]) -> Result<String> {
    let server = Server::start(context, "port-forward pod/shell :8080", env, "127.0.0.1:")?;
    let right = thread::scope(|scope| {
        let diallers: Vec<_> = (0..DIALLERS)
            .map(|_| {
                scope.spawn(|| {
                    (0..REQUESTS / DIALLERS)
                        .filter(|_| {
                            server
                                .ask(b"GET /index.html HTTP/1.0\r\n\r\n")
                                .is_ok_and(|answer| answer.ends_with(b"served\n"))
                        })
                        .count()
                })
            })
            .collect();
        diallers
            .into_iter()
            .map(|dialler| dialler.join().unwrap_or(0))
            .sum::<usize>()
    });
    ensure!(
        right == REQUESTS,
        "{right} of {REQUESTS} answers were right"
    );
    Ok(format!("{right} right answers"))
}

/// The answer begins after the client has closed its direction. (The end of the client's data does
/// not reach the pod: containerd forwards no half-close.)
fn forward_half_close(context: &Context, env: &[(&str, &str)]) -> Result<String> {
    let server = Server::start(context, "port-forward pod/shell :9000", env, "127.0.0.1:")?;
    let answer = server.ask(b"word\n")?;
    ensure!(
        answer.len() == MIB,
        "{} bytes after the half-close",
        answer.len()
    );
    Ok(digest(&answer))
}

fn forward_refused(context: &Context) -> Result<String> {
    let server = Server::start(context, "port-forward pod/shell :9999", &[], "127.0.0.1:")?;
    // Closed or reset: in any case not a byte.
    let answer = server.ask(b"hello").unwrap_or_default();
    Ok(format!("{} bytes", answer.len()))
}

/// `kubectl proxy` as it is by default: it drops the path of the server's address.
pub(super) fn proxy_without_path() -> Step {
    custom("proxy", |context| ask_proxy(context, "proxy --port=0"))
}

fn proxy(context: &Context) -> Result<String> {
    ask_proxy(context, "proxy --port=0 --append-server-path")
}

fn ask_proxy(context: &Context, arguments: &str) -> Result<String> {
    let server = Server::start(context, arguments, &[], "127.0.0.1:")?;
    let path = format!("/api/v1/namespaces/{}/pods/shell", context.namespace);
    let mut answers = String::new();
    for path in ["/version", &path, "/none"] {
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answer = String::from_utf8_lossy(&server.ask(request.as_bytes())?).into_owned();
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("an answer without a head")?;
        answers.push_str(head.lines().next().unwrap_or_default());
        answers.push('\n');
        answers.push_str(body);
    }
    Ok(answers)
}

//! Building one tool: its sources, `go build` with progress, and what else belongs to it.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::Tool;
use crate::{
    Error, Result, command,
    error::Step,
    progress::{Progress, say},
};

/// The life of nodes and pods that KWOK plays; without them it plays none.
const KWOK_STAGES: [&str; 5] = [
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
];

pub(super) fn build(tool: Tool, scratch: &Path, folder: &Path) -> Result<()> {
    let source = scratch.join(tool.name());
    let draft = scratch.join(format!("{}.draft", tool.name()));
    let programs = draft.join("bin");
    for folder in [&source, &programs] {
        fs::create_dir_all(folder).at("create", folder)?;
    }
    let (module, sums) = tool.module();
    let files = [("go.mod", module), ("go.sum", sums)];
    for (name, text) in files.iter().chain(tool.sources()) {
        let path = source.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at("create", parent)?;
        }
        fs::write(&path, text).at("write", &path)?;
    }
    let build_cache = env::var_os("LARIAT_TESTBED_GOCACHE")
        .map_or_else(|| scratch.join("gocache"), PathBuf::from);
    let go = |words: &[&str]| {
        let mut go = Command::new("go");
        go.args(words)
            .current_dir(&source)
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-mod=readonly -buildvcs=false")
            .env("GOWORK", "off")
            .env("GOCACHE", &build_cache);
        go
    };
    let name = tool.name();
    let all: Vec<String> = tool
        .packages()
        .into_iter()
        .flat_map(|(packages, _)| packages)
        .collect();
    say(&format!("{name}: fetching the sources of its Go modules"));
    let mut list = go(&["list", "-deps"]);
    let dependencies = command::run(&format!("list the packages of {name}"), list.args(&all))?;
    let mut progress = Progress::begin(
        &format!("building {name} (once; kept in {})", folder.display()),
        dependencies.lines().count() as u64,
    );
    for (packages, program) in tool.packages() {
        let mut build = go(&[
            "build",
            "-v",
            "-trimpath",
            "-ldflags",
            &tool.linker_flags(),
            "-o",
        ]);
        build.arg(programs.join(program)).args(packages);
        run_counting(&name, &mut build, &mut progress)?;
    }
    progress.finish();
    if tool == Tool::Kwok {
        let mut list = go(&["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"]);
        let module = command::run("find the stages of kwok", &mut list)?;
        collect_stages(Path::new(module.trim()), &programs.join("kwok-stages.yaml"))?;
    }
    fs::rename(&draft, folder).at("put in place", folder)
}

/// Runs a `go build -v`, which names each package it has compiled, and counts those.
fn run_counting(name: &str, build: &mut Command, progress: &mut Progress) -> Result<()> {
    let mut child = build
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .step(|| format!("build {name}"))?;
    let mut complaints = String::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines() {
            let line = line.step(|| format!("read what the build of {name} says"))?;
            if line.contains(char::is_whitespace) {
                complaints.push_str(&line);
                complaints.push('\n');
            } else {
                progress.advance();
            }
        }
    }
    let status = child.wait().step(|| format!("build {name}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Command {
        step: format!("build {name}"),
        command: command::line(build),
        status,
        output: command::last_lines(&complaints, 20),
    })
}

fn collect_stages(module: &Path, target: &Path) -> Result<()> {
    let mut stages = String::new();
    for stage in KWOK_STAGES {
        let path = module.join("kustomize/stage").join(stage);
        let mut text = String::new();
        File::open(&path)
            .and_then(|mut file| file.read_to_string(&mut text))
            .at("read", &path)?;
        stages.push_str("---\n");
        stages.push_str(&text);
        stages.push('\n');
    }
    fs::write(target, stages).at("write", target)
}

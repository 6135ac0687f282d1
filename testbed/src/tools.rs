//! The programs that are built from Go modules, pinned in this package, into a cache outside it.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};

use crate::{
    Error, Result, command,
    error::Step,
    progress::{Progress, say},
};

const GO_REMEDY: &str =
    "the Go toolchain, 1.26.4 or newer, from https://go.dev/dl or your distribution";

/// A minor version of Kubernetes that the testbed can run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KubernetesVersion {
    /// v1.34.4
    V1_34,
    /// v1.35.4
    #[default]
    V1_35,
    /// v1.36.3
    V1_36,
}

impl KubernetesVersion {
    /// All versions, oldest first.
    pub const ALL: [Self; 3] = [Self::V1_34, Self::V1_35, Self::V1_36];

    /// The full version, with its `v`.
    #[must_use]
    pub fn full(self) -> &'static str {
        match self {
            Self::V1_34 => "v1.34.4",
            Self::V1_35 => "v1.35.4",
            Self::V1_36 => "v1.36.3",
        }
    }

    /// The minor version: `1.35`.
    #[must_use]
    pub fn minor(self) -> &'static str {
        match self {
            Self::V1_34 => "1.34",
            Self::V1_35 => "1.35",
            Self::V1_36 => "1.36",
        }
    }
}

impl std::fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.full())
    }
}

impl std::str::FromStr for KubernetesVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.trim_start_matches('v');
        Self::ALL
            .into_iter()
            .find(|version| {
                wanted == version.minor() || wanted == version.full().trim_start_matches('v')
            })
            .ok_or_else(|| format!("no Kubernetes {text} here; there are 1.34, 1.35 and 1.36"))
    }
}

/// A set of programs that are built together from one pinned Go module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, kubelet, kubectl.
    Kubernetes(KubernetesVersion),
    /// etcd, etcdctl, etcdutl.
    Etcd,
    /// kwok, and its stages in `kwok-stages.yaml`.
    Kwok,
    /// metrics-server.
    MetricsServer,
}

const KUBERNETES_PROGRAMS: [&str; 6] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
];

/// The life of nodes and pods that KWOK plays; without them it plays none.
const KWOK_STAGES: [&str; 5] = [
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
];

impl Tool {
    fn name(self) -> String {
        match self {
            Self::Kubernetes(version) => format!("kube-{}", version.minor()),
            Self::Etcd => "etcd".into(),
            Self::Kwok => "kwok".into(),
            Self::MetricsServer => "metrics-server".into(),
        }
    }

    fn module(self) -> (&'static str, &'static str) {
        macro_rules! module {
            ($folder:literal) => {
                (
                    include_str!(concat!("../tools/", $folder, "/go.mod")),
                    include_str!(concat!("../tools/", $folder, "/go.sum")),
                )
            };
        }
        match self {
            Self::Kubernetes(KubernetesVersion::V1_34) => module!("kube-1.34"),
            Self::Kubernetes(KubernetesVersion::V1_35) => module!("kube-1.35"),
            Self::Kubernetes(KubernetesVersion::V1_36) => module!("kube-1.36"),
            Self::Etcd => module!("etcd"),
            Self::Kwok => module!("kwok"),
            Self::MetricsServer => module!("metrics-server"),
        }
    }

    /// The packages, and where each `go build` puts its result.
    fn packages(self) -> Vec<(Vec<String>, &'static str)> {
        let one = |package: &str, program| (vec![package.to_owned()], program);
        match self {
            Self::Kubernetes(_) => {
                let packages =
                    KUBERNETES_PROGRAMS.map(|name| format!("k8s.io/kubernetes/cmd/{name}"));
                vec![(packages.to_vec(), "")]
            }
            Self::Etcd => vec![
                one("go.etcd.io/etcd/server/v3", "etcd"),
                one("go.etcd.io/etcd/etcdctl/v3", "etcdctl"),
                one("go.etcd.io/etcd/etcdutl/v3", "etcdutl"),
            ],
            Self::Kwok => vec![one("sigs.k8s.io/kwok/cmd/kwok", "kwok")],
            Self::MetricsServer => {
                vec![one(
                    "sigs.k8s.io/metrics-server/cmd/metrics-server",
                    "metrics-server",
                )]
            }
        }
    }

    fn linker_flags(self) -> String {
        let mut flags = String::from("-s -w");
        if let Self::Kubernetes(version) = self {
            let minor = version.minor().trim_start_matches("1.");
            for package in [
                "k8s.io/component-base/version",
                "k8s.io/client-go/pkg/version",
            ] {
                for (name, value) in [
                    ("gitVersion", version.full()),
                    ("gitMajor", "1"),
                    ("gitMinor", minor),
                    ("gitTreeState", "clean"),
                    ("buildDate", "2026-01-01T00:00:00Z"),
                ] {
                    flags.push_str(&format!(" -X {package}.{name}={value}"));
                }
            }
        }
        flags
    }

    /// The folder that holds, or will hold, the programs built from these sources by this Go.
    fn folder(self, cache: &Path, go_version: &str) -> PathBuf {
        let (module, sums) = self.module();
        let mut hash = Sha256::new();
        for part in [module, sums, go_version, &self.linker_flags(), "1"] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let key = hex::encode(&hash.finalize()[..8]);
        cache.join(format!("{}-{key}", self.name()))
    }
}

/// Where the built programs of the asked tools are.
#[derive(Clone, Debug)]
pub struct Programs {
    folders: Vec<PathBuf>,
}

impl Programs {
    /// The path of a program.
    ///
    /// # Errors
    /// When it belongs to no tool that was asked for.
    pub fn path(&self, program: &str) -> Result<PathBuf> {
        self.folders
            .iter()
            .map(|folder| folder.join("bin").join(program))
            .find(|path| path.exists())
            .ok_or_else(|| {
                Error::Unsupported(format!(
                    "`{program}` is not among the tools that were built"
                ))
            })
    }
}

/// Where built programs and fetched clients are kept between runs: `LARIAT_TESTBED_CACHE`, or
/// `lariat/testbed` in the user's cache folder.
///
/// # Errors
/// When there is neither that variable nor a home.
pub fn cache_folder() -> Result<PathBuf> {
    let folder = if let Some(folder) = env::var_os("LARIAT_TESTBED_CACHE") {
        PathBuf::from(folder)
    } else if let Some(caches) = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        PathBuf::from(caches).join("lariat/testbed")
    } else if let Some(home) = env::var_os("HOME") {
        PathBuf::from(home).join(".cache/lariat/testbed")
    } else {
        return Err(Error::Unsupported(
            "set LARIAT_TESTBED_CACHE or HOME: there is no place for the built tools".into(),
        ));
    };
    fs::create_dir_all(&folder).at("create", &folder)?;
    folder.canonicalize().at("look up", &folder)
}

/// Builds those of `tools` that the cache does not hold; nothing is done when it holds them all.
///
/// The Go build cache is a temporary one, or `LARIAT_TESTBED_GOCACHE` if that is set. Several
/// processes may call this at once: one builds, the others wait.
///
/// # Errors
/// When there is no Go, or when a build fails.
pub fn ensure(tools: &[Tool]) -> Result<Programs> {
    let cache = cache_folder()?;
    let version = go_version()?;
    let tools: BTreeSet<Tool> = tools.iter().copied().collect();
    let folders: Vec<PathBuf> = tools
        .iter()
        .map(|tool| tool.folder(&cache, &version))
        .collect();
    let is_missing = || folders.iter().any(|folder| !folder.exists());
    if is_missing() {
        let _lock = lock(&cache.join("build.lock"), "build of the tools")?;
        let scratch = cache.join("building");
        remove_folder(&scratch)?;
        let built = tools
            .iter()
            .zip(&folders)
            .filter(|(_, folder)| !folder.exists())
            .try_for_each(|(tool, folder)| build(*tool, &scratch, folder));
        // Gigabytes, of no use after a failure either.
        remove_folder(&scratch)?;
        built?;
    }
    Ok(Programs { folders })
}

fn build(tool: Tool, scratch: &Path, folder: &Path) -> Result<()> {
    let source = scratch.join(tool.name());
    let draft = scratch.join(format!("{}.draft", tool.name()));
    let programs = draft.join("bin");
    for folder in [&source, &programs] {
        fs::create_dir_all(folder).at("create", folder)?;
    }
    let (module, sums) = tool.module();
    for (name, text) in [("go.mod", module), ("go.sum", sums)] {
        let path = source.join(name);
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

fn go_version() -> Result<String> {
    command::run("ask Go for its version", Command::new("go").arg("version")).map_err(|error| {
        match error {
            Error::MissingProgram { program, .. } => Error::MissingProgram {
                program,
                remedy: GO_REMEDY.into(),
            },
            other => other,
        }
    })
}

/// Takes a lock between processes, saying so when another holds it.
pub(crate) fn lock(path: &Path, what: &str) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .at("open", path)?;
    if file.try_lock().is_err() {
        say(&format!("waiting for the {what} by another process"));
        file.lock().at("lock", path)?;
    }
    Ok(file)
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.at("remove", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_by_minor_or_in_full() {
        for text in ["1.35", "v1.35", "v1.35.4", "1.35.4"] {
            assert_eq!(text.parse(), Ok(KubernetesVersion::V1_35), "{text}");
        }
        assert!("1.20".parse::<KubernetesVersion>().is_err());
    }

    #[test]
    fn the_pinned_modules_are_those_of_the_versions() {
        for version in KubernetesVersion::ALL {
            let (module, _) = Tool::Kubernetes(version).module();
            assert!(
                module.contains(&format!("k8s.io/kubernetes {}", version.full())),
                "{version}"
            );
        }
    }

    #[test]
    fn another_compiler_gets_another_folder() {
        let cache = Path::new("/cache");
        let folder = |version| Tool::Etcd.folder(cache, version);
        assert_eq!(folder("go1.26.8"), folder("go1.26.8"));
        assert_ne!(folder("go1.26.8"), folder("go1.26.9"));
    }
}

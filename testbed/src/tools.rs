//! The programs that are built from Go modules and crates, pinned in this package, into a cache outside it.

mod build;
mod crates;

pub use crates::ensure_rust_tunnels;

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use crate::{Error, Result, command, error::Step, progress::say};

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
    /// Programs of our own over client-go and Kubernetes' tests: informer, machinery.
    GoClients,
    /// A program of our own over client-go: follower.
    Follower,
    /// Both ends of a tunnel over Rancher's remotedialer: remotedialer.
    Remotedialer,
}

const KUBERNETES_PROGRAMS: [&str; 6] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
];

impl Tool {
    fn name(self) -> String {
        match self {
            Self::Kubernetes(version) => format!("kube-{}", version.minor()),
            Self::Etcd => "etcd".into(),
            Self::Kwok => "kwok".into(),
            Self::MetricsServer => "metrics-server".into(),
            Self::GoClients => "go-clients".into(),
            Self::Follower => "follower".into(),
            Self::Remotedialer => "remotedialer".into(),
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
            Self::GoClients => module!("go-clients"),
            Self::Follower => module!("follower"),
            Self::Remotedialer => module!("remotedialer"),
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
            Self::GoClients => vec![
                one("./informer", "informer"),
                one("./machinery", "machinery"),
            ],
            Self::Follower => vec![one(".", "follower")],
            Self::Remotedialer => vec![one("./tunnel", "remotedialer")],
        }
    }

    /// The sources that are not in modules, by their paths.
    fn sources(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::GoClients => &[
                (
                    "informer/main.go",
                    include_str!("../tools/go-clients/informer/main.go"),
                ),
                (
                    "machinery/main.go",
                    include_str!("../tools/go-clients/machinery/main.go"),
                ),
            ],
            Self::Follower => &[("main.go", include_str!("../tools/follower/main.go"))],
            Self::Remotedialer => &[(
                "tunnel/main.go",
                include_str!("../tools/remotedialer/tunnel/main.go"),
            )],
            _ => &[],
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
        for (_, source) in self.sources() {
            hash.update(source.as_bytes());
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
            .try_for_each(|(tool, folder)| build::build(*tool, &scratch, folder));
        // Gigabytes, of no use after a failure either.
        remove_folder(&scratch)?;
        built?;
    }
    Ok(Programs { folders })
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

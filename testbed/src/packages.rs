//! Programs that come from the distribution.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Error, Result, command,
    progress::say,
    tools::{self, cache_folder},
};

/// A program, or by its path any file that programs need, and the Debian package that holds it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

const NODE: [Program; 9] = [
    Program {
        name: "containerd",
        package: "containerd",
    },
    Program {
        name: "runc",
        package: "runc",
    },
    Program {
        name: "/usr/lib/cni/bridge",
        package: "containernetworking-plugins",
    },
    Program {
        name: "/usr/lib/cni/portmap",
        package: "containernetworking-plugins",
    },
    Program {
        name: "busybox",
        package: "busybox-static",
    },
    Program {
        name: "nft",
        package: "nftables",
    },
    Program {
        name: "iptables",
        package: "iptables",
    },
    Program {
        name: "conntrack",
        package: "conntrack",
    },
    Program {
        name: "ip",
        package: "iproute2",
    },
];

const ALWAYS: [Program; 2] = [
    Program {
        name: "setpriv",
        package: "util-linux",
    },
    Program {
        name: "sysctl",
        package: "procps",
    },
];

/// Makes sure that what a cluster with a real node needs is installed: by apt when this is root,
/// otherwise by saying which command installs it.
pub(crate) fn ensure_for_node() -> Result<()> {
    ensure(&ALWAYS.iter().chain(&NODE).collect::<Vec<_>>())
}

/// The same for a cluster on loopback.
pub(crate) fn ensure_for_loopback() -> Result<()> {
    ensure(&ALWAYS.iter().collect::<Vec<_>>())
}

/// Makes sure that `programs` are installed, in the same way.
pub(crate) fn ensure_all(programs: &[Program]) -> Result<()> {
    ensure(&programs.iter().collect::<Vec<_>>())
}

fn ensure(programs: &[&Program]) -> Result<()> {
    let mut missing = missing(programs);
    if missing.is_empty() {
        return Ok(());
    }
    if nix::unistd::geteuid().is_root() && find("apt-get").is_some() {
        // apt does not wait for another one.
        let lock = cache_folder()?.join("packages.lock");
        let _lock = tools::lock(&lock, "installation of packages")?;
        missing = self::missing(programs);
        if !missing.is_empty() {
            install(&missing)?;
            missing = self::missing(programs);
        }
    }
    let Some(first) = missing.first() else {
        return Ok(());
    };
    Err(Error::MissingProgram {
        program: first.name.to_owned(),
        remedy: format!(
            "sudo apt-get install --no-install-recommends {}",
            packages(&missing).join(" ")
        ),
    })
}

fn missing<'a>(programs: &[&'a Program]) -> Vec<&'a Program> {
    programs
        .iter()
        .copied()
        .filter(|program| find(program.name).is_none())
        .collect()
}

fn install(missing: &[&Program]) -> Result<()> {
    let packages = packages(missing);
    say(&format!("installing {} with apt", packages.join(" ")));
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(&packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    if command::output("install packages", &mut install)?
        .status
        .success()
    {
        return Ok(());
    }
    command::run(
        "refresh the list of packages",
        Command::new("apt-get").args(["update", "--quiet"]),
    )?;
    command::run("install packages", &mut install)?;
    Ok(())
}

fn packages<'a>(programs: &[&'a Program]) -> Vec<&'a str> {
    let mut packages: Vec<_> = programs.iter().map(|program| program.package).collect();
    packages.dedup();
    packages
}

/// Where a program is: by its path, in `PATH`, or in the folders of administrators.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

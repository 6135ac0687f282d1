//! The programs that are built from crates, pinned in this package, into the same cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use super::{Programs, cache_folder, lock, remove_folder};
use crate::{Result, command, error::Step, progress::say};

/// rathole and bore, as their authors build them; rathole links OpenSSL.
const TUNNELS: [(&str, &str); 4] = [
    (
        "Cargo.toml",
        include_str!("../../tools/rust-tunnels/Cargo.toml"),
    ),
    (
        "Cargo.lock",
        include_str!("../../tools/rust-tunnels/Cargo.lock"),
    ),
    (
        "src/bin/rathole.rs",
        include_str!("../../tools/rust-tunnels/src/bin/rathole.rs"),
    ),
    (
        "src/bin/bore.rs",
        include_str!("../../tools/rust-tunnels/src/bin/bore.rs"),
    ),
];

/// `rathole` and `bore`, built if the cache does not hold them.
///
/// # Errors
/// When there is no cargo, no OpenSSL to link, or when the build fails.
pub fn ensure_rust_tunnels() -> Result<Programs> {
    let cache = cache_folder()?;
    let version = command::run("ask cargo for its version", Command::new("cargo").arg("-V"))?;
    let folder = cache.join(format!("rust-tunnels-{}", key(&version)));
    if !folder.exists() {
        let _lock = lock(&cache.join("build.lock"), "build of the tools")?;
        let scratch = cache.join("building");
        remove_folder(&scratch)?;
        let built = build(&scratch, &folder);
        remove_folder(&scratch)?;
        built?;
    }
    Ok(Programs {
        folders: vec![folder],
    })
}

fn key(version: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(version.as_bytes());
    for (_, text) in TUNNELS {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..8])
}

fn build(scratch: &Path, folder: &Path) -> Result<()> {
    for (name, text) in TUNNELS {
        let path: PathBuf = scratch.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at("create", parent)?;
        }
        fs::write(&path, text).at("write", &path)?;
    }
    say(&format!(
        "building rathole and bore (once, some minutes; kept in {})",
        folder.display()
    ));
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--locked", "--quiet"])
        .current_dir(scratch)
        .env("CARGO_TARGET_DIR", scratch.join("target"));
    command::run("build rathole and bore", &mut cargo)?;
    let draft = scratch.join("draft");
    let programs = draft.join("bin");
    fs::create_dir_all(&programs).at("create", &programs)?;
    for program in ["rathole", "bore"] {
        let built = scratch.join("target/release").join(program);
        fs::rename(&built, programs.join(program)).at("take", &built)?;
    }
    fs::rename(&draft, folder).at("put in place", folder)
}

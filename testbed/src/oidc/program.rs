//! The provider's program: ours, over a library from npm that is pinned with all it needs.

use std::{fs, path::Path, process::Command};

use sha2::{Digest, Sha256};

use crate::{Result, cache, clients, command, error::Step, progress::say};

const FILES: [(&str, &str); 3] = [
    (
        "package.json",
        include_str!("../../tools/oidc-provider/package.json"),
    ),
    (
        "package-lock.json",
        include_str!("../../tools/oidc-provider/package-lock.json"),
    ),
    (
        "provider.mjs",
        include_str!("../../tools/oidc-provider/provider.mjs"),
    ),
];

/// The provider whose files are in `folder`.
pub(super) fn command(folder: &Path) -> Result<Command> {
    let node = clients::node()?;
    let mut hash = Sha256::new();
    for (_, text) in FILES {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    let name = format!("oidc-{}", hex::encode(&hash.finalize()[..8]));
    let program = cache::filled("npm", &name, |draft| {
        say("fetching oidc-provider");
        for (name, text) in FILES {
            let file = draft.join(name);
            fs::write(&file, text).at("write", &file)?;
        }
        let mut npm = Command::new(node.join("bin/node"));
        npm.arg(node.join("lib/node_modules/npm/bin/npm-cli.js"));
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        command::run("fetch oidc-provider", npm.current_dir(draft))?;
        Ok(())
    })?;
    let mut provider = Command::new(node.join("bin/node"));
    provider.arg(program.join("provider.mjs")).arg(folder);
    Ok(provider)
}

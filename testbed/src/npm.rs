//! Programs of ours over libraries from npm, which are pinned with all that they need.

use std::{fs, process::Command};

use sha2::{Digest, Sha256};

use crate::{Result, cache, clients, command, error::Step, progress::say};

/// The files of a program: `package.json` and `package-lock.json`, and the program itself by its name.
pub(crate) struct Package {
    pub name: &'static str,
    pub manifest: &'static str,
    pub lock: &'static str,
    pub program: (&'static str, &'static str),
}

impl Package {
    /// Node.js with the program; its libraries are fetched when the cache does not hold them.
    pub(crate) fn command(&self) -> Result<Command> {
        let files = [
            ("package.json", self.manifest),
            ("package-lock.json", self.lock),
            self.program,
        ];
        let node = clients::node()?;
        let mut hash = Sha256::new();
        for (_, text) in files {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        let key = format!("{}-{}", self.name, hex::encode(&hash.finalize()[..8]));
        let folder = cache::filled("npm", &key, |draft| {
            say(&format!("fetching what {} needs", self.name));
            for (name, text) in files {
                let file = draft.join(name);
                fs::write(&file, text).at("write", &file)?;
            }
            let mut npm = Command::new(node.join("bin/node"));
            npm.arg(node.join("lib/node_modules/npm/bin/npm-cli.js"));
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
            let step = format!("fetch what {} needs", self.name);
            command::run(&step, npm.current_dir(draft)).map(drop)
        })?;
        let mut program = Command::new(node.join("bin/node"));
        program.arg(folder.join(self.program.0));
        Ok(program)
    }
}

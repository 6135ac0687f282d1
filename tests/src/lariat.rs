//! The product's own binaries beside a cluster of the testbed: what the demo, the end-to-end tests
//! and the benchmarks start.

mod agent;
mod api;
mod raw;
mod server;
mod stage;

pub use agent::{
    AGENT_HEALTH, AgentProcess, agent_command, apply_manifest, start_process, start_process_to,
    start_process_with, wait_for_agent_pod,
};
pub use api::{Api, Import};
pub use raw::Raw;
pub use server::{Server, ServerOptions, free_port};
pub use stage::{AGENT_IMAGE, Stage, write_secret};

use anyhow::Context as _;
use std::path::PathBuf;

/// Path of one of the product's binaries: `LARIAT_BIN_DIR`, or beside the running one.
///
/// # Errors
/// When it was not built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("LARIAT_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let own = std::env::current_exe().context("cannot tell where this program is")?;
            let mut folder = own
                .parent()
                .context("this program is in no folder")?
                .to_owned();
            if folder.ends_with("deps") {
                folder.pop();
            }
            folder
        }
    };
    let path = folder.join(name);
    anyhow::ensure!(
        path.is_file(),
        "{} is missing; build it with: cargo build -p lariat-server -p cattle-cluster-agent -p lariat",
        path.display(),
    );
    Ok(path)
}

//! The store on both back ends: the contract, and what it must survive.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use e2e::{
    cases,
    stores::{CASES, World, crash, full_disk},
};
use testbed::Testbed;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    child: Option<Child>,
    /// How long members of etcd are killed.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// At how many writes a process is killed.
    #[arg(long, default_value_t = 1000)]
    crash_points: u64,
    /// Only the cases whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
}

/// What this program is when it starts itself.
#[derive(Subcommand)]
enum Child {
    #[command(hide = true)]
    CrashChild { path: PathBuf, point: u64 },
    #[command(hide = true)]
    FullDiskChild { folder: PathBuf },
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.child {
        Some(Child::CrashChild { path, point }) => return crash::child(path, *point).await,
        Some(Child::FullDiskChild { folder }) => {
            println!("{}", full_disk::child(folder).await?);
            return Ok(());
        }
        None => {}
    }
    let folder = std::env::current_dir()?.join("target/e2e-store");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let world = World {
        testbed: Testbed::open("e2e-store")?,
        folder,
        seconds: arguments.seconds,
        crash_points: arguments.crash_points,
    };
    cases::run(CASES, &world, &arguments.only)
        .await
        .with_context(|| format!("data and logs are in {}", world.folder.display()))
}

//! The store on both back ends: the contract, and what it must survive.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use e2e::stores::{CASES, World, crash, full_disk};
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
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        if !name.contains(&arguments.only) {
            continue;
        }
        let started = Instant::now();
        match case(&world).await {
            Ok(said) => {
                passed += 1;
                println!("ok      {name} ({:.1?}): {said}", started.elapsed());
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {name} ({:.1?}): {error:#}", started.elapsed());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    ensure!(
        failed == 0,
        "data and logs are in {}",
        world.folder.display()
    );
    ensure!(passed > 0, "no case has such a name");
    Ok(())
}

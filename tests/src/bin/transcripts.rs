//! Runs the commands that a page of the documentation shows, and writes what they print into it.
#![allow(clippy::print_stdout, reason = "the report is what the program is for")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Parser;
use e2e::{
    lariat::{Server, ServerOptions, write_secret},
    transcript,
};
use similar::TextDiff;
use testbed::tools::{KubernetesVersion, Tool};
use testbed::{Testbed, tools};

/// Runs the console blocks of a page with kubectl against a new management server, and writes
/// their output into the page.
#[derive(Parser)]
struct Arguments {
    /// Write nothing, and fail when the page shows something else than what was printed
    #[arg(long)]
    check: bool,
    /// The page
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kubectl.md"))]
    page: PathBuf,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let page = fs::read_to_string(&arguments.page)
        .with_context(|| format!("read {}", arguments.page.display()))?;
    let folder = std::env::current_dir()?.join("target/transcripts");
    let _ = fs::remove_dir_all(&folder);
    let testbed = Testbed::open("transcripts")?;
    let options = ServerOptions::loopback(folder.join("server"));
    let server = Server::start(&testbed, options).await?;
    let programs = tools::ensure(&[Tool::Kubernetes(KubernetesVersion::V1_35)])?;
    let home = folder.join("home");
    fs::create_dir_all(&home)?;
    let kubeconfig = folder.join("kubeconfig");
    write_secret(&kubeconfig, &server.kubeconfig().await?)?;
    let variables = [
        ("KUBECONFIG", kubeconfig.display().to_string()),
        ("HOME", home.display().to_string()),
        ("TMPDIR", home.display().to_string()),
        ("PATH", path_with(&programs.path("kubectl")?)?),
    ];
    let replayed = transcript::replay(&page, &home, &variables)?;
    let name = arguments.page.display();
    if replayed == page {
        println!("{name}: as it is printed");
    } else if arguments.check {
        println!("{}", TextDiff::from_lines(&page, &replayed).unified_diff());
        println!("{name} shows something else than kubectl; 'make docs' writes it anew");
        return Ok(ExitCode::FAILURE);
    } else {
        fs::write(&arguments.page, replayed)?;
        println!("{name}: written");
    }
    Ok(ExitCode::SUCCESS)
}

/// The search path with the folder of this program before all others.
fn path_with(program: &Path) -> Result<String> {
    let folder = program.parent().context("a program in no folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    Ok(format!("{}:{path}", folder.display()))
}

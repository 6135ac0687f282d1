//! The tunnel measured beside bare TLS, a proxy without a tunnel, and the tunnels of others.
//!
//! Every process is one thread on one of two cores, unless it is somebody else's program. The ways take turns: a
//! figure is measured once for each of them, then again, and the medians are compared.

mod control;
pub mod cores;
mod delay;
mod door;
pub mod end;
mod figures;
mod forwarding;
mod goals;
mod http;
mod idle;
mod load;
mod pace;
mod peers;
mod process;
mod report;
mod service;
mod session;
mod storm;

pub use pace::Pace;

use crate::backend::Tls;
use clap::ValueEnum;
use cores::Cores;
use figures::Figures;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use peers::Programs;
use std::{fs, path::Path};

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// One session beside bare TLS, at 0 and 50 ms
    Session,
    /// TCP connections carried, beside rathole, bore and remotedialer, at 0 and 50 ms
    Forwarding,
    /// HTTP answered at the agent, beside a proxy without a tunnel, at 0 and 50 ms
    Http,
    /// Memory of idle tunnels
    Idle,
    /// Ten thousand agents come back to a server that was killed
    Storm,
}

/// What all parts have in common.
struct Bench {
    /// How long and how often.
    pace: Pace,
    /// The peers' programs.
    programs: Programs,
    /// TLS of both sides, which is also in `folder`.
    tls: Tls,
}

/// What was found, by part.
#[derive(Debug, Default)]
struct Found {
    session: Figures,
    session_far: Figures,
    forwarding: Figures,
    forwarding_far: Figures,
    http: Figures,
    http_far: Figures,
    idle: Figures,
    storm: Figures,
    /// What had to be started again, for the report.
    restarted: Vec<String>,
}

/// Measures one part, or all; writes the report of all of them into `out`.
///
/// # Errors
/// When a process cannot be started, or a load fails again and again.
pub async fn run(pace: Pace, only: Option<Part>, folder: &Path, out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    raise_file_limit(&pace)?;
    let programs = Programs::ensure()?;
    let tls = peers::write_certificates(folder)?.tls()?;
    let bench = Bench {
        pace,
        programs,
        tls,
    };
    let mut found = Found::default();
    for part in Part::value_variants() {
        if only.is_some_and(|only| only != *part) {
            continue;
        }
        report::say(&format!("measuring: {part:?}"));
        // The loads are made here.
        Cores::Second.keep_to()?;
        match part {
            Part::Session => session::measure(&bench, folder, &mut found).await,
            Part::Forwarding => forwarding::measure(&bench, folder, &mut found).await,
            Part::Http => http::measure(&bench, folder, &mut found).await,
            Part::Idle => idle::measure(&bench, folder, &mut found.idle).await,
            Part::Storm => storm::measure(&bench, folder, &mut found.storm).await,
        }?;
        report::say(&report::tables(&found, *part));
    }
    if only.is_some() {
        return Ok(());
    }
    let goals = goals::of(&found)?;
    report::say(&goals.text());
    report::write(&found, &goals, &bench.pace, out)
}

/// Each agent of a storm is a connection.
fn raise_file_limit(pace: &Pace) -> anyhow::Result<()> {
    const RESERVED: u64 = 256;
    let needed = pace.storm as u64 + RESERVED;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    anyhow::ensure!(
        most >= needed,
        "{needed} open files are needed and {most} allowed: run `ulimit -Hn {needed}` as root first"
    );
    Ok(())
}

//! Plays the faults and prints what each did to each load.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{
    copying,
    cutting::Cutter,
    faults::{Cut, Fault},
    forwarding, lines,
    load::{Load, Tally},
    requests, typing,
    world::World,
};

/// How faults are played.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long the loads of each run, at least: until a copy went through each way.
    pub time: Duration,
    /// Between two cuts, instead of what each fault has.
    pub every: Option<Duration>,
}

/// Plays these faults, one after the other.
///
/// # Errors
/// When a load has lost, duplicated or complained about anything; all are played before.
#[expect(clippy::print_stdout, reason = "the report is its purpose")]
pub async fn run(world: &mut World<'_>, faults: &[Fault], options: &Options) -> Result<()> {
    let mut failed = Vec::new();
    for fault in faults {
        let started = Instant::now();
        let played = play(world, fault, options).await;
        let took = started.elapsed();
        let good = match &played {
            Ok(report) => {
                println!("{}", report.render(fault.name, took));
                report.is_clean()
            }
            Err(error) => {
                println!("{}: FAILED after {took:.1?}: {error:#}", fault.name);
                false
            }
        };
        if !good {
            failed.push(fault.name);
        }
    }
    ensure!(
        failed.is_empty(),
        "{} of {} faults were noticed: {}",
        failed.len(),
        faults.len(),
        failed.join(", ")
    );
    Ok(())
}

/// What a fault did.
struct Report {
    loads: Vec<(&'static str, Tally)>,
    cuts: usize,
    /// The first request after each cut.
    served: Option<Served>,
    allowed: Duration,
}

/// How long requests took that were sent after cuts.
#[derive(Clone, Copy)]
struct Served {
    median: Duration,
    longest: Duration,
}

impl Report {
    fn is_clean(&self) -> bool {
        self.loads.iter().all(|(_, tally)| tally.is_clean()) && self.is_served_in_time()
    }

    fn is_served_in_time(&self) -> bool {
        self.served
            .is_none_or(|served| served.longest <= self.allowed)
    }

    fn render(&self, name: &str, took: Duration) -> String {
        let mut text = format!("{name}: {} cuts in {:.1} s", self.cuts, took.as_secs_f64());
        if let Some(served) = self.served {
            text.push_str(&format!(
                ", requests after a cut took {}, at most {} ({} allowed){}",
                shown(served.median),
                shown(served.longest),
                shown(self.allowed),
                if self.is_served_in_time() {
                    ""
                } else {
                    "  FAILED"
                },
            ));
        }
        for (load, tally) in &self.loads {
            text.push_str(&format!(
                "\n  {:<16} {:>12} bytes {:>6} lost {:>6} duplicated {:>4} errors  longest {:>6.2} s{}",
                load,
                tally.bytes,
                tally.lost,
                tally.duplicated,
                tally.errors.len(),
                tally.longest.as_secs_f64(),
                if tally.is_clean() { "" } else { "  FAILED" },
            ));
            for error in tally.errors.iter().take(3) {
                let shortened: String = error.chars().take(240).collect();
                text.push_str(&format!("\n      {shortened}"));
            }
        }
        text
    }
}

/// In seconds; one that was never served took for ever.
fn shown(time: Duration) -> String {
    match time {
        Duration::MAX => "for ever".to_owned(),
        time => format!("{:.2} s", time.as_secs_f64()),
    }
}

async fn play(world: &mut World<'_>, fault: &Fault, options: &Options) -> Result<Report> {
    world.take(fault.way).await?;
    let world = &*world;
    let _standing = fault.condition.set(world)?;
    let works = world.stage.kubectl_works(Duration::from_secs(30)).await;
    works.context("before the loads")?;
    let (loads, log) = tokio::task::block_in_place(|| begin(world))?;
    let mut cutter = Cutter::new(world, if world.cuts() { fault.cut } else { Cut::Never });
    let every = options.every.unwrap_or(fault.every);
    let started = Instant::now();
    while started.elapsed() < options.time || !loads.iter().all(|load| load.is_satisfied()) {
        cutter.cut().await?;
        // After the last one as well: it is served again, or not.
        tokio::time::sleep(every).await;
    }
    let loads = tokio::task::block_in_place(|| {
        let finish = |load: Box<dyn Load>| (load.name(), load.finish());
        loads.into_iter().map(finish).collect()
    });
    world.front.check()?;
    let after = |mended: &Instant| {
        log.first_after(*mended)
            .map_or(Duration::MAX, |one| one.took)
    };
    let mut served: Vec<_> = cutter.mended().iter().map(after).collect();
    served.sort_unstable();
    Ok(Report {
        loads,
        cuts: cutter.mended().len(),
        served: served.last().map(|longest| Served {
            median: served[served.len() / 2],
            longest: *longest,
        }),
        allowed: fault.allowed,
    })
}

type Loads = Vec<Box<dyn Load>>;

/// Starts all loads; each has begun then.
fn begin(world: &World<'_>) -> Result<(Loads, requests::Log)> {
    let (requests, log) = requests::start(world)?;
    let loads = vec![
        requests,
        lines::logs(world)?,
        lines::watch(world)?,
        typing::over_websocket(world)?,
        typing::over_spdy(world)?,
        forwarding::echo(world)?,
        copying::into_pod(world)?,
        copying::out_of_pod(world)?,
    ];
    Ok((loads, log))
}

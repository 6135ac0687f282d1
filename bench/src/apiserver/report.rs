//! What was found, on its way to `docs/benchmarks/`.

use super::{fan_out::FanOut, footprint::Settled, side::Start};
use crate::{
    goal::{Goals, Wanted, median, median_by, median_ratio},
    load::Measured,
    report::{Bar, Table, bars},
};
use std::{path::Path, time::Duration};

/// Memory of the server with its store, against a kube-apiserver with its etcd.
const MEMORY_SHARE: f64 = 0.25;
/// Starts, in seconds: without objects, and with many.
const START_EMPTY: f64 = 0.3;
const START_FULL: f64 = 3.0;

/// Tables, goals and bars.
pub struct Report {
    /// What is wanted, and whether it is so.
    pub goals: Goals,
    /// The load average when the run began.
    load: String,
    requests: Table,
    fan_out: Table,
    memory: Table,
    starts: Table,
    speed: Vec<Bar>,
    sizes: Vec<Bar>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            goals: Goals::default(),
            load: load(),
            requests: Table::new(&[
                "what",
                "clients",
                "server",
                "per second",
                "p50, ms",
                "p99, ms",
                "× kube-apiserver",
            ]),
            fan_out: Table::new(&[
                "server",
                "events per second",
                "× kube-apiserver",
                "p50 at 10 changes a second, ms",
                "p99, ms",
                "watches cut",
            ]),
            memory: Table::new(&["with", "server", "MiB", "of that heap and stacks"]),
            starts: Table::new(&["with", "server", "ready, s", "first object, s"]),
            speed: Vec::new(),
            sizes: Vec::new(),
        }
    }
}

impl Report {
    /// One kind of request, of each server a figure a round; the real one is the last.
    pub(super) fn requests(
        &mut self,
        what: &str,
        clients: usize,
        names: &[&str],
        found: Vec<Vec<Measured>>,
    ) {
        // One client at a time: half of its answers came faster than this. It does not depend on
        // how many of them end within the time.
        let figure = |one: &Measured| match clients {
            1 => 1.0 / one.p50.as_secs_f64(),
            _ => one.per_second,
        };
        let speeds: Vec<_> = found.iter().map(|all| of(all, figure)).collect();
        let real = speeds.len() - 1;
        for (at, (name, found)) in names.iter().zip(found).enumerate() {
            let times = median_ratio(&speeds[at], &speeds[real]);
            let one = median_by(found, figure);
            println!(
                "{what}, {clients} clients, {name}: {:.0} per second, p50 {} ms, × {times:.2}",
                one.per_second,
                milliseconds(one.p50)
            );
            self.requests.row([
                what.to_owned(),
                clients.to_string(),
                (*name).to_owned(),
                format!("{:.0}", one.per_second),
                milliseconds(one.p50),
                milliseconds(one.p99),
                format!("{times:.2}"),
            ]);
            if at != real {
                let label = format!("{what}, {clients} clients, {name}");
                self.speed(label, times);
            }
        }
    }

    /// Changes that are watched, of each server a figure a round; the real one is the last.
    pub(super) fn fan_out(&mut self, watchers: usize, names: &[&str], found: Vec<Vec<FanOut>>) {
        let rates: Vec<_> = found
            .iter()
            .map(|all| of(all, |one| one.per_second))
            .collect();
        let delays: Vec<_> = found
            .iter()
            .map(|all| of(all, |one| one.p99.as_secs_f64()))
            .collect();
        let real = names.len() - 1;
        for (at, (name, found)) in names.iter().zip(found).enumerate() {
            let times = median_ratio(&rates[at], &rates[real]);
            let cut: u64 = found.iter().map(|one| one.cut).sum();
            let p50 = median(of(&found, |one| one.p50.as_secs_f64() * 1e3));
            let p99 = median(of(&found, |one| one.p99.as_secs_f64() * 1e3));
            let rate = median(rates[at].clone());
            println!(
                "{watchers} watchers, {name}: {rate:.0} events per second, × {times:.2}; \
                 p50 {p50:.1} ms, p99 {p99:.1} ms, {cut} cut"
            );
            self.fan_out.row([
                (*name).to_owned(),
                format!("{rate:.0}"),
                format!("{times:.2}"),
                format!("{p50:.1}"),
                format!("{p99:.1}"),
                cut.to_string(),
            ]);
            if at != real {
                let name = format!("{watchers} watchers, {name}");
                self.speed(format!("{name}, events per second"), times);
                let sooner = median_ratio(&delays[real], &delays[at]);
                self.speed(format!("{name}, p99 delivery"), sooner);
            }
        }
    }

    fn speed(&mut self, label: String, times: f64) {
        self.goals
            .add(format!("{label}, × as fast"), times, Wanted::AtLeast(1.0));
        self.speed.push(Bar {
            label,
            value: times,
        });
    }

    /// Memory of each server; the real one is the last.
    pub(super) fn memory(&mut self, with: &str, names: &[&str], found: &[Settled]) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let mut row = |name: String, share: u64, anonymous: u64| {
            println!("memory with {with}, {name}: {:.0} MiB", mib(share));
            self.memory.row([
                with.to_owned(),
                name.clone(),
                format!("{:.0}", mib(share)),
                format!("{:.0}", mib(anonymous)),
            ]);
            self.sizes.push(Bar {
                label: format!("{name}, {with}"),
                value: mib(share),
            });
        };
        let mut sums = Vec::new();
        for (name, (server, etcd)) in names.iter().zip(found) {
            row((*name).to_owned(), server.share, server.anonymous);
            let mut sum = server.share;
            if let Some(etcd) = etcd {
                sum += etcd.share;
                let anonymous = server.anonymous + etcd.anonymous;
                row(format!("{name} and its etcd"), sum, anonymous);
            }
            sums.push((server.share as f64, sum as f64));
        }
        let Some((&(alone, with_etcd), ours)) = sums.split_last() else {
            return;
        };
        for (name, (server, sum)) in names.iter().zip(ours) {
            // What holds its store itself is compared with a server and its store.
            let (under, what) = if server < sum {
                (alone, "kube-apiserver")
            } else {
                (with_etcd, "kube-apiserver and its etcd")
            };
            let name = format!("memory of {name} with {with}, × {what}");
            self.goals
                .add(name, server / under, Wanted::AtMost(MEMORY_SHARE));
        }
    }

    /// Starts of one server.
    pub(super) fn starts(&mut self, name: &str, with: &str, starts: &[Start]) {
        if starts.is_empty() {
            return;
        }
        let ready = median(of(starts, |one| one.ready.as_secs_f64()));
        let objects: Vec<_> = starts
            .iter()
            .filter_map(|one| Some(one.object?.as_secs_f64()))
            .collect();
        let object = (!objects.is_empty()).then(|| median(objects));
        let shown = object.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.3}"));
        println!("start with {with}, {name}: ready after {ready:.3} s, first object {shown} s");
        self.starts.row([
            with.to_owned(),
            name.to_owned(),
            format!("{ready:.3}"),
            shown,
        ]);
        if name != super::side::REAL {
            let most = match with.starts_with(|first: char| first.is_ascii_digit()) {
                true => START_FULL,
                false => START_EMPTY,
            };
            // What is asked first may make it read what it has not read yet.
            let seconds = object.unwrap_or(ready);
            let name = format!("start of {name} with {with}, s");
            self.goals.add(name, seconds, Wanted::AtMost(most));
        }
    }

    /// Writes the table and the plots.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        let cores = std::thread::available_parallelism()?;
        let text = format!(
            include_str!("report.template"),
            cores = cores,
            load = self.load,
            goals = self.goals.table().markdown(),
            requests = self.requests.markdown(),
            fan_out = self.fan_out.markdown(),
            memory = self.memory.markdown(),
            starts = self.starts.markdown(),
        );
        print!("\n{text}");
        std::fs::write(folder.join("apiserver.md"), text)?;
        let speed = bars("Speed", "× kube-apiserver", &self.speed);
        std::fs::write(folder.join("apiserver-speed.svg"), speed)?;
        let sizes = bars("Memory", "MiB", &self.sizes);
        std::fs::write(folder.join("apiserver-memory.svg"), sizes)?;
        Ok(())
    }
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}

fn of<T>(all: &[T], figure: impl Fn(&T) -> f64) -> Vec<f64> {
    all.iter().map(figure).collect()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

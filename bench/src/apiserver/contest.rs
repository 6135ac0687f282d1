//! The servers, asked in turns.

use super::{
    Report, Side,
    fan_out::{self, FanOut},
    footprint::{self, Settled},
    objects, requests,
};
use crate::load::{self, Measured};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};
use testbed::Testbed;

/// Lists are of this namespace.
const LISTED: &str = "listed";
/// Objects are made in this one, and changed there.
const MADE: &str = "made";
/// This one is watched.
const WATCHED: &str = "watched";
/// Objects in a page of a list: kubectl's.
const PAGE: usize = 500;
/// Rounds of what takes long.
const FEW: usize = 3;
/// Clients at the same time, where there are several.
const CLIENTS: usize = 16;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Rounds, in each of which every server is measured once.
    pub rounds: usize,
    /// How long one figure of one server is measured in a round.
    pub time: Duration,
    /// Objects in the list.
    pub listed: usize,
    /// Watchers.
    pub watchers: usize,
    /// Objects whose memory is measured.
    pub many: usize,
}

/// The servers that are compared; the real kube-apiserver is the last.
pub struct Contest<'a> {
    sides: Vec<Side<'a>>,
    /// How many objects each of them was asked to make, besides the list.
    made: Vec<Arc<AtomicUsize>>,
    scale: Scale,
}

impl<'a> Contest<'a> {
    /// Starts the servers.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(testbed: &'a Testbed, folder: &Path, scale: Scale) -> anyhow::Result<Self> {
        let sides = vec![
            Side::redb(testbed, folder).await?,
            Side::etcd(testbed, folder).await?,
            Side::kube_apiserver(testbed).await?,
        ];
        let made = sides.iter().map(|_| Arc::default()).collect();
        Ok(Self { sides, made, scale })
    }

    /// Defines the kind and makes the objects that requests are about.
    ///
    /// # Errors
    /// When a server refuses something.
    pub async fn prepare(&mut self) -> anyhow::Result<()> {
        let listed = self.scale.listed;
        for side in &mut self.sides {
            side.prepare(&[LISTED, MADE, WATCHED]).await?;
            side.fill(LISTED, listed).await?;
            side.fill(MADE, CLIENTS).await?;
            side.fill(WATCHED, fan_out::WRITERS).await?;
        }
        for made in &mut self.made {
            *made = Arc::new(AtomicUsize::new(CLIENTS));
        }
        Ok(())
    }

    /// Gets and lists.
    ///
    /// # Errors
    /// When a server fails.
    pub async fn reads(&self, report: &mut Report) -> anyhow::Result<()> {
        let list = objects::collection(LISTED);
        let object = format!("{list}/{}", objects::name(7));
        let [labels, fields] = objects::selectors();
        let listed = self.scale.listed;
        for (what, clients, path) in [
            ("get", 1, object.clone()),
            ("get", CLIENTS, object.clone()),
            (
                "get, resourceVersion=0",
                CLIENTS,
                format!("{object}?resourceVersion=0"),
            ),
            (
                &format!("list, first {PAGE} of {listed}"),
                1,
                format!("{list}?limit={PAGE}"),
            ),
            (&format!("list, all {listed}"), 1, list.clone()),
            (
                &format!("list, all {listed}, resourceVersion=0"),
                1,
                format!("{list}?resourceVersion=0"),
            ),
            ("list, a tenth by label", 1, format!("{list}?{labels}")),
            ("list, a tenth by field", 1, format!("{list}?{fields}")),
        ] {
            self.compare(what, clients, report, async |_, side| {
                load::get(&side.user, &path, clients, self.scale.time).await
            })
            .await?;
        }
        let what = format!("list, all {listed} in pages of {PAGE}, a page");
        let path = format!("{list}?limit={PAGE}");
        self.compare(&what, 1, report, async |_, side| {
            let pages = vec![requests::Pages::new(side, &path)];
            load::run(&side.user, pages, self.scale.time).await
        })
        .await
    }

    /// Creates and updates.
    ///
    /// # Errors
    /// When a server fails.
    pub async fn writes(&self, report: &mut Report) -> anyhow::Result<()> {
        for clients in [1, CLIENTS] {
            self.compare("create", clients, report, async |at, side| {
                let works = (0..clients)
                    .map(|_| requests::Create::new(side, MADE, &self.made[at]))
                    .collect();
                load::run(&side.user, works, self.scale.time).await
            })
            .await?;
        }
        for clients in [1, CLIENTS] {
            self.compare("update", clients, report, async |_, side| {
                let mut works = Vec::new();
                for number in 0..clients {
                    works.push(requests::Update::new(side, MADE, number).await?);
                }
                load::run(&side.user, works, self.scale.time).await
            })
            .await?;
        }
        Ok(())
    }

    /// Changes that many watch.
    ///
    /// # Errors
    /// When a server fails, or a watcher misses a change.
    pub async fn fan_out(&self, report: &mut Report) -> anyhow::Result<()> {
        let mut found: Vec<Vec<FanOut>> = self.sides.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.scale.rounds.min(FEW) {
            for (side, found) in self.sides.iter().zip(&mut found) {
                let (watchers, time) = (self.scale.watchers, self.scale.time * 3);
                found.push(fan_out::measure(&side.user, WATCHED, watchers, time).await?);
            }
        }
        report.fan_out(self.scale.watchers, &self.names(), found);
        Ok(())
    }

    /// Start-up without objects and with many, and memory with many. The servers hold nothing
    /// before.
    ///
    /// # Errors
    /// When a server fails.
    pub async fn footprint(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let names = self.names();
        let many = self.scale.many;
        for side in &mut self.sides {
            let starts = footprint::first_starts(side, self.scale.rounds.min(FEW)).await?;
            report.starts(side.name, "a new store", &starts);
            side.prepare(&[MADE]).await?;
        }
        let none = objects::collection(MADE);
        self.starts("no objects", &none, false, report).await?;
        for side in &self.sides {
            let begun = Instant::now();
            side.fill(MADE, many).await?;
            println!(
                "{}: {many} objects made in {:.0?}",
                side.name,
                begun.elapsed()
            );
        }
        let loaded: Vec<Settled> = footprint::settle(&self.sides).await?;
        report.memory(&format!("{many} objects, just made"), &names, &loaded);
        let one = format!("{none}/{}", objects::name(many / 2));
        self.starts(&format!("{many} objects"), &one, false, report)
            .await?;
        self.starts(
            &format!("{many} objects, after a crash"),
            &one,
            true,
            report,
        )
        .await?;
        let loaded = footprint::settle(&self.sides).await?;
        report.memory(&format!("{many} objects, after a start"), &names, &loaded);
        Ok(())
    }

    async fn starts(
        &mut self,
        what: &str,
        path: &str,
        crash: bool,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        for side in &mut self.sides {
            let rounds = self.scale.rounds.min(FEW);
            let starts = footprint::starts(side, path, crash, rounds).await?;
            report.starts(side.name, what, &starts);
        }
        Ok(())
    }

    /// Measures the same of all, in turns: the machine drifts.
    async fn compare(
        &self,
        what: &str,
        clients: usize,
        report: &mut Report,
        measure: impl AsyncFn(usize, &Side<'_>) -> anyhow::Result<Measured>,
    ) -> anyhow::Result<()> {
        let mut found: Vec<Vec<Measured>> = self.sides.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.scale.rounds {
            for (at, side) in self.sides.iter().enumerate() {
                found[at].push(measure(at, side).await?);
            }
        }
        report.requests(what, clients, &self.names(), found);
        Ok(())
    }

    fn names(&self) -> Vec<&'static str> {
        self.sides.iter().map(|side| side.name).collect()
    }
}

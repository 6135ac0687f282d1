//! How much of the way to clusters one user gets, and how much one cluster and one project take: requests under
//! way, what stays open, bytes. More is refused with 429.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apiserver::error::ApiError;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric as _,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::config::{ProxyBounds, ProxyLimits};

/// So many seconds' worth of bytes may come at once.
const BURST: f64 = 10.0;

/// Seconds after which a client may ask again that has too much under way.
const RETRY_SECONDS: u32 = 1;

/// Longest time that a client is told to wait, in seconds.
const LONGEST_WAIT: f64 = 60.0;

/// Counts what goes to clusters. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: ProxyLimits,
    accounts: Mutex<HashMap<Whose, Arc<Account>>>,
    open: Family<WhatLabel, Gauge>,
    carried: Counter,
    refused: Family<RefusedLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    User(String),
    Cluster(String),
    /// Cluster and name of one.
    Project(String, String),
}

impl Whose {
    fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Cluster(_) => "cluster",
            Self::Project(..) => "project",
        }
    }

    fn name(&self) -> String {
        match self {
            Self::User(name) | Self::Cluster(name) => name.clone(),
            Self::Project(cluster, project) => format!("{cluster}:{project}"),
        }
    }
}

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum What {
    Requests,
    Streams,
    Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    whose: &'static str,
    what: What,
}

/// What somebody, a cluster or a project has under way.
#[derive(Debug, Default)]
struct Account(Mutex<Usage>);

#[derive(Debug, Default)]
struct Usage {
    requests: usize,
    streams: usize,
    /// Bytes that were carried and not yet made good by time.
    owed: f64,
    /// Since when.
    at: Option<Instant>,
}

/// A request that counts until this is dropped.
pub(crate) struct Permit {
    limits: Limits,
    accounts: Vec<(Whose, Arc<Account>)>,
    what: What,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl Limits {
    /// Counts from nothing.
    #[must_use]
    pub fn new(settings: ProxyLimits) -> Self {
        Self(Arc::new(Shared {
            settings,
            accounts: Mutex::default(),
            open: Family::default(),
            carried: Counter::default(),
            refused: Family::default(),
        }))
    }

    /// Adds the metrics of what is under way and what was refused.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Requests to clusters that are under way, and those that stay open";
        registry.register("proxy_open", help, self.0.open.clone());
        let help = "Bytes of bodies and connections that were carried to and from clusters";
        registry.register("proxy_bytes", help, self.0.carried.clone());
        registry.register_collector(Box::new(self.clone()));
        let help = "Requests to clusters that were refused, by what was too much, and whose";
        registry.register("proxy_refused", help, self.0.refused.clone());
    }

    /// Whether it matters in which project a request is.
    pub(crate) fn limit_projects(&self) -> bool {
        let bounds = self.0.settings.per_project;
        [bounds.requests, bounds.streams, bounds.bytes_per_second] != [0; 3]
    }

    /// Counts a request to a cluster, and to a namespace of a project if it is one; `stays` if it is a watch,
    /// a followed log or a connection.
    ///
    /// # Errors
    /// 429 when the user, the cluster or the project has too much.
    pub(crate) fn admit(
        &self,
        user: &str,
        cluster: &str,
        project: Option<&str>,
        stays: bool,
    ) -> Result<Permit, ApiError> {
        let what = if stays { What::Streams } else { What::Requests };
        let project = project.map(|project| Whose::Project(cluster.to_owned(), project.to_owned()));
        let whose = [
            Whose::User(user.to_owned()),
            Whose::Cluster(cluster.to_owned()),
        ];
        let mut accounts = lock(&self.0.accounts);
        let now = Instant::now();
        let found: Vec<_> = whose
            .into_iter()
            .chain(project)
            .map(|whose| {
                let account = accounts.entry(whose.clone()).or_default();
                (whose, Arc::clone(account))
            })
            .collect();
        let too_much = found.iter().find_map(|(whose, account)| {
            let checked = account.lock().check(&self.bounds(whose), what, now);
            checked.err().map(|why| (whose.clone(), why))
        });
        if let Some((whose, (what, seconds))) = too_much {
            drop(found);
            // Those that were made for this request alone are of no use.
            accounts.retain(|_, account| !account.lock().is_idle());
            return Err(self.refuse(&whose, what, seconds));
        }
        for (_, account) in &found {
            *account.lock().count(what) += 1;
        }
        self.0.open.get_or_create(&WhatLabel { what }).inc();
        Ok(Permit {
            limits: self.clone(),
            accounts: found,
            what,
        })
    }

    fn refuse(&self, whose: &Whose, what: What, seconds: u32) -> ApiError {
        let of = match whose {
            Whose::User(_) => "you have".to_owned(),
            Whose::Cluster(cluster) => format!("cluster {cluster:?} has"),
            Whose::Project(cluster, project) => {
                format!("project {project:?} of cluster {cluster:?} has")
            }
        };
        let label = RefusedLabel {
            whose: whose.kind(),
            what,
        };
        self.0.refused.get_or_create(&label).inc();
        let most = self.bounds(whose).of(what);
        let message = match what {
            What::Requests => format!("{of} {most} requests under way, and may have no more"),
            What::Streams => {
                format!("{of} {most} watches, logs and connections open, and may have no more")
            }
            What::Bytes => format!("{of} more than {most} bytes a second"),
        };
        ApiError::too_many_requests(format!("{message}; try again in {seconds} s"), seconds)
    }

    fn bounds(&self, whose: &Whose) -> ProxyBounds {
        match whose {
            Whose::User(_) => self.0.settings.per_user,
            Whose::Cluster(_) => self.0.settings.per_cluster,
            Whose::Project(..) => self.0.settings.per_project,
        }
    }
}

impl ProxyBounds {
    fn of(&self, what: What) -> u64 {
        match what {
            What::Requests => self.requests,
            What::Streams => self.streams,
            What::Bytes => self.bytes_per_second,
        }
    }
}

impl Account {
    fn lock(&self) -> MutexGuard<'_, Usage> {
        lock(&self.0)
    }
}

impl Usage {
    /// Whether there may be one more; if not, what is too much and for how many seconds.
    fn check(&mut self, bounds: &ProxyBounds, what: What, now: Instant) -> Result<(), (What, u32)> {
        let most = bounds.of(what);
        if most > 0 && *self.count(what) as u64 >= most {
            return Err((what, RETRY_SECONDS));
        }
        let rate = bounds.bytes_per_second;
        if rate == 0 {
            return Ok(());
        }
        self.settle(rate, now);
        let too_much = self.owed / rate as f64 - BURST;
        if too_much <= 0.0 {
            return Ok(());
        }
        // From 1 to 60: no cast loses anything.
        Err((What::Bytes, too_much.ceil().clamp(1.0, LONGEST_WAIT) as u32))
    }

    fn count(&mut self, what: What) -> &mut usize {
        match what {
            What::Requests | What::Bytes => &mut self.requests,
            What::Streams => &mut self.streams,
        }
    }

    /// Time makes good what is owed.
    fn settle(&mut self, rate: u64, now: Instant) {
        let passed = self.at.map_or(Duration::ZERO, |at| now.duration_since(at));
        self.owed = (self.owed - rate as f64 * passed.as_secs_f64()).max(0.0);
        self.at = Some(now);
    }

    fn is_idle(&self) -> bool {
        self.requests == 0 && self.streams == 0 && self.owed <= 0.0
    }
}

/// Of whom how much is under way. Nobody is named of whom nothing is.
impl Collector for Limits {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let under_way: Vec<_> = lock(&self.0.accounts)
            .iter()
            .map(|(whose, account)| {
                let usage = account.lock();
                (whose.clone(), [usage.requests, usage.streams])
            })
            .collect();
        let help = "Requests to clusters that are under way, and those that stay open, of each user, cluster and project";
        let mut family =
            encoder.encode_descriptor("proxy_under_way", help, None, MetricType::Gauge)?;
        for (whose, counts) in under_way {
            let name = whose.name();
            for (what, count) in ["Requests", "Streams"].into_iter().zip(counts) {
                let labels = [("whose", whose.kind()), ("name", &name), ("what", what)];
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl Permit {
    /// So many bytes were carried for it.
    pub(crate) fn spend(&self, bytes: u64) {
        self.limits.0.carried.inc_by(bytes);
        for (whose, account) in &self.accounts {
            let rate = self.limits.bounds(whose).bytes_per_second;
            if rate > 0 {
                let mut usage = account.lock();
                usage.settle(rate, Instant::now());
                usage.owed += bytes as f64;
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut accounts = lock(&self.limits.0.accounts);
        for (whose, account) in &self.accounts {
            let mut usage = account.lock();
            *usage.count(self.what) -= 1;
            let rate = self.limits.bounds(whose).bytes_per_second;
            usage.settle(rate, Instant::now());
            if usage.is_idle() {
                accounts.remove(whose);
            }
        }
        let label = WhatLabel { what: self.what };
        self.limits.0.open.get_or_create(&label).dec();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: ProxyBounds = ProxyBounds {
        requests: 0,
        streams: 0,
        bytes_per_second: 0,
    };

    fn limits(per_user: ProxyBounds, per_cluster: ProxyBounds) -> Limits {
        Limits::new(ProxyLimits {
            per_user,
            per_cluster,
            per_project: ProxyBounds {
                requests: 1,
                ..NONE
            },
        })
    }

    #[test]
    fn a_user_has_a_share_and_gives_it_back() {
        let few = ProxyBounds {
            requests: 1,
            streams: 2,
            ..NONE
        };
        let limits = limits(few, NONE);
        let held = limits.admit("u-1", "c-1", None, false).unwrap();
        let error = limits.admit("u-1", "c-2", None, false).unwrap_err();
        assert_eq!((error.code().as_u16(), error.retry_after()), (429, Some(1)));
        assert!(
            error.message().contains("1 requests under way"),
            "{}",
            error.message()
        );
        // Others, and what stays open, are counted apart.
        let other = limits.admit("u-2", "c-1", None, false).unwrap();
        let streams = [(); 2].map(|()| limits.admit("u-1", "c-1", None, true).unwrap());
        assert!(limits.admit("u-1", "c-1", None, true).is_err());
        drop(held);
        assert!(limits.admit("u-1", "c-1", None, false).is_ok());
        drop((streams, other));
        assert!(lock(&limits.0.accounts).is_empty());
    }

    #[test]
    fn a_cluster_takes_so_much_whoever_asks() {
        let one = ProxyBounds { streams: 1, ..NONE };
        let limits = limits(NONE, one);
        let _held = limits.admit("u-1", "c-1", None, true).unwrap();
        let error = limits.admit("u-2", "c-1", None, true).unwrap_err();
        assert!(
            error.message().starts_with("cluster \"c-1\" has 1 watches"),
            "{}",
            error.message()
        );
        assert!(limits.admit("u-2", "c-2", None, true).is_ok());
    }

    #[test]
    fn a_project_takes_so_much_and_its_namesake_in_another_cluster_as_much_again() {
        let limits = limits(NONE, NONE);
        let _held = limits.admit("u-1", "c-1", Some("p-1"), false).unwrap();
        let error = limits.admit("u-2", "c-1", Some("p-1"), false).unwrap_err();
        let expected = "project \"p-1\" of cluster \"c-1\" has 1 requests under way";
        assert!(error.message().starts_with(expected), "{}", error.message());
        assert!(limits.admit("u-2", "c-2", Some("p-1"), false).is_ok());
        assert!(limits.admit("u-2", "c-1", None, false).is_ok());
    }

    #[test]
    fn bytes_are_made_good_by_time() {
        let bounds = ProxyBounds {
            bytes_per_second: 100,
            ..NONE
        };
        let limits = limits(bounds, NONE);
        let permit = limits.admit("u-1", "c-1", None, false).unwrap();
        permit.spend(900);
        assert!(limits.admit("u-1", "c-1", None, false).is_ok());
        permit.spend(1600);
        let error = limits.admit("u-1", "c-1", None, false).unwrap_err();
        assert!(
            (14..=15).contains(&error.retry_after().unwrap()),
            "{:?}",
            error.retry_after()
        );
        let mut usage = Usage {
            owed: 2500.0,
            ..Usage::default()
        };
        let now = Instant::now();
        usage.settle(100, now);
        assert!(usage.check(&bounds, What::Requests, now).is_err());
        let later = now + Duration::from_secs(16);
        assert!(usage.check(&bounds, What::Requests, later).is_ok());
    }
}

//! The requests that went to clusters lately, and those that are on their way, for people who ask where one is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apiserver::request::Target;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{ClusterId, TunnelRequest, UserId};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use telemetry::TraceId;
use tunnel_proto::stream::Class;

use crate::authn::Identity;
use crate::authz::Action;
use crate::tunnels::name_of;

/// Requests of one cluster that are kept.
const PER_CLUSTER: usize = 256;

/// Among so many of the oldest one is looked for that is over. A watch or a session in a container is asked about while
/// many others come and go.
const LOOKED_AT: usize = 64;

/// What all of them may take, in bytes.
const MOST: usize = 16 * 1024 * 1024;

/// So much of a path is kept, and of an error, in bytes.
const LONGEST_PATH: usize = 512;
const LONGEST_ERROR: usize = 256;

/// So much of the name of a user.
const LONGEST_NAME: usize = 128;

/// Parameters of queries whose values are shown.
const SHOWN: [&str; 11] = [
    "allowWatchBookmarks",
    "dryRun",
    "follow",
    "limit",
    "previous",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "tailLines",
    "timeoutSeconds",
    "watch",
];

/// The requests of all clusters. Clones share them.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    most: usize,
    bytes: Gauge,
}

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    bytes: usize,
    /// In the order in which they came.
    all: BTreeMap<u64, Arc<Entry>>,
    /// Their numbers, in the same order.
    of_cluster: HashMap<ClusterId, VecDeque<u64>>,
}

/// What is known of a request when it comes.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) id: &'a Arc<str>,
    pub(super) trace: Option<TraceId>,
    pub(super) who: &'a Identity,
    pub(super) method: &'a http::Method,
    pub(super) path_and_query: &'a str,
    pub(super) action: &'a Action,
    pub(super) class: Class,
    pub(super) now: Timestamp,
}

#[derive(Debug)]
struct Entry {
    cluster: ClusterId,
    id: Arc<str>,
    trace: Option<TraceId>,
    user: UserId,
    username: Box<str>,
    method: http::Method,
    path: Box<str>,
    class: Class,
    at: Timestamp,
    began: Instant,
    received: AtomicU64,
    sent: AtomicU64,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    session: Box<str>,
    waited: Option<Duration>,
    answered: Option<Duration>,
    status: Option<u16>,
    ended: Option<Duration>,
    error: Box<str>,
}

/// A request on its way. Clones are the same request.
#[derive(Clone, Debug)]
pub(crate) struct Course(Arc<Entry>);

impl Default for Journal {
    fn default() -> Self {
        Self::of_size(MOST)
    }
}

impl Journal {
    fn of_size(most: usize) -> Self {
        Self(Arc::new(Shared {
            kept: Mutex::default(),
            most,
            bytes: Gauge::default(),
        }))
    }

    /// Adds the metrics of what is kept.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Memory of the requests to clusters that lariat tunnel explain shows, in bytes";
        registry.register("tunnel_requests_kept_bytes", help, self.0.bytes.clone());
    }

    /// A request to a cluster begins. The oldest ones make room for it.
    pub(super) fn begin(&self, cluster: &ClusterId, asked: Asked<'_>) -> Course {
        let entry = Arc::new(Entry {
            cluster: cluster.clone(),
            id: Arc::clone(asked.id),
            trace: asked.trace,
            user: asked.who.user.clone(),
            username: cut(&asked.who.username, LONGEST_NAME).into(),
            method: asked.method.clone(),
            path: cut(&shown(asked.path_and_query, asked.action), LONGEST_PATH).into(),
            class: asked.class,
            at: asked.now,
            began: Instant::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            progress: Mutex::default(),
        });
        let mut kept = self.lock();
        kept.add(Arc::clone(&entry));
        while kept.bytes > self.0.most && kept.forget_oldest() {}
        self.show(&kept);
        Course(entry)
    }

    /// The requests to a cluster, the oldest first; those of one user only, if one is named.
    pub(crate) fn of(&self, cluster: &ClusterId, user: Option<&UserId>) -> Vec<TunnelRequest> {
        let entries: Vec<_> = {
            let kept = self.lock();
            let numbers = kept.of_cluster.get(cluster).into_iter().flatten();
            let entries = numbers.filter_map(|number| kept.all.get(number));
            let meant = entries.filter(|entry| user.is_none_or(|user| entry.user == *user));
            meant.cloned().collect()
        };
        entries.iter().map(|entry| entry.shown()).collect()
    }

    /// The cluster is no more.
    pub(crate) fn forget(&self, cluster: &ClusterId) {
        let mut kept = self.lock();
        for number in kept.of_cluster.remove(cluster).into_iter().flatten() {
            if let Some(entry) = kept.all.remove(&number) {
                kept.bytes -= entry.size();
            }
        }
        self.show(&kept);
    }

    fn show(&self, kept: &Kept) {
        let bytes = i64::try_from(kept.bytes).unwrap_or(i64::MAX);
        self.0.bytes.set(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, entry: Arc<Entry>) {
        let number = self.next;
        self.next += 1;
        self.bytes += entry.size();
        let numbers = self.of_cluster.entry(entry.cluster.clone()).or_default();
        let all = &self.all;
        let forgotten = if numbers.len() >= PER_CLUSTER {
            let is_over = |number: &u64| all.get(number).is_some_and(|entry| entry.is_over());
            let over = numbers.iter().take(LOOKED_AT).position(is_over);
            numbers.remove(over.unwrap_or(0))
        } else {
            None
        };
        numbers.push_back(number);
        self.all.insert(number, entry);
        if let Some(entry) = forgotten.and_then(|number| self.all.remove(&number)) {
            self.bytes -= entry.size();
        }
    }

    /// Whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, entry)) = self.all.pop_first() else {
            return false;
        };
        self.bytes -= entry.size();
        // The oldest of all is the oldest of its cluster.
        if let Some(numbers) = self.of_cluster.get_mut(&entry.cluster) {
            numbers.pop_front();
            if numbers.is_empty() {
                self.of_cluster.remove(&entry.cluster);
            }
        }
        true
    }
}

impl Entry {
    /// About what it takes, in bytes, with the longest error and its places in the journal.
    fn size(&self) -> usize {
        size_of::<Self>()
            + self.id.len()
            + 2 * self.cluster.as_str().len()
            + self.user.as_str().len()
            + self.username.len()
            + self.path.len()
            + LONGEST_ERROR
            + 128
    }

    fn is_over(&self) -> bool {
        self.progress().ended.is_some()
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> TunnelRequest {
        let progress = self.progress();
        let lasted = progress.ended.unwrap_or_else(|| self.began.elapsed());
        TunnelRequest {
            id: self.id.to_string(),
            trace_id: self.trace.map(|id| id.to_string()).unwrap_or_default(),
            user_id: self.user.to_string(),
            username: self.username.to_string(),
            method: self.method.to_string(),
            path: self.path.to_string(),
            class: name_of(self.class).to_owned(),
            began_at: Some(Time(self.at)),
            session: progress.session.to_string(),
            waited_milliseconds: progress.waited.map(milliseconds),
            answered_milliseconds: progress.answered.map(milliseconds),
            status: progress.status,
            received_bytes: self.received.load(Ordering::Relaxed),
            sent_bytes: self.sent.load(Ordering::Relaxed),
            lasted_milliseconds: milliseconds(lasted),
            under_way: progress.ended.is_none(),
            error: progress.error.to_string(),
        }
    }
}

impl Course {
    /// It has waited that long for this session, and goes over it.
    pub(super) fn goes_over(&self, session: &str, waited: Duration) {
        let mut progress = self.0.progress();
        progress.session = session.into();
        progress.waited = Some(waited);
    }

    /// The head of the cluster's answer is there.
    pub(super) fn answered(&self) {
        self.0.progress().answered = Some(self.0.began.elapsed());
    }

    /// The client is answered with this status.
    pub(crate) fn set_status(&self, status: u16) {
        self.0.progress().status = Some(status);
    }

    /// So many bytes came from the client.
    pub(crate) fn add_received(&self, bytes: u64) {
        self.0.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many went to the client.
    pub(crate) fn add_sent(&self, bytes: u64) {
        self.0.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It is over; `error` is empty if it ended in order.
    pub(crate) fn end(&self, error: &str) {
        let mut progress = self.0.progress();
        progress.ended = Some(self.0.began.elapsed());
        progress.error = cut(error, LONGEST_ERROR).into();
    }
}

/// A path with what of its query is no secret. What goes to something behind a cluster's API server may have one in its
/// path as well.
fn shown(path_and_query: &str, action: &Action) -> String {
    let (path, query) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    let is_proxied = matches!(
        &action.target,
        Target::Resource { subresource: Some(subresource), deeper: true, .. } if subresource == "proxy"
    );
    let mut text = match path.split_once("/proxy/") {
        Some((before, _)) if is_proxied => format!("{before}/proxy/(hidden)"),
        // The word is written in another way.
        None if is_proxied => "(hidden)".to_owned(),
        _ => path.to_owned(),
    };
    for (index, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if SHOWN.contains(&name) => text.push_str(pair),
            Some((name, _)) => {
                text.push_str(name);
                text.push_str("=(hidden)");
            }
            None => text.push_str("(hidden)"),
        }
    }
    text
}

/// The beginning of a text, whole characters.
fn cut(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests;

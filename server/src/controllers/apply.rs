//! Carrying out what has to be done in a cluster.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use http::StatusCode;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};

use super::client::MANAGER;
use super::metrics::{Change, Counts};
use super::mirror::{Key, Mirror, TooMany};
use super::object::{Kept, Seen};
use super::plan::Plan;
use crate::management::answered;

/// Requests to one cluster at the same time.
pub(super) const AT_ONCE: usize = 8;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// How many objects were made, changed and deleted.
    pub(super) changes: usize,
    /// What could not be done, each with the reason.
    pub(super) failures: Vec<Failure>,
    /// Names of objects that belong to somebody else.
    pub(super) taken: BTreeSet<String>,
}

/// The reason of a failure that lies in what the cluster allows the server.
pub(super) const FORBIDDEN: &str = "Forbidden";

/// The reason of a failure that lies in what the cluster has not, a kind for example.
pub(super) const NOT_FOUND: &str = "NotFound";

/// The reason of any other.
const FAILED: &str = "Failed";

/// Something that could not be done.
#[derive(Debug)]
pub(super) struct Failure {
    /// One word for programs.
    pub(super) reason: &'static str,
    /// A sentence for people.
    pub(super) message: String,
}

impl Failure {
    /// A cluster did not do what it was asked for.
    pub(super) fn new(what: impl std::fmt::Display, error: &kube::Error) -> Self {
        let reason = match error {
            kube::Error::Api(status) => match StatusCode::from_u16(status.code) {
                Ok(StatusCode::FORBIDDEN) => FORBIDDEN,
                Ok(StatusCode::NOT_FOUND) => NOT_FOUND,
                _ => FAILED,
            },
            _ => FAILED,
        };
        let why = match error {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        };
        let message = format!("{what}: {why}");
        Self { reason, message }
    }

    /// A cluster cannot be looked at.
    pub(super) fn of_watch(error: &kube::Error) -> Self {
        Self::new("the cluster cannot be looked at", error)
    }

    /// Something else went wrong.
    pub(super) fn other(message: String) -> Self {
        let reason = FAILED;
        Self { reason, message }
    }
}

/// Whether a cluster does not let the server look at it, or has not that at which it looks.
pub(super) fn is_refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if [403, 404].contains(&status.code))
}

impl From<TooMany> for Failure {
    fn from(error: TooMany) -> Self {
        Self {
            reason: "TooManyObjects",
            message: error.to_string(),
        }
    }
}

/// What came of an object.
enum Done {
    Is(Seen),
    Gone,
    /// It belongs to somebody else.
    Taken,
}

/// Changes objects of one cluster, and writes down what became of them.
pub(super) struct Hand<'a> {
    pub(super) client: &'a kube::Client,
    pub(super) counts: &'a Counts,
    pub(super) report: Report,
}

impl Hand<'_> {
    /// Deletes what the plan says.
    pub(super) async fn delete<K: Kept>(&mut self, plan: &mut Plan<K>, there: &mut Mirror<Seen>) {
        let client = self.client;
        let asked = std::mem::take(&mut plan.delete).into_iter();
        let asked = asked.map(|(key, uid)| async move {
            let done = delete::<K>(client, &key, uid).await;
            (key, done)
        });
        let mut done = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
        while let Some((key, done)) = done.next().await {
            self.note::<K>(Change::Deleted, key, done, there);
        }
    }

    /// Makes and changes what the plan says.
    pub(super) async fn write<K: Kept>(&mut self, plan: &mut Plan<K>, there: &mut Mirror<Seen>) {
        let client = self.client;
        let made = std::mem::take(&mut plan.create).into_iter();
        let made = made.map(|(key, object)| async move {
            let done = create(client, &key, object).await;
            (Change::Created, key, done)
        });
        let changed = std::mem::take(&mut plan.change).into_iter();
        let changed = changed.map(|(key, object, uid)| async move {
            let done = change(client, &key, object, uid).await;
            (Change::Changed, key, done)
        });
        let made = futures::stream::iter(made).buffer_unordered(AT_ONCE);
        let changed = futures::stream::iter(changed).buffer_unordered(AT_ONCE);
        let mut done = made.chain(changed);
        while let Some((what, key, done)) = done.next().await {
            self.note::<K>(what, key, done, there);
        }
    }

    fn note<K: Kept>(
        &mut self,
        what: Change,
        key: Key,
        done: kube::Result<Done>,
        there: &mut Mirror<Seen>,
    ) {
        let noted = match done {
            Ok(Done::Is(seen)) => there.put(key, seen).map(drop).map_err(Failure::from),
            Ok(Done::Gone) => {
                there.remove(&key);
                Ok(())
            }
            Ok(Done::Taken) => {
                let message = format!(
                    "{} {key} is in the cluster already and is not the server's: rename or delete it there",
                    K::KIND
                );
                self.report.taken.insert(key.name);
                let reason = "NameTaken";
                Err(Failure { reason, message })
            }
            Err(error) => Err(Failure::new(format_args!("{} {key}", K::KIND), &error)),
        };
        match noted {
            Ok(()) => {
                self.report.changes += 1;
                self.counts.changed(what);
            }
            Err(failure) => self.report.failures.push(failure),
        }
    }
}

async fn delete<K: Kept>(client: &kube::Client, key: &Key, uid: String) -> kube::Result<Done> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let api = K::api(client, &key.namespace);
    let deleted = api.delete(&key.name, &params).await;
    // Another object of that name is one that a watch will tell of.
    let gone = [StatusCode::NOT_FOUND, StatusCode::CONFLICT];
    if gone.iter().any(|code| answered(&deleted, *code)) {
        return Ok(Done::Gone);
    }
    deleted.map(|_| Done::Gone)
}

async fn create<K: Kept>(client: &kube::Client, key: &Key, object: K) -> kube::Result<Done> {
    let api = K::api(client, &key.namespace);
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let made = api.create(&params, &object).await;
    if is_ending(key, &made) {
        return Ok(Done::Gone);
    }
    if !answered(&made, StatusCode::CONFLICT) {
        return made.map(|made| done(&made));
    }
    // Not by an apply alone: that would take over what somebody else has made.
    match api.get_opt(&key.name).await? {
        Some(found) if K::is_ours(found.meta()) => {
            let uid = found.meta().uid.clone().unwrap_or_default();
            change(client, key, object, uid).await
        }
        Some(_) => Ok(Done::Taken),
        None => made.map(|made| done(&made)),
    }
}

/// Whether the namespace of an object is gone or going. The watch of namespaces will tell.
fn is_ending<K>(key: &Key, made: &kube::Result<K>) -> bool {
    let Err(kube::Error::Api(status)) = made else {
        return false;
    };
    let ending = status.code == 403 && status.message.contains("because it is being terminated");
    !key.namespace.is_empty() && (status.code == 404 || ending)
}

async fn change<K: Kept>(
    client: &kube::Client,
    key: &Key,
    mut object: K,
    uid: String,
) -> kube::Result<Done> {
    // With it, no other object of that name is changed, and none is made.
    object.meta_mut().uid = Some(uid);
    let params = PatchParams::apply(MANAGER).force();
    let api = K::api(client, &key.namespace);
    let changed = api.patch(&key.name, &params, &Patch::Apply(&object)).await;
    changed.map(|changed| done(&changed))
}

fn done<K: Kept>(object: &K) -> Done {
    object.seen().map_or(Done::Taken, Done::Is)
}

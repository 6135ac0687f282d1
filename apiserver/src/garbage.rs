//! Objects go with their owners, as `ownerReferences` and the way of deletion say.

mod graph;
mod meta;

use crate::keys;
use crate::object::Object;
use crate::serve::{ApiServer, is_settled};
use bytes::Bytes;
use graph::{Graph, Verdict};
use http::Method;
use meta::{Deletion, Meta, Uid};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use store::{Changes, Follow, Followed};

/// How long to wait before what went wrong is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often an object that others change meanwhile is read again.
const ATTEMPTS: usize = 5;

/// Whether an object is being deleted, as it is in the store.
pub(crate) fn is_deleting(value: &[u8]) -> bool {
    Meta::read(value).is_some_and(|meta| meta.deletion() != Deletion::No)
}

/// Deletes what has lost its owners, for ever; to be dropped.
pub async fn collect(server: Arc<ApiServer>) {
    let store = Arc::clone(server.cache().store());
    let mut collector = Collector::new(&server);
    let root = [keys::ROOT.into()];
    let begun = store::read_pages(&*store, &root, |page| {
        for entry in &page {
            collector.put(&entry.key, &entry.value);
        }
    });
    let mut store = match begun.await {
        Ok(revision) => {
            collector.work().await;
            Follow::after(store, keys::ROOT, revision)
        }
        // It tells all when it can be read. Of a part nothing can be judged.
        Err(_) => Follow::new(store, keys::ROOT),
    };
    loop {
        // What failed is tried again, even if nothing changes.
        let limit = if collector.due.is_empty() {
            Duration::MAX
        } else {
            RETRY
        };
        match tokio::time::timeout(limit, store.next()).await {
            Ok(Some(Followed::All(entries, _))) => {
                collector = Collector::new(&server);
                for entry in &entries {
                    collector.put(&entry.key, &entry.value);
                }
            }
            Ok(Some(Followed::Changes(changes))) => collector.apply(&changes),
            // There is nothing to collect from any more.
            Ok(None) => return,
            Err(_) => {}
        }
        collector.work().await;
    }
}

struct Collector<'a> {
    server: &'a ApiServer,
    graph: Graph,
    /// To be looked at.
    due: HashSet<Uid>,
    /// Keys of objects that cannot be read. Anything may be owned by them.
    unreadable: HashSet<Box<[u8]>>,
}

impl<'a> Collector<'a> {
    fn new(server: &'a ApiServer) -> Self {
        Self {
            server,
            graph: Graph::default(),
            due: HashSet::new(),
            unreadable: HashSet::new(),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        if store::is_sealed(value) {
            self.unreadable.insert(key.into());
            return;
        }
        self.unreadable.remove(key);
        if let (Ok(key), Some(meta)) = (std::str::from_utf8(key), Meta::read(value)) {
            self.due.extend(self.graph.put(key, &meta));
        }
    }

    fn apply(&mut self, changes: &Changes) {
        for change in &changes.changes {
            match (&change.current, &change.previous) {
                (Some(entry), _) => self.put(&entry.key, &entry.value),
                (None, Some(gone)) => {
                    self.unreadable.remove(&*gone.key);
                    if let Some(meta) = Meta::read(&gone.value) {
                        self.due.extend(self.graph.remove(&meta));
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// Looks at what is due. What fails stays due.
    async fn work(&mut self) {
        for uid in std::mem::take(&mut self.due) {
            if !self.settle(self.graph.verdict(uid)).await {
                self.due.insert(uid);
            }
        }
    }

    async fn settle(&self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Keep => true,
            Verdict::Delete { .. } | Verdict::Disown { .. } if !self.unreadable.is_empty() => false,
            Verdict::Delete { key, foreground } => self.delete(&key, foreground).await,
            Verdict::DeleteDependents { keys } => {
                let mut done = true;
                for key in keys {
                    done &= self.delete(&key, true).await;
                }
                done
            }
            Verdict::Disown { key, owners } => self.disown(&key, &owners).await,
            Verdict::Orphan { owner, keys } => {
                let mut done = true;
                for key in keys {
                    done &= self.disown(&key, std::slice::from_ref(&owner)).await;
                }
                done
            }
            Verdict::LetGo { key, finalizer } => {
                let keep = |value: &Value| value != finalizer;
                self.edit(&key, "finalizers", keep).await
            }
        }
    }

    async fn disown(&self, key: &str, owners: &[String]) -> bool {
        let keep = |reference: &Value| {
            let uid = reference["uid"].as_str().unwrap_or_default();
            !owners.iter().any(|owner| owner == uid)
        };
        self.edit(key, "ownerReferences", keep).await
    }

    /// Deletes an object, unless it is another one by now or has found an owner.
    async fn delete(&self, key: &str, foreground: bool) -> bool {
        let Some((path, object)) = self.read(key).await else {
            return true;
        };
        let policy = if foreground {
            "Foreground"
        } else {
            "Background"
        };
        let options = json!({
            "preconditions": {
                "uid": object.uid(), "resourceVersion": object.meta_text("resourceVersion"),
            },
            "propagationPolicy": policy,
        });
        is_settled(&self.server.ask(Method::DELETE, &path, &options).await)
    }

    /// Keeps of a list in the metadata what `keep` says.
    async fn edit(&self, key: &str, field: &str, keep: impl Fn(&Value) -> bool) -> bool {
        for _ in 0..ATTEMPTS {
            let Some((path, object)) = self.read(key).await else {
                return true;
            };
            let list = object.meta().get(field).and_then(Value::as_array);
            let list = list.map_or(&[][..], Vec::as_slice);
            let kept: Vec<_> = list.iter().filter(|value| keep(value)).collect();
            if kept.len() == list.len() {
                return true;
            }
            let version = object.meta_text("resourceVersion");
            let patch = json!({"metadata": {field: kept, "resourceVersion": version}});
            if is_settled(&self.server.ask(Method::PATCH, &path, &patch).await) {
                return true;
            }
        }
        false
    }

    /// An object as it is now, with its path. `None`: it is gone, or nothing serves it.
    async fn read(&self, key: &str) -> Option<(String, Object)> {
        let prefix = keys::resource_of(key.as_bytes())?;
        let (group, plural) = keys::group_and_plural(prefix)?;
        let registry = self.server.registry();
        let resource = registry.get(group, plural)?;
        let version = resource.versions.first()?;
        let (namespace, name) = keys::split(&key[prefix.len()..]);
        let path = resource.path(&version.name, namespace, name);
        let store = self.server.cache().store();
        let entry = store
            .get(&Bytes::copy_from_slice(key.as_bytes()))
            .await
            .ok()??;
        let object = Object::decode(&entry.value, entry.modified.0).ok()?;
        Some((path, object))
    }
}

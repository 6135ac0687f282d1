//! Where events go: to the log, and to a webhook if there is one. Each has a queue, so that no request
//! waits for a disk or for somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use bytes::Bytes;

use super::Policy;
use super::log::Log;
use super::webhook::Webhook;
use crate::clock::Clock;
use crate::config::{self, AuditLog};

/// How many bytes may wait in a queue. Events with bodies of requests are long.
const QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// Where events go. Clones share the queues.
#[derive(Clone, Debug)]
pub struct AuditSink {
    log: Option<Log>,
    webhook: Option<Webhook>,
    policy: Arc<Policy>,
}

/// How much went one way.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    waiting: AtomicUsize,
    taken: AtomicUsize,
    dropped: AtomicUsize,
}

/// How many events went one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Name of the way, as kube-apiserver calls it.
    pub plugin: &'static str,
    /// Events that were taken to be written or sent.
    pub taken: usize,
    /// Events that were not, or could not be, and are lost.
    pub dropped: usize,
}

impl AuditSink {
    /// Opens the log, and starts what writes and sends the events of which `policy` tells.
    ///
    /// # Errors
    /// When the file cannot be opened, or what the webhook is told by makes no sense.
    pub async fn open(
        settings: &config::Audit,
        policy: Policy,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let webhook = match &settings.webhook {
            Some(file) => {
                let webhook = Webhook::start(file).await;
                Some(webhook.with_context(|| format!("audit webhook {}", file.display()))?)
            }
            None => None,
        };
        let log = match &settings.log {
            AuditLog::Off => None,
            place => {
                let log = Log::open(place, settings.rotation, clock);
                Some(log.context("cannot open the audit log")?)
            }
        };
        Ok(Self {
            log,
            webhook,
            policy: Arc::new(policy),
        })
    }

    /// How many events went each way.
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        let log = self.log.iter().map(|log| log.traffic().counts("log"));
        let webhook = self.webhook.iter();
        log.chain(webhook.map(|webhook| webhook.traffic().counts("webhook")))
            .collect()
    }

    /// What is recorded; `None`: nothing, as nobody wants to know.
    pub(super) fn policy(&self) -> Option<&Policy> {
        (self.log.is_some() || self.webhook.is_some()).then_some(&*self.policy)
    }

    /// Hands over an event, unless too many wait already.
    pub(super) fn write(&self, event: &Bytes) {
        if let Some(log) = &self.log {
            log.write(event.clone());
        }
        if let Some(webhook) = &self.webhook {
            webhook.send(event.clone());
        }
    }

    /// Opens the file again, after it was moved away.
    pub fn reopen(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
    }

    /// Waits, for at most two seconds, until what was handed over is written and sent. Blocks.
    pub fn flush(&self) {
        if let Some(log) = &self.log {
            log.flush();
        }
        if let Some(webhook) = &self.webhook {
            webhook.flush();
        }
    }
}

impl Traffic {
    /// Whether there is room for an event of that length; then it waits.
    pub(super) fn admit(&self, length: usize) -> bool {
        let waiting = self.waiting.fetch_add(length, Ordering::Relaxed);
        if waiting <= QUEUED_BYTES {
            return true;
        }
        self.waiting.fetch_sub(length, Ordering::Relaxed);
        false
    }

    /// An event of that length waits no longer.
    pub(super) fn leave(&self, length: usize) {
        self.waiting.fetch_sub(length, Ordering::Relaxed);
    }

    pub(super) fn took(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lose(&self, events: usize) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }

    fn counts(&self, plugin: &'static str) -> Counts {
        Counts {
            plugin,
            taken: self.taken.load(Ordering::Relaxed),
            dropped: self.dropped(),
        }
    }
}

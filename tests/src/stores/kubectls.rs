//! kubectl in a loop, and when it has succeeded.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use testbed::clients::Kubectl;

use super::asking::eventually;
use crate::lariat::{Api, Server, write_secret};

/// kubectl, one run after the other, in a thread.
pub(super) struct Kubectls {
    stop: Arc<AtomicBool>,
    /// When each run ended, and whether it succeeded.
    runs: Arc<Mutex<Vec<(Instant, bool)>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Kubectls {
    pub(super) fn start(server: &Server<'_>, api: &Api, folder: &Path) -> Result<Self> {
        let kubeconfig = folder.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": {
                "server": server.url(), "certificate-authority": server.ca_file(),
            }}],
            "users": [{"name": "it", "user": {"token": api.token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        write_secret(&kubeconfig, &config.to_string())?;
        let program = Kubectl::Newest.path()?;
        let home = folder.to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let runs: Arc<Mutex<Vec<(Instant, bool)>>> = Arc::default();
        let (stopped, said) = (Arc::clone(&stop), Arc::clone(&runs));
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                let succeeded = run_once(&program, &kubeconfig, &home, number);
                if let Ok(mut runs) = said.lock() {
                    runs.push((Instant::now(), succeeded));
                }
            }
        });
        Ok(Self { stop, runs, thread })
    }

    /// The longest time without a success since then.
    pub(super) fn longest_gap_since(&self, since: Instant) -> Duration {
        let mut last = since;
        let mut longest = Duration::ZERO;
        let successes = self.successes();
        for success in successes.into_iter().filter(|at| *at > since) {
            longest = longest.max(success - last);
            last = success;
        }
        longest.max(last.elapsed())
    }

    /// How long after `since` the next run succeeds.
    pub(super) async fn wait_for_success(&self, since: Instant) -> Result<Duration> {
        eventually(async || {
            let successes = self.successes();
            let first = successes.into_iter().find(|at| *at > since);
            Ok(first.context("kubectl does not succeed")? - since)
        })
        .await
    }

    fn successes(&self) -> Vec<Instant> {
        let runs = self
            .runs
            .lock()
            .map(|runs| runs.clone())
            .unwrap_or_default();
        let succeeded = runs.into_iter().filter(|(_, succeeded)| *succeeded);
        succeeded.map(|(at, _)| at).collect()
    }

    /// How many ran, and how many of them failed.
    pub(super) fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let successes = self.successes().len();
        // It ends with the run that it is in.
        drop(self.thread.join());
        let all = self.runs.lock().map_or(0, |runs| runs.len());
        (all, all.saturating_sub(successes))
    }
}

/// Reads and writes: a label of a ConfigMap gets another value.
fn run_once(program: &Path, kubeconfig: &Path, home: &Path, number: u32) -> bool {
    let words = [
        "--request-timeout=5s",
        "label",
        "configmap/beside-before",
        "--overwrite",
    ];
    let status = Command::new(program)
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", home)
        .args(words)
        .arg(format!("run={number}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

//! What machines ask the server about itself.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use apiserver::error::ApiError;
use http::{Response, StatusCode};

use super::body::{Body, text, with_type};
use super::route::Probe;
use crate::authn::Identity;
use crate::authz::{Denied, may_get};
use crate::management;
use crate::state::App;

/// How long a check may take.
const CHECK: Duration = Duration::from_secs(2);

/// Something that must be well. The names and the words of the answers are those of kube-apiserver,
/// where it has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// The process answers.
    Ping,
    /// The store can be asked.
    Store,
    /// Users, tokens and clusters in memory are those of the store.
    Directory,
    /// So are the objects of the management API.
    WatchCache,
    /// The server was not told to stop.
    Shutdown,
}

impl Probe {
    fn checks(self) -> &'static [Check] {
        use Check::{Directory, Ping, Shutdown, Store, WatchCache};
        match self {
            // What a restart could mend.
            Self::Live => &[Ping],
            Self::Health => &[Ping, Store, Directory, WatchCache],
            Self::Ready => &[Ping, Store, Directory, WatchCache, Shutdown],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Health => "healthz",
            Self::Ready => "readyz",
        }
    }
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Store => "store",
            Self::Directory => "directory",
            Self::WatchCache => "watch-cache",
            Self::Shutdown => "shutdown",
        }
    }

    /// Asks. What is wrong is for everybody to read.
    async fn ask(self, app: &App) -> Result<(), &'static str> {
        let wrong = match self {
            Self::Ping => return Ok(()),
            Self::Shutdown if app.shutdown.is_cancelled() => "process is shutting down",
            Self::Shutdown => return Ok(()),
            Self::Store | Self::Directory | Self::WatchCache => {
                let asked = tokio::time::timeout(CHECK, app.store.revision()).await;
                let Ok(Ok(revision)) = asked else {
                    return Err("the store does not answer");
                };
                let (well, wrong) = match self {
                    Self::Directory => (
                        app.directory.wait_for(revision).await,
                        "the directory is behind the store",
                    ),
                    Self::WatchCache => (
                        app.api.has_seen(revision.0, CHECK).await,
                        "the watch cache is behind the store",
                    ),
                    _ => return Ok(()),
                };
                if well {
                    return Ok(());
                }
                wrong
            }
        };
        Err(wrong)
    }
}

pub(super) fn ping() -> Result<Response<Body>, ApiError> {
    Ok(text(StatusCode::OK, "pong"))
}

/// Asks all checks of a probe but those that the query excludes, or the one that is named.
pub(super) async fn probe(
    app: &Arc<App>,
    probe: Probe,
    check: &str,
    query: Option<&str>,
) -> Result<Response<Body>, ApiError> {
    let checks = probe.checks();
    if !check.is_empty() {
        let check = checks.iter().find(|known| known.name() == check);
        let Some(check) = check else {
            return Err(ApiError::no_such_path());
        };
        return Ok(match check.ask(app).await {
            Ok(()) => text(StatusCode::OK, "ok"),
            Err(wrong) => failed(format!("internal server error: {wrong}\n")),
        });
    }
    let mut excluded = BTreeSet::new();
    let mut verbose = false;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        verbose |= name == "verbose";
        if name == "exclude" {
            excluded.insert(value.into_owned());
        }
    }
    let (mut lines, mut well) = (String::new(), true);
    for check in checks {
        let name = check.name();
        // Writing to a string cannot fail.
        let _ = if excluded.remove(name) {
            writeln!(lines, "[+]{name} excluded: ok")
        } else if let Err(wrong) = check.ask(app).await {
            well = false;
            tracing::debug!(probe = probe.name(), check = name, wrong, "check failed");
            writeln!(lines, "[-]{name} failed: reason withheld")
        } else {
            writeln!(lines, "[+]{name} ok")
        };
    }
    if !excluded.is_empty() {
        let names: Vec<_> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(",");
        let _ = writeln!(
            lines,
            "warn: some health checks cannot be excluded: no matches for {names}"
        );
    }
    let name = probe.name();
    if !well {
        return Ok(failed(format!("{lines}{name} check failed\n")));
    }
    if !verbose {
        return Ok(text(StatusCode::OK, "ok"));
    }
    Ok(text(
        StatusCode::OK,
        format!("{lines}{name} check passed\n"),
    ))
}

fn failed(lines: String) -> Response<Body> {
    text(StatusCode::INTERNAL_SERVER_ERROR, lines)
}

/// The CA certificates that clients must trust; empty when the platform's roots do.
pub(super) fn ca_certificates(app: &App) -> Result<Response<Body>, ApiError> {
    let pem = app.certificates.trusted().to_string();
    Ok(with_type(StatusCode::OK, "text/plain; charset=utf-8", pem))
}

/// Rancher's name of what stands for the metrics of the server in rules.
const METRICS: &str = "ranchermetrics";

pub(super) fn metrics(app: &App, identity: &Identity) -> Result<Response<Body>, ApiError> {
    if !may_get(app, &management::user(identity), METRICS, "") {
        let why =
            "metrics are for administrators and for who has the global role view-rancher-metrics";
        return Err(Denied(why.to_owned()).into());
    }
    let page = app.metrics.encode().map_err(ApiError::internal)?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(with_type(StatusCode::OK, media_type, page))
}

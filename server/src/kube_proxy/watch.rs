//! Watches outlive the answer by which they began: when that breaks off, because the agent was restarted or its session
//! was lost, the cluster is asked for the rest, and the client sees nothing of it but a pause. So a thousand informers do
//! not list everything again.
//!
//! The events are read beside the copying ([`events`]): what is passed on is what was sent, cut where an event ends. A watch
//! that cannot be continued ends as it would have without this.

mod asked;
mod body;
mod course;
mod events;
mod expired;
mod held;
mod origin;

use std::sync::Arc;

use http::response::Parts;
use http::{Method, Request, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tunnel::http::{AnswerBody, end_watch_when};

use super::bodies;
use crate::authz::Ongoing;
use crate::edge::Body;
use crate::tunnels::Tunnel;
use asked::Asked;
use body::Watch;
use events::Format;
use held::Held;
use origin::{Carried, Headers, Origin};

/// What all watches of clusters share. Clones share it as well.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    resumed: Family<OutcomeLabel, Counter>,
    held: Held,
}

/// How it ended that a watch broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    /// It goes on.
    Resumed,
    /// The cluster remembers too little: the client was told, and lists again.
    Expired,
    /// The cluster answered otherwise, or the user may watch it no more.
    Refused,
    /// No session came, or no answer, in the time there is; or it broke off again and again.
    GivenUp,
    /// Nobody knows up to where the client was told.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

impl Watches {
    /// Adds the metrics of watches that were continued, and of what is held back for that.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Watches of clusters whose answer broke off, by what came of it";
        registry.register("watches_resumed", help, self.resumed.clone());
        let help = "Bytes of events of watches that are held back until they are whole";
        registry.register("watches_held_bytes", help, self.held.gauge());
    }

    fn count(&self, outcome: Outcome) {
        let label = OutcomeLabel { outcome };
        self.resumed.get_or_create(&label).inc();
    }
}

/// A request for a watch, as far as it takes to make it again.
pub(super) struct Kept {
    asked: Asked,
    headers: Headers,
}

impl Kept {
    /// Keeps what goes to the agent. `None` for one that brings a body, or wants another connection.
    pub(super) fn of(request: &Request<Incoming>) -> Option<Self> {
        let is_plain = request.method() == Method::GET
            && request.body().is_end_stream()
            && !request.headers().contains_key(header::UPGRADE);
        let path_and_query = request.uri().path_and_query().filter(|_| is_plain)?;
        Some(Self {
            asked: Asked::new(path_and_query.as_str()),
            headers: Headers::copy(request.headers())?,
        })
    }
}

/// The body of the answer to a watch: it goes on while the user may watch, and until the server stops.
pub(super) fn response(
    kept: Option<Kept>,
    answer: &Parts,
    body: AnswerBody,
    tunnel: Arc<Tunnel>,
    ongoing: Arc<Ongoing>,
) -> Body {
    let shutdown = ongoing.app.shutdown.clone();
    let (Some(kept), Some(format)) = (kept, format_of(answer)) else {
        let body = bodies::response(body, ongoing);
        return end_watch_when(body, shutdown).boxed_unsync();
    };
    let watches = ongoing.app.watches.clone();
    let origin = Origin::new(Arc::clone(&ongoing), kept.headers, &tunnel, format);
    let first = Carried::new(body, tunnel);
    let body = Watch::new(watches, origin, kept.asked, format, first);
    end_watch_when(bodies::response(body, ongoing), shutdown).boxed_unsync()
}

/// How the events of an answer are written, if they can be read.
fn format_of(answer: &Parts) -> Option<Format> {
    let headers = &answer.headers;
    if answer.status != StatusCode::OK || headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    let media_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Format::of(media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_watch_is_small() {
        let size = size_of::<Watch<Origin>>();
        assert!(size <= 640, "{size} bytes");
    }
}

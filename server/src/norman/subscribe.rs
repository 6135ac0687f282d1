//! `/v3/subscribe`: objects as they change, over a WebSocket.
//!
//! Nothing waits in between: a change is taken from the watch when the client can take it, and a watch whose
//! client is too slow begins again.

mod watched;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use apiserver::error::ApiError;
use futures::stream::{SelectAll, select_all};
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::caller::Caller;
use super::kinds::Type;
use super::place::Scope;
use crate::edge::{Body, empty};
use watched::{Changes, changes};

/// How often a client is told that the connection works. Clients of Rancher expect it.
const PING: Duration = Duration::from_secs(5);

/// How long a message may take to be sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client may say nothing at all: it answers pings of the protocol.
const SILENCE: Duration = Duration::from_secs(60);

/// Longest message of a client, in bytes. It has nothing to say.
const LONGEST: usize = 4096;

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Answers the upgrade. What follows lives in a task until the client goes, its token ends or the server
/// stops.
///
/// # Errors
/// 404 for types that are not there or not to be seen, 400 for what is no WebSocket.
pub(super) fn open(
    caller: Caller,
    scope: &Scope,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    if *scope != Scope::All {
        return Err(super::nothing_here());
    }
    let types = wanted(&caller, request.uri().query());
    if types.is_empty() {
        let message = "resourceTypes names no type that you may list";
        return Err(ApiError::new(StatusCode::NOT_FOUND, "NotFound", message));
    }
    let response = create_response_with_body(&request, empty).map_err(|error| {
        ApiError::bad_request(format!(
            "this address is for WebSockets (RFC 6455): {error}"
        ))
    })?;
    let upgrade = hyper::upgrade::on(&mut request);
    let caller = Arc::new(caller);
    let tasks = caller.app.tasks.clone();
    tasks.spawn(async move {
        let reason = serve(&caller, types, upgrade).await;
        caller.context.audit.set_reason(reason);
    });
    Ok(response)
}

/// The types that the query names and the caller may list; all of those if it names none.
fn wanted(caller: &Caller, query: Option<&str>) -> Vec<Type> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let named = pairs.filter(|(name, _)| name == "resourceTypes");
    let named: HashSet<_> = named.map(|(_, value)| value.to_lowercase()).collect();
    let all = Type::all(&caller.app.api.registry()).into_iter();
    all.filter(|of| !of.is_inside())
        .filter(|of| named.is_empty() || named.contains(&of.id.to_lowercase()))
        .filter(|of| caller.may_somewhere("list", of, &Scope::All))
        .collect()
}

/// Sends changes until there is a reason to end, which is returned.
async fn serve(caller: &Arc<Caller>, types: Vec<Type>, upgrade: OnUpgrade) -> &'static str {
    let Ok(upgraded) = upgrade.await else {
        return "the client did not upgrade";
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST));
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let streams = types.into_iter().map(|of| changes(Arc::clone(caller), of));
    let reason = tokio::select! {
        reason = forward(&mut socket, select_all(streams)) => reason,
        () = caller.who.until_ended(&caller.app.clock) => "the token is no longer good",
        () = caller.app.shutdown.cancelled() => "the server is stopping",
    };
    // The client may be gone already.
    let _ = timeout(PATIENCE, socket.close(None)).await;
    reason
}

async fn forward(socket: &mut Socket, mut changes: SelectAll<Changes>) -> &'static str {
    let mut ticks = interval(PING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let sent = tokio::select! {
            said = socket.next() => match said {
                Some(Ok(Message::Close(_))) | None => return "the client left",
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
                Some(Err(_)) => return "the connection broke",
            },
            changed = changes.next() => match changed {
                Some(changed) => send(socket, &changed).await,
                None => return "nothing is left to watch",
            },
            _ = ticks.tick() => {
                if heard.elapsed() > SILENCE {
                    return "the client does not answer";
                }
                ping(socket).await
            }
        };
        if sent.is_err() {
            return "the client takes nothing any more";
        }
    }
}

/// Tells that the connection works, and asks whether the client is there.
async fn ping(socket: &mut Socket) -> Result<(), Error> {
    send(socket, &json!({"name": "ping", "data": {}})).await?;
    let asked = socket.send(Message::Ping(Vec::new().into()));
    timeout(PATIENCE, asked)
        .await
        .unwrap_or(Err(Error::ConnectionClosed))
}

async fn send(socket: &mut Socket, event: &Value) -> Result<(), Error> {
    let text = Utf8Bytes::from(event.to_string());
    let sent = socket.send(Message::Text(text));
    timeout(PATIENCE, sent)
        .await
        .unwrap_or(Err(Error::ConnectionClosed))
}

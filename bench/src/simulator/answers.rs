//! What a simulated agent answers to the server's streams, in the name of an API server that is not there.

use super::{agent::Simulated, slow::Slow};
use crate::{
    backend,
    cluster::{self, Answer, Cluster},
};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::task::TaskTracker;
use tunnel::http::Asker;
use tunnel::session::{self, Session};
use tunnel_proto::stream::{RefusalReason, Target};

/// Where answers of a chosen size are, and where sizes are counted.
pub const PAYLOAD: &str = "/simulated/payload";

/// A byte of a payload.
pub const FILLING: u8 = 0x5a;

/// How often a log has another line.
const LINE: Duration = Duration::from_millis(100);

/// Pieces of long answers.
const PIECE: u64 = 64 * 1024;

/// Most bytes of an answer that a request may ask for.
const MOST: u64 = 1 << 30;

/// Serves the objects of a cluster, or none, to every stream of a session.
pub(super) async fn serve_objects(
    session: Session,
    cluster: Option<Arc<Cluster>>,
    tasks: TaskTracker,
) {
    while let Some(incoming) = session.accept().await {
        let cluster = cluster.clone();
        tasks.spawn(async move {
            let inbound = incoming.preamble().await?;
            if inbound.open.target != Target::KubeApi {
                inbound.refuse(RefusalReason::NotServed, "simulated").await;
                return Ok(());
            }
            backend::serve(inbound.accept().await?, cluster).await?;
            anyhow::Ok(())
        });
    }
}

/// Answers every stream of a session as the agent behaves.
pub(super) async fn answer(agent: Arc<Simulated>, session: Session, tasks: TaskTracker) {
    while let Some(incoming) = session.accept().await {
        agent.took_stream();
        let (agent, over) = (Arc::clone(&agent), session.over().clone());
        let answering = tasks.clone();
        let answered = async move {
            let inbound = incoming.preamble().await?;
            if inbound.open.target != Target::KubeApi {
                inbound.refuse(RefusalReason::NotServed, "simulated").await;
            } else if agent.behaviour().rejects {
                inbound.refuse(RefusalReason::DialFailed, "simulated").await;
            } else {
                let stream = inbound.accept().await?;
                if agent.behaviour().silent {
                    over.cancelled().await;
                    return Ok(());
                }
                serve(stream, &agent, &answering).await?;
            }
            anyhow::Ok(())
        };
        tasks.spawn(answered);
    }
}

async fn serve(
    stream: session::Stream,
    agent: &Arc<Simulated>,
    tasks: &TaskTracker,
) -> hyper::Result<()> {
    let io = TokioIo::new(Slow::new(stream, agent.behaviour().read));
    let service = service_fn(move |mut request| async move {
        let asker = Asker::of(&mut request);
        let response = respond(request, agent).await;
        Ok::<_, Infallible>(asker.answer(response, tasks))
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(io, service)
        .with_upgrades()
        .await
}

async fn respond(request: Request<Incoming>, agent: &Simulated) -> Answer {
    let behaviour = agent.behaviour();
    let wait = behaviour.answer.draw(&mut rand::rng());
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    let path = request.uri().path();
    if agent.forbids() && path.starts_with("/api") {
        return cluster::status(StatusCode::FORBIDDEN, "Forbidden");
    }
    if request.headers().contains_key(header::UPGRADE) {
        return echo(request);
    }
    if path == PAYLOAD {
        return match *request.method() {
            Method::GET => {
                let asked = request.uri().query().and_then(|query| {
                    let bytes = query.strip_prefix("bytes=")?;
                    bytes.parse::<u64>().ok()
                });
                let bytes = asked.unwrap_or_else(|| behaviour.draw_payload(&mut rand::rng()));
                filled(bytes.min(MOST))
            }
            _ => count(request.into_body()).await,
        };
    }
    if path.starts_with("/api/") && path.ends_with("/log") {
        return log();
    }
    backend::answer(request, Some(agent.cluster())).await
}

/// So many bytes.
fn filled(bytes: u64) -> Answer {
    let piece = Bytes::from(vec![FILLING; PIECE.min(bytes) as usize]);
    let pieces = stream::unfold((bytes, piece), |(left, piece)| async move {
        let next = left.min(PIECE);
        let data = piece.slice(..next as usize);
        (next > 0).then(|| (Ok(Frame::data(data)), (left - next, piece)))
    });
    Response::new(StreamBody::new(pieces).boxed_unsync())
}

/// How many bytes the body has.
async fn count(mut body: Incoming) -> Answer {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    Response::new(Full::new(Bytes::from(bytes.to_string())).boxed_unsync())
}

/// A log that has another line every so often, each with the number after the one before, without end.
fn log() -> Answer {
    let lines = stream::unfold(0_u64, |number| async move {
        tokio::time::sleep(LINE).await;
        let line = Bytes::from(format!("{number}\n"));
        Some((Ok(Frame::data(line)), number + 1))
    });
    Response::new(StreamBody::new(lines).boxed_unsync())
}

/// Takes what the client wants to speak instead of HTTP, and sends back whatever comes.
fn echo(mut request: Request<Incoming>) -> Answer {
    let protocol = request.headers().get(header::UPGRADE).cloned();
    let upgraded = hyper::upgrade::on(&mut request);
    // It ends with its stream, and so with the session.
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgraded.await?);
        let mut piece = vec![0; PIECE as usize];
        loop {
            let read = io.read(&mut piece).await?;
            if read == 0 {
                io.shutdown().await?;
                return anyhow::Ok(());
            }
            io.write_all(&piece[..read]).await?;
            io.flush().await?;
        }
    });
    let mut answer = Response::new(Full::default().boxed_unsync());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
    }
    answer
}

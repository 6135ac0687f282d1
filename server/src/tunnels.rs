//! Sessions of agents: who may open one, which one serves a cluster, whether it works.

mod admission;
mod arrivals;
mod explain;
mod figures;
mod health;
mod history;
mod key;
mod registration;
mod registry;

pub(crate) use explain::{asked_for, explain};
pub(crate) use figures::name_of;
pub(crate) use health::record;
pub use registry::Tunnels;
pub(crate) use registry::{NoTunnel, Tunnel};

use std::sync::Arc;

use apiserver::error::ApiError;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use lariat_api::ClusterId;
use tracing::{Instrument as _, info, info_span, warn};
use tunnel::accept::{AcceptError, Accepted, Upgrade, UpgradeError, Verified};
use tunnel::session::{Driver, End, Phase, Session};
use tunnel_proto::frame::CloseCode;
use tunnel_proto::hello::Lane;
use tunnel_proto::stream::RefusalReason;

use crate::controllers;
use crate::edge::{Body, RequestContext, empty, full};
use crate::state::App;
use admission::{Handshake, Later};
use figures::Outcome;
use history::Problem;
use registry::Arrived;

/// An agent opens a tunnel: the upgrade is answered here, the session lives in a task.
pub(crate) async fn connect(
    app: &Arc<App>,
    mut request: Request<Incoming>,
    context: RequestContext,
) -> Result<Response<Body>, ApiError> {
    let (response, upgrade) = match app.tunnels.acceptor().upgrade(&request) {
        Ok(answered) => answered,
        Err(error) => return Ok(refused_upgrade(error)),
    };
    let handshake = match app.tunnels.admission.begin() {
        Ok(handshake) => handshake,
        Err(Later(seconds)) => {
            let message =
                format!("too many agents are connecting at once; come again in {seconds} s");
            return Err(ApiError::unavailable(message, seconds));
        }
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let span = info_span!("tunnel", peer = %context.connection.peer, id = %context.id);
    let owner = Arc::clone(app);
    let task = async move {
        let io = match upgraded.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => {
                owner.tunnels.figures.connected(Outcome::Failed);
                return warn!(%error, "upgrade failed");
            }
        };
        // Boxed, so that a session does not keep the room of its handshake.
        let accepted = Box::pin(accept(&owner, io, &upgrade, &context, &handshake)).await;
        drop(handshake);
        let outcome = match &accepted {
            Ok((accepted, _)) if accepted.driver.is_some() => Outcome::New,
            Ok((accepted, _)) if accepted.verified.hello.lane == Lane::Bulk => Outcome::Bulk,
            Ok(_) => Outcome::Resumed,
            Err(error) => Outcome::of(error),
        };
        owner.tunnels.figures.connected(outcome);
        match accepted {
            Ok((accepted, cluster)) => match accepted.driver {
                Some(driver) => {
                    let new = New {
                        session: accepted.session,
                        driver,
                        verified: accepted.verified,
                        cluster,
                    };
                    // A task of its own, so that a session does not keep the room of this one.
                    let running = run(Arc::clone(&owner), new, context);
                    owner.tasks.spawn(running.in_current_span());
                }
                None => resumed(&owner, &accepted, &cluster, &context),
            },
            Err(error) => {
                let error = anyhow::Error::from(error);
                context.audit.set_reason(&format!("{error:#}"));
                warn!("agent was not taken: {error:#}");
            }
        }
    };
    app.tasks.spawn(task.instrument(span));
    Ok(response.map(|()| empty()))
}

fn refused_upgrade(error: UpgradeError) -> Response<Body> {
    let refusal = ApiError::new(error.status(), "UpgradeRequired", error.to_string());
    let mut response = refusal.into_response().map(full);
    response.headers_mut().extend(error.headers());
    response
}

async fn accept(
    app: &Arc<App>,
    io: TokioIo<hyper::upgrade::Upgraded>,
    upgrade: &Upgrade,
    context: &RequestContext,
    handshake: &Handshake,
) -> Result<(Accepted, ClusterId), AcceptError> {
    let channel = context
        .connection
        .channel
        .as_ref()
        .map(<[u8; 32]>::as_slice);
    let admit = |verified: Verified| async move {
        let admitted = async {
            let _turn = handshake.turn().await;
            registration::admit(app, &verified.hello).await
        };
        tokio::select! {
            admission = admitted => admission,
            () = app.shutdown.cancelled() => Err(registration::leaving()),
        }
    };
    let accepted = app
        .tunnels
        .acceptor()
        .accept(io, upgrade, channel, admit)
        .await?;
    // The admission named the cluster by its id.
    let cluster = registration::bound_cluster(&accepted)?;
    Ok((accepted, cluster))
}

/// A session that has just begun.
struct New {
    session: Session,
    driver: Driver,
    verified: Verified,
    cluster: ClusterId,
}

/// A lane of a session has another carrier, or its first; the session's task goes on with it.
fn resumed(app: &App, accepted: &Accepted, cluster: &ClusterId, context: &RequestContext) {
    let session = &accepted.session;
    context.audit.set_cluster(cluster);
    if accepted.verified.hello.lane == Lane::Bulk {
        context.audit.set_reason("bulk lane");
        let begun = session.bulk().begun;
        info!(%cluster, session = session.id(), begun, "session has a connection for bulk");
        return;
    }
    app.tunnels.moved(cluster, session, context.connection.peer);
    context.audit.set_reason("resumed");
    let lost = session.lane().last_loss.unwrap_or_default();
    info!(%cluster, session = session.id(), lost, "session goes on over another connection");
}

/// Lives as long as the session. What it is made of is taken apart before, so that nothing of it is held twice.
fn run(app: Arc<App>, new: New, context: RequestContext) -> impl Future<Output = ()> + Send {
    let New {
        session,
        driver,
        verified,
        cluster,
    } = new;
    let mut driver = Box::pin(driver);
    async move {
        context.audit.set_cluster(&cluster);
        info!(%cluster, session = session.id(), software = verified.hello.software,
        channel_bound = ?verified.channel_bound, "agent connected");
        let tunnel = app.tunnels.add(
            &cluster,
            &session,
            &Arrived {
                hello: &verified.hello,
                channel_bound: verified.channel_bound,
                peer: context.connection.peer,
                now: app.clock.now(),
            },
        );
        let watching = health::watch(&app, &cluster, &tunnel, &verified.hello);
        let controlling = async {
            tunnel.settled.cancelled().await;
            controllers::keep(&app, &cluster, &tunnel).await;
        };
        let leaving = leave(&app, &cluster, &tunnel);
        let end = {
            let refusing = refuse_streams(&session);
            let counting = count_losses(&app, &cluster, &tunnel);
            let beside = std::pin::pin!(futures::future::join5(
                watching,
                controlling,
                leaving,
                refusing,
                counting,
            ));
            match futures::future::select(driver.as_mut(), beside).await {
                futures::future::Either::Left((end, _)) => end,
                futures::future::Either::Right((_, driver)) => driver.await,
            }
        };
        app.tunnels.figures.settle(&cluster, &tunnel);
        app.tunnels.remove(&cluster, &session);
        info!(%cluster, session = session.id(), "agent disconnected: {end}");
        if app.directory.cluster(&cluster).is_none() {
            app.tunnels.history.forget(&cluster);
            app.journal.forget(&cluster);
        } else {
            let because = ended_because(&end);
            let problem = Problem::new(app.clock.now(), "SessionEnded", &because);
            app.tunnels.note(&cluster, problem);
        }
        context.audit.set_reason(&end.to_string());
        if app.tunnels.get(&cluster).is_none() {
            Box::pin(health::record_disconnect(&app, &cluster, &end)).await;
        }
    }
}

/// Counts the connections that a session loses, as soon as it does.
async fn count_losses(app: &App, cluster: &ClusterId, tunnel: &Tunnel) {
    let mut attached = tunnel.session.attached();
    while attached.changed().await.is_ok() {
        app.tunnels.figures.settle(cluster, tunnel);
    }
}

/// Agents have nothing to open here yet: each stream is answered so, at once.
async fn refuse_streams(session: &Session) {
    while let Some(incoming) = session.accept().await {
        let refused = async {
            if let Ok(inbound) = incoming.preamble().await {
                let message = "this server serves no streams of agents";
                inbound.refuse(RefusalReason::NotServed, message).await;
            }
        };
        Box::pin(refused).await;
    }
}

/// When the server or the agent stops, what runs may finish, and then this side closes the session:
/// it has opened the streams, and knows when they were read to their ends. When the agent is replaced
/// it is closed at once, and when the cluster is deleted, as soon as what was made there is gone.
async fn leave(app: &Arc<App>, cluster: &ClusterId, tunnel: &Tunnel) {
    let session = &tunnel.session;
    let drained = async {
        let mut phase = session.phase();
        let reason = tokio::select! {
            () = app.shutdown.cancelled() => {
                session.drain(app.config.drain_timeout, "the server is stopping");
                app.tunnels.remove(cluster, session);
                "the server is stopping"
            }
            _ = phase.wait_for(|phase| *phase != Phase::Live) => "drained",
        };
        tokio::select! {
            () = session.idle() => reason,
            () = app.cut.cancelled() => reason,
        }
    };
    tokio::select! {
        reason = drained => session.close(CloseCode::Normal, reason),
        () = registration::revoked(app, cluster, session) => {
            if app.directory.cluster(cluster).is_none() {
                tunnel.cleared.cancelled().await;
            }
            session.close(CloseCode::Revoked, "the cluster no longer knows this agent");
        }
    }
}

/// Why the last session of a cluster ended, for people.
fn ended_because(end: &End) -> String {
    match end {
        End::ClosedByPeer { reason, .. } => format!("the agent closed the session: {reason}"),
        other => format!("the session ended: {other}"),
    }
}

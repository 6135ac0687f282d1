//! A server that is stopped and started again while somebody asks all the time.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod agents;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use agents::{Running, connect, mirror, serve, until, within};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tunnel::dial::{Dialer, Introduction};
use tunnel::identity::KeyPair;
use tunnel::session::Phase;
use tunnel_proto::hello::AgentKind;

/// Dials again whenever a session is over or about to be, as the agent in a cluster does.
async fn keep_connected(dialer: Dialer, key: KeyPair, token: String) {
    let introduction = Introduction {
        agent: AgentKind::Cluster {
            cluster_uid: None,
            kubernetes_version: None,
        },
        software: "test/0".into(),
        instance: "i".into(),
        registration_token: Some(token),
    };
    loop {
        let Ok(mut connected) = dialer.dial(&key, &introduction).await else {
            tokio::task::yield_now().await;
            continue;
        };
        loop {
            let session = connected.session.clone();
            tokio::spawn(connected.driver);
            serve(&session, mirror);
            let _ = session
                .phase()
                .wait_for(|phase| *phase != Phase::Live)
                .await;
            match session.take_successor() {
                Some(successor) => connected = *successor,
                None => break,
            }
        }
    }
}

/// What became of the requests.
#[derive(Default)]
struct Asked {
    answered: AtomicUsize,
    /// Whether a server is stopping, and so may send people away.
    leaving: AtomicBool,
    over: AtomicBool,
}

/// Asks a cluster again and again, each time over a new connection. What no server has taken is asked again.
async fn ask(port: u16, ca: String, token: String, asked: Arc<Asked>) {
    while !asked.over.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
        let Ok(mut client) = connect(port, &ca, "localhost").await else {
            continue;
        };
        let request = Request::get("/k8s/clusters/c-1/api")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default().boxed_unsync())
            .unwrap();
        let Ok(response) = client.send_request(request).await else {
            continue;
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        let sent_away = asked.leaving.load(Ordering::SeqCst)
            && parts.status == StatusCode::SERVICE_UNAVAILABLE
            && parts.headers.contains_key(header::RETRY_AFTER);
        if !sent_away {
            assert_eq!(parts.status, StatusCode::OK, "{body:?}");
            assert!(body.unwrap().starts_with(b"GET /api\n"));
            asked.answered.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A copy of a server's folder. A process keeps its hold on a store until its end, and this one goes on.
fn copy_of(folder: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
            if kind.is_dir() {
                std::fs::create_dir(&to).unwrap();
                copy(&entry.path(), &to);
            } else if kind.is_file() {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let place = tempfile::tempdir().unwrap();
    copy(folder, place.path());
    place
}

#[test]
fn a_restart_fails_no_request_that_a_server_has_taken() {
    // Each server has a runtime of its own, so that nothing of the first runs when the second starts.
    let [first, second, outside] = [(); 3].map(|()| Runtime::new().unwrap());
    let server = first.block_on(Running::start());
    let registration = first.block_on(async {
        server.cluster("c-1").await;
        server.registration("c-1", "t").await
    });
    let (port, ca, token) = (server.port, server.ca.clone(), server.token.clone());
    let key = KeyPair::generate().unwrap();
    let agent = outside.spawn(keep_connected(server.dialer(), key, registration));
    let id = "c-1".parse().unwrap();
    outside.block_on(until(|| server.app.tunnels.get(&id).is_some()));
    let asked = Arc::new(Asked::default());
    let asking = outside.spawn(ask(port, ca, token, Arc::clone(&asked)));
    let some_more = || {
        let before = asked.answered.load(Ordering::SeqCst);
        let is_over = || asking.is_finished();
        let more = until(|| is_over() || asked.answered.load(Ordering::SeqCst) >= before + 20);
        outside.block_on(more);
    };
    some_more();
    asked.leaving.store(true, Ordering::SeqCst);
    let data = first.block_on(server.end());
    first.shutdown_timeout(Duration::from_secs(10));
    asked.leaving.store(false, Ordering::SeqCst);
    let server = second.block_on(Running::start_in(copy_of(data.path()), port, &[]));
    some_more();
    asked.over.store(true, Ordering::SeqCst);
    outside.block_on(within(asking)).unwrap();
    agent.abort();
    second.block_on(server.end());
}

//! Who waits when many connect at once.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod agents;

use agents::{Running, within};
use http_body_util::{BodyExt as _, Empty};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tunnel::identity::KeyPair;

/// A connection that looks like an agent's, and says nothing after its first message.
async fn stalled(port: u16) -> TcpStream {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tcp.write_all(&hello).await.unwrap();
    tcp
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_wait_for_their_turn_and_people_do_not() {
    let server = Running::start().await;
    server.cluster("c-1").await;
    let token = server.registration("c-1", "t").await;
    let key = KeyPair::generate().unwrap();
    server.dial(&key, Some(&token)).await.unwrap();
    let cores = available_parallelism().map_or(1, NonZero::get);
    let many = 512 * cores + 20;
    let stalled: Vec<_> = futures::future::join_all((0..many).map(|_| stalled(server.port))).await;
    agents::until(|| server.app.tunnels.outside() == 20).await;
    {
        let dialled = server.dial(&key, None);
        let mut dialled = std::pin::pin!(dialled);
        let asked = async {
            let mut people = server.client("localhost").await;
            let request = server.request("GET", "/readyz");
            let body = Empty::new().boxed_unsync();
            people.send_request(request.body(body).unwrap()).await
        };
        tokio::select! {
            _ = &mut dialled => panic!("the agent was before those that came first"),
            answer = within(asked) => assert_eq!(answer.unwrap().status(), 200),
        }
        // Those that say nothing keep nobody out for long.
        within(dialled).await.unwrap();
    }
    assert_eq!(server.app.tunnels.outside(), 0);
    drop(stalled);
}

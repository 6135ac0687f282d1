//! Sessions that outlive their carriers.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;
use support::{Server, acceptor, dial, echo, open_to, relay::Relay, serve_streams, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tunnel::{
    accept::Acceptor,
    dial::Dialer,
    session::{End, Phase, Session},
};
use tunnel_proto::{hello::YAMUX, stream::Target};

struct World {
    relay: Relay,
    server: Server,
    near: Session,
    agent: Session,
}

fn through(server: &Server, relay: &Relay) -> Dialer {
    let mut dialer = server.dialer();
    dialer.server = format!("https://localhost:{}", relay.port).parse().unwrap();
    dialer
}

async fn world(acceptor: Acceptor) -> World {
    let mut server = Server::start(acceptor, |_| Ok(())).await;
    let relay = Relay::start(server.address).await;
    let agent = dial(&through(&server, &relay)).await.unwrap();
    tokio::spawn(agent.driver);
    let accepted = server.accepted().await.unwrap();
    tokio::spawn(accepted.driver.unwrap());
    World {
        relay,
        server,
        near: accepted.session,
        agent: agent.session,
    }
}

async fn attached(session: &Session, wanted: bool) {
    let mut attached = session.attached();
    within(attached.wait_for(|now| *now == wanted))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_transfer_both_ways_survives_many_cuts_byte_for_byte() {
    let world = world(acceptor()).await;
    serve_streams(&world.agent, echo);
    let stream = world.near.open(&open_to(Target::KubeApi)).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let sent: Vec<u8> = (0..30_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        for piece in sent.chunks(300_000) {
            write.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        write.shutdown().await.unwrap();
    });
    let cutting = async {
        loop {
            tokio::time::sleep(Duration::from_millis(60)).await;
            world.relay.cut();
            attached(&world.agent, true).await;
        }
    };
    let mut received = Vec::new();
    tokio::select! {
        read = within(read.read_to_end(&mut received)) => { read.unwrap(); }
        () = cutting => {}
    }
    writing.await.unwrap();
    assert!(received == expected, "{} bytes", received.len());
    let lane = world.near.stats().lane;
    assert!(lane.carriers > 3, "{lane:?}");
    assert_eq!(world.server.known.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_written_while_there_is_no_carrier_arrives_when_there_is_one() {
    let world = world(acceptor()).await;
    serve_streams(&world.agent, echo);
    let mut stream = world.near.open(&open_to(Target::KubeApi)).await.unwrap();
    within(stream.confirmed()).await.unwrap();
    world.relay.go_down();
    attached(&world.near, false).await;
    attached(&world.agent, false).await;
    stream.write_all(b"into the dark").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut opened_in_the_dark = world.near.open(&open_to(Target::KubeApi)).await.unwrap();
    opened_in_the_dark.write_all(b"me too").await.unwrap();
    world.relay.heal();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "into the dark");
    let mut answer = [0; 6];
    within(opened_in_the_dark.read_exact(&mut answer))
        .await
        .unwrap();
    assert_eq!(&answer, b"me too");
}

#[tokio::test]
async fn a_session_that_finds_no_carrier_in_time_ends_on_both_sides() {
    let mut short = acceptor();
    short.resume_window = Duration::from_millis(300);
    let world = world(short).await;
    let mut stream = world.near.open(&open_to(Target::KubeApi)).await.unwrap();
    world.relay.go_down();
    for session in [&world.near, &world.agent] {
        let mut phase = session.phase();
        let closed = within(phase.wait_for(|phase| matches!(phase, Phase::Closed(_)))).await;
        let closed = closed.unwrap().clone();
        assert!(
            matches!(closed, Phase::Closed(End::CarrierLost(_))),
            "{closed:?}"
        );
    }
    assert!(within(stream.read_u8()).await.is_err());
}

#[tokio::test]
async fn an_agent_whose_session_was_forgotten_gets_a_new_one_in_the_same_handshake() {
    let mut world = world(acceptor()).await;
    world.server.known.lock().unwrap().clear();
    world.relay.cut();
    within(world.agent.over().cancelled()).await;
    let closed = world.agent.phase().borrow().clone();
    assert!(
        matches!(closed, Phase::Closed(End::Forgotten(_))),
        "{closed:?}"
    );
    let next = world.agent.take_successor().unwrap();
    tokio::spawn(next.driver);
    let accepted = world.server.accepted().await.unwrap();
    assert_eq!(accepted.session.id(), next.session.id());
    tokio::spawn(accepted.driver.unwrap());
    serve_streams(&next.session, echo);
    let mut stream = accepted
        .session
        .open(&open_to(Target::KubeApi))
        .await
        .unwrap();
    within(stream.confirmed()).await.unwrap();
    // And it outlives its carriers as the first one did.
    world.relay.cut();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'x');
}

#[tokio::test]
async fn without_a_resume_window_a_lost_carrier_ends_the_session_at_once() {
    let mut none = acceptor();
    none.resume_window = Duration::ZERO;
    let world = world(none).await;
    world.relay.cut();
    within(world.agent.over().cancelled()).await;
    within(world.near.over().cancelled()).await;
    assert!(world.agent.take_successor().is_none());
}

#[tokio::test]
async fn an_agent_that_knows_yamux_only_is_served_and_resumes_as_well() {
    let mut server = Server::start(acceptor(), |_| Ok(())).await;
    let relay = Relay::start(server.address).await;
    let mut dialer = through(&server, &relay);
    dialer.muxes = vec![YAMUX.to_owned()];
    let agent = dial(&dialer).await.unwrap();
    tokio::spawn(agent.driver);
    let accepted = server.accepted().await.unwrap();
    tokio::spawn(accepted.driver.unwrap());
    assert_eq!(accepted.session.mux(), YAMUX);
    serve_streams(&agent.session, echo);
    let mut stream = accepted
        .session
        .open(&open_to(Target::KubeApi))
        .await
        .unwrap();
    let mut got = [0; 5_000];
    for _ in 0..5 {
        stream.write_all(&[7; 5_000]).await.unwrap();
        relay.cut();
        within(stream.read_exact(&mut got)).await.unwrap();
        assert_eq!(got, [7; 5_000]);
    }
}

//! The second lane of a session: it comes at need, and neither lane hurts the other.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};
use support::{Server, acceptor, dial, echo, open_to, relay::Relay, serve_streams, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tunnel::{
    accept::{AcceptError, Acceptor},
    dial::Dialer,
    session::{Phase, Session, Stream},
};
use tunnel_proto::{
    frame::CloseCode,
    hello::{RejectionCode, YAMUX},
    stream::{Class, OpenV1, Target},
};

struct World {
    relay: Relay,
    server: Server,
    near: Session,
    agent: Session,
}

async fn world_with(acceptor: Acceptor, change: impl FnOnce(&mut Dialer)) -> World {
    let mut server = Server::start(acceptor, |_| Ok(())).await;
    let relay = Relay::start(server.address).await;
    let mut dialer = server.dialer();
    dialer.server = format!("https://localhost:{}", relay.port).parse().unwrap();
    change(&mut dialer);
    let agent = dial(&dialer).await.unwrap();
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

async fn world() -> World {
    world_with(acceptor(), |_| {}).await
}

fn bulk() -> OpenV1 {
    OpenV1 {
        class: Class::Bulk,
        ..open_to(Target::KubeApi)
    }
}

async fn attached(session: &Session, wanted: bool) {
    let mut attached = session.attached();
    let attached = within(attached.wait_for(|now| *now == wanted)).await;
    drop(attached.unwrap());
}

/// Asks whether a condition holds until it does.
async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(wait).await;
}

async fn answers(stream: &mut Stream) {
    stream.write_all(b"?").await.unwrap();
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'?');
}

#[tokio::test]
async fn a_stream_that_carries_a_lot_brings_the_lane_whoever_opens_it() {
    for from_server in [true, false] {
        let world = world().await;
        let (opener, other) = match from_server {
            true => (&world.near, &world.agent),
            false => (&world.agent, &world.near),
        };
        serve_streams(other, echo);
        assert!(opener.stats().bulk.possible);
        let mut interactive = opener.open(&open_to(Target::KubeApi)).await.unwrap();
        answers(&mut interactive).await;
        assert_eq!(opener.stats().bulk.begun, 0);
        let mut stream = within(opener.open(&bulk())).await.unwrap();
        answers(&mut stream).await;
        for session in [opener, other] {
            let stats = session.stats();
            let on_bulk = stats.bulk.streams.unwrap();
            assert_eq!((stats.bulk.begun, stats.bulk.lane.carriers), (1, 1));
            assert_eq!(on_bulk.own_streams + on_bulk.peer_streams, 1);
        }
        assert_eq!(opener.stats().open_streams, 2);
        // Later ones find it there.
        let mut another = within(opener.open(&bulk())).await.unwrap();
        answers(&mut another).await;
        assert_eq!(opener.stats().bulk.lane.carriers, 1);
        assert_eq!(opener.stats().lane.carriers, 1);
    }
}

#[tokio::test]
async fn a_cut_of_both_lanes_hurts_no_stream_of_either() {
    for mux in [None, Some(YAMUX)] {
        let world = world_with(acceptor(), |dialer| {
            dialer.muxes = mux.iter().copied().map(str::to_owned).collect();
        })
        .await;
        serve_streams(&world.agent, echo);
        let sent: Vec<u8> = (0..3_000_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let transfer = async |open: OpenV1| {
            let stream = world.near.open(&open).await.unwrap();
            let (mut read, mut write) = tokio::io::split(stream);
            let writing = async {
                for piece in sent.chunks(50_000) {
                    write.write_all(piece).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                write.shutdown().await.unwrap();
            };
            let mut received = Vec::new();
            let reading = async { read.read_to_end(&mut received).await.unwrap() };
            futures::join!(writing, reading);
            assert!(received == sent, "{} bytes", received.len());
        };
        let both = async { futures::join!(transfer(bulk()), transfer(open_to(Target::KubeApi))) };
        let cutting = async {
            loop {
                tokio::time::sleep(Duration::from_millis(60)).await;
                world.relay.cut();
                // One that has gone a moment ago may count as there still: then both are cut again.
                attached(&world.agent, true).await;
                until(|| world.agent.bulk().lane.attached).await;
            }
        };
        tokio::select! {
            _ = within(both) => {}
            () = cutting => {}
        }
        let stats = world.near.stats();
        assert!(stats.lane.carriers > 1, "{stats:?}");
        assert!(stats.bulk.lane.carriers > 1, "{stats:?}");
        assert_eq!((stats.bulk.begun, stats.bulk.lost), (1, 0));
        assert_eq!(world.server.known.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn where_the_peer_has_no_such_lane_nothing_waits_for_it() {
    let mut none = acceptor();
    none.resume_window = Duration::ZERO;
    let worlds = [
        world_with(acceptor(), |dialer| dialer.bulk_lane = false).await,
        world_with(none, |_| {}).await,
    ];
    for world in worlds {
        serve_streams(&world.agent, echo);
        serve_streams(&world.near, echo);
        for session in [&world.near, &world.agent] {
            assert!(!session.stats().bulk.possible);
            let began = Instant::now();
            let mut stream = session.open(&bulk()).await.unwrap();
            answers(&mut stream).await;
            assert!(began.elapsed() < Duration::from_secs(1));
            assert_eq!(
                session.stats().streams.unwrap().streams[Class::Bulk.index()],
                1
            );
        }
    }
}

#[tokio::test]
async fn where_the_lane_does_not_come_streams_go_over_the_other_one_and_later_ones_do_not_wait() {
    let world = world().await;
    serve_streams(&world.agent, echo);
    // The connection there is stays; no other one comes about.
    world.relay.refuse_new();
    let began = Instant::now();
    let mut stream = world.near.open(&bulk()).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1_900));
    answers(&mut stream).await;
    let began = Instant::now();
    let mut stream = world.near.open(&bulk()).await.unwrap();
    answers(&mut stream).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    // When it comes, it is used.
    world.relay.heal();
    until(|| world.near.stats().bulk.lane.attached).await;
    let mut stream = world.near.open(&bulk()).await.unwrap();
    answers(&mut stream).await;
    let stats = world.near.stats();
    assert_eq!(stats.bulk.streams.unwrap().own_streams, 1);
    assert_eq!(stats.streams.unwrap().own_streams, 2);
}

#[tokio::test]
async fn the_lane_ends_with_its_session() {
    let world = world().await;
    serve_streams(&world.agent, echo);
    let mut stream = within(world.near.open(&bulk())).await.unwrap();
    answers(&mut stream).await;
    world.near.close(CloseCode::Normal, "the end");
    within(world.agent.over().cancelled()).await;
    assert!(within(stream.read_u8()).await.is_err());
    until(|| !world.agent.stats().bulk.open && !world.near.stats().bulk.open).await;
    for session in [&world.agent, &world.near] {
        assert_eq!(session.stats().bulk.lost, 0);
    }
}

#[tokio::test]
async fn a_lane_of_a_session_that_is_not_the_agents_is_refused_and_costs_its_session_nothing() {
    let mut world = world().await;
    serve_streams(&world.near, echo);
    // What the server says of a session that is over, or of another agent.
    let known = std::mem::take(&mut *world.server.known.lock().unwrap());
    let mut stream = within(world.agent.open(&bulk())).await.unwrap();
    let error = world.server.accepted().await.err().unwrap();
    let AcceptError::Rejected(rejection) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(rejection.code, RejectionCode::UnknownSession);
    answers(&mut stream).await;
    for session in [&world.agent, &world.near] {
        assert_eq!(*session.phase().borrow(), Phase::Live);
        assert!(!session.stats().bulk.open);
    }
    assert_eq!(world.agent.stats().streams.unwrap().own_streams, 1);
    drop(known);
}

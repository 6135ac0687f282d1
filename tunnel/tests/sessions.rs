//! Streams over a live session: what they carry, how they end, what they do to one another.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use futures::future::join_all;
use std::{io::IoSlice, time::Duration};
use support::{dial, echo, open_to, pair, pair_with, serve_streams, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tunnel::session::{End, OpenError, Phase, refusal_in};
use tunnel_proto::{
    frame::CloseCode,
    hello::Limits,
    stream::{RefusalReason, Target},
};

#[tokio::test]
async fn a_stream_carries_bytes_both_ways_and_keeps_the_half_close() {
    let (server, agent) = pair().await;
    serve_streams(&agent, echo);
    let mut stream = server.open(&open_to(Target::KubeApi)).await.unwrap();
    stream.write_all(b"question").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "question");
}

#[tokio::test]
async fn a_long_transfer_arrives_whole() {
    let (server, agent) = pair().await;
    serve_streams(&agent, echo);
    let stream = server.open(&open_to(Target::KubeApi)).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let sent: Vec<u8> = (0..20_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let expected = sent.clone();
    tokio::spawn(async move {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    within(read.read_to_end(&mut received)).await.unwrap();
    assert!(received == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_arrives_though_much_is_under_way() {
    for _ in 0..20 {
        let (server, agent) = pair().await;
        serve_streams(&agent, echo);
        for _ in 0..4 {
            let mut stream = server.open(&open_to(Target::KubeApi)).await.unwrap();
            tokio::spawn(async move { while stream.write_all(&[7; 999]).await.is_ok() {} });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        agent.close(CloseCode::Normal, "it was enough");
        let mut phase = server.phase();
        let closed = phase.wait_for(|phase| matches!(phase, Phase::Closed(_)));
        let closed = within(closed).await.unwrap().clone();
        let end = End::ClosedByPeer {
            code: CloseCode::Normal,
            reason: "it was enough".into(),
        };
        assert_eq!(closed, Phase::Closed(end));
    }
}

#[tokio::test]
async fn pieces_written_together_arrive_in_order() {
    let (server, agent) = pair().await;
    serve_streams(&agent, echo);
    let stream = server.open(&open_to(Target::KubeApi)).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let pieces: Vec<Vec<u8>> = [0, 1, 200, 4096, 4097, 0, 70_000, 3, 16_384, 20_000, 9]
        .iter()
        .enumerate()
        .map(|(number, len)| vec![number as u8; *len])
        .collect();
    let expected = pieces.concat();
    tokio::spawn(async move {
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let written = write.write_vectored(left).await.unwrap();
            IoSlice::advance_slices(&mut left, written);
        }
        write.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    within(read.read_to_end(&mut received)).await.unwrap();
    assert!(received == expected);
}

#[tokio::test]
async fn a_refusal_reaches_the_first_read_with_its_reason() {
    let (server, agent) = pair().await;
    serve_streams(&agent, |incoming| async {
        let inbound = incoming.preamble().await.unwrap();
        assert_eq!(inbound.open.target, Target::Dial("db:5432".into()));
        inbound
            .refuse(RefusalReason::NotPermitted, "policy says no")
            .await;
    });
    let mut stream = server
        .open(&open_to(Target::Dial("db:5432".into())))
        .await
        .unwrap();
    let error = within(stream.confirmed()).await.unwrap_err();
    let refusal = refusal_in(&error).expect("a refusal");
    assert_eq!(refusal.reason, RefusalReason::NotPermitted);
    assert_eq!(refusal.message, "policy says no");
}

#[tokio::test]
async fn an_answered_stream_does_not_count_against_the_peers_backlog() {
    // Y2: yamux lets at most 256 streams be open that the acceptor has not answered.
    let (server, agent) = pair().await;
    serve_streams(&agent, echo);
    let open = open_to(Target::KubeApi);
    let streams = join_all((0..500).map(|_| async {
        let mut stream = server.open(&open).await.unwrap();
        within(stream.confirmed()).await.unwrap();
        stream
    }))
    .await;
    assert_eq!(server.stats().open_streams, streams.len());
}

#[tokio::test]
async fn more_streams_than_the_peer_takes_wait_and_then_fail_alone() {
    // Y1: one stream too many would kill the connection.
    let mut acceptor = support::acceptor();
    acceptor.limits = Limits {
        streams: 3,
        window: 1,
    };
    let (server, agent) = pair_with(acceptor).await;
    serve_streams(&server, echo);
    let mut open = open_to(Target::ServerApi);
    open.deadline_ms = 50;
    let first = agent.open(&open).await.unwrap();
    let _others = (
        agent.open(&open).await.unwrap(),
        agent.open(&open).await.unwrap(),
    );
    assert_eq!(
        agent.open(&open).await.err(),
        Some(OpenError::TooManyStreams(3))
    );
    drop(first);
    let mut stream = agent.open(&open).await.unwrap();
    within(stream.confirmed()).await.unwrap();
}

#[tokio::test]
async fn a_reader_wakes_when_the_session_is_closed_on_either_side() {
    // Y3: yamux leaves readers of other streams asleep.
    for close_agent in [false, true] {
        let (server, agent) = pair().await;
        serve_streams(&agent, echo);
        let mut stream = server.open(&open_to(Target::KubeApi)).await.unwrap();
        stream.confirmed().await.unwrap();
        let reader = tokio::spawn(async move { stream.read_u8().await });
        let closing = if close_agent { &agent } else { &server };
        closing.close(CloseCode::Revoked, "gone");
        assert!(within(reader).await.unwrap().is_err());
        let mut phase = server.phase();
        let closed = within(phase.wait_for(|phase| matches!(phase, Phase::Closed(_))))
            .await
            .unwrap();
        let (code, reason) = (CloseCode::Revoked, "gone".to_owned());
        let expected = if close_agent {
            End::ClosedByPeer { code, reason }
        } else {
            End::ClosedHere { code, reason }
        };
        assert_eq!(*closed, Phase::Closed(expected));
    }
}

#[tokio::test]
async fn what_has_come_is_read_though_the_session_is_over() {
    let (server, agent) = pair().await;
    let mut stream = server.open(&open_to(Target::KubeApi)).await.unwrap();
    let (mut far, confirmed) = futures::join!(accepted(&agent), stream.confirmed());
    confirmed.unwrap();
    far.write_all(b"last words").await.unwrap();
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'l');
    agent.close(CloseCode::Normal, "drained");
    within(server.over().cancelled()).await;
    let mut rest = [0; 9];
    stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"ast words");
    assert!(within(stream.read_u8()).await.is_err());
}

#[tokio::test]
async fn draining_refuses_new_streams_on_both_sides_and_lets_old_ones_finish() {
    // Y4: yamux itself has no drain.
    let (server, agent) = pair().await;
    serve_streams(&agent, echo);
    let mut stream = server.open(&open_to(Target::KubeApi)).await.unwrap();
    stream.confirmed().await.unwrap();
    agent.drain(Duration::from_secs(60), "restarting");
    let mut phase = server.phase();
    within(phase.wait_for(
        |phase| matches!(phase, Phase::Draining { reason, .. } if reason == "restarting"),
    ))
    .await
    .unwrap();
    for session in [&server, &agent] {
        let refused = session.open(&open_to(Target::KubeApi)).await;
        assert_eq!(refused.err(), Some(OpenError::Draining));
    }
    stream.write_all(b"still here").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "still here");
}

#[tokio::test]
async fn what_is_left_at_the_deadline_of_a_drain_is_cut() {
    let (server, agent) = pair().await;
    serve_streams(&agent, echo);
    let mut stream = server.open(&open_to(Target::KubeApi)).await.unwrap();
    stream.confirmed().await.unwrap();
    agent.drain(Duration::from_millis(100), "restarting");
    assert!(within(stream.read_u8()).await.is_err());
    within(server.over().cancelled()).await;
}

#[tokio::test]
async fn a_stopped_reader_leaves_other_streams_alone() {
    let (server, agent) = pair().await;
    serve_streams(&agent, echo);
    let mut stuck = server.open(&open_to(Target::KubeApi)).await.unwrap();
    // More than the windows of both directions hold: nobody reads what comes back.
    let fill = async {
        let block = vec![0; 64 * 1024];
        loop {
            stuck.write_all(&block).await.unwrap();
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_millis(300), fill)
            .await
            .is_err()
    );
    let mut other = server.open(&open_to(Target::KubeApi)).await.unwrap();
    let block = vec![7; 1024 * 1024];
    for _ in 0..4 {
        let mut back = vec![0; block.len()];
        let (mut read, mut write) = tokio::io::split(&mut other);
        within(futures::future::join(
            write.write_all(&block),
            read.read_exact(&mut back),
        ))
        .await
        .1
        .unwrap();
        assert!(back == block);
    }
}

#[tokio::test]
async fn a_stream_that_is_shut_down_delivers_all_and_a_dropped_one_is_reset() {
    // Y10: dropping without a shutdown may lose what is queued.
    let (server, agent) = pair().await;
    let mut stream = agent.open(&open_to(Target::ServerApi)).await.unwrap();
    stream.write_all(&[7; 200_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    let mut inbound = within(accepted(&server)).await;
    let mut received = Vec::new();
    within(inbound.read_to_end(&mut received)).await.unwrap();
    assert_eq!(received, vec![7; 200_000]);

    let mut stream = agent.open(&open_to(Target::ServerApi)).await.unwrap();
    stream.write_all(b"begun").await.unwrap();
    let mut inbound = within(accepted(&server)).await;
    let mut begun = [0; 5];
    within(inbound.read_exact(&mut begun)).await.unwrap();
    drop(stream);
    let mut rest = Vec::new();
    let end = within(inbound.read_to_end(&mut rest)).await;
    assert!(end.is_err() || rest.is_empty());
}

async fn accepted(session: &tunnel::session::Session) -> tunnel::session::Stream {
    let incoming = session.accept().await.unwrap();
    incoming.preamble().await.unwrap().accept().await.unwrap()
}

#[tokio::test]
async fn two_tasks_share_a_stream_without_losing_a_wake_up() {
    // Y5: earlier versions of yamux hung here.
    let (server, agent) = pair().await;
    serve_streams(&agent, echo);
    let stream = server.open(&open_to(Target::KubeApi)).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        for _ in 0..5_000 {
            write.write_all(&[1; 100]).await.unwrap();
            tokio::task::yield_now().await;
        }
        write.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    within(read.read_to_end(&mut received)).await.unwrap();
    assert_eq!(received.len(), 500_000);
    writing.await.unwrap();
}

#[tokio::test]
async fn dropped_openers_and_streams_leave_nothing_behind() {
    let (server, agent) = pair().await;
    serve_streams(&agent, echo);
    let open = open_to(Target::KubeApi);
    for round in 0..200 {
        let opening = server.open(&open);
        // Dropped before, while and after it opens.
        let _ = tokio::time::timeout(Duration::from_micros(round * 5), async {
            let mut stream = opening.await.unwrap();
            let _ = stream.write_all(b"x").await;
            let _ = stream.read_u8().await;
        })
        .await;
    }
    assert_eq!(server.stats().open_streams, 0);
    let mut stream = server.open(&open).await.unwrap();
    within(stream.confirmed()).await.unwrap();
}

#[tokio::test]
async fn a_malformed_preamble_is_refused_and_the_session_lives() {
    let (server, agent) = pair().await;
    serve_streams(&agent, |incoming| async move {
        let _ = incoming.preamble().await;
    });
    let mut open = open_to(Target::Dial("x".repeat(10_000)));
    let mut stream = server.open(&open).await.unwrap();
    within(stream.confirmed()).await.unwrap_err();
    open.target = Target::Dial("x".repeat(20_000));
    assert!(matches!(
        server.open(&open).await.err(),
        Some(OpenError::Preamble(_))
    ));
    assert_eq!(*server.phase().borrow(), Phase::Live);
}

#[tokio::test]
async fn the_round_trip_is_measured_from_the_start() {
    let (server, _agent) = pair().await;
    within(async {
        while server.stats().lane.round_trip.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_driver_that_is_dropped_ends_the_session_on_both_sides() {
    let mut none = support::acceptor();
    none.resume_window = Duration::ZERO;
    let mut server = support::Server::start(none, |_| Ok(())).await;
    let agent = dial(&server.dialer()).await.unwrap();
    let accepted = server.accepted().await.unwrap();
    let driver = tokio::spawn(accepted.driver.unwrap());
    drop(agent.driver);
    assert!(matches!(within(driver).await.unwrap(), End::CarrierLost(_)));
    assert!(agent.session.over().is_cancelled());
}

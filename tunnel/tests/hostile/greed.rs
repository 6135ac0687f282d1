//! Peers that take all that is theirs and give nothing back: what they hold is what the table of
//! limits says.

use crate::{
    Heap, alone,
    peer::{GROWTH, Honest, PIPE, Peer, REPLAY, STREAMS, frugal, hold, pour, until},
    wire::{MOST, link, mux, mux_data, mux_frame, opened, preamble},
};
use std::time::Duration;
use tunnel::session::End;
use tunnel_proto::{frame::Frame, hello::FAIR};

/// What every stream may have unread, and what of it may wait for its turn to be sent.
const WINDOW: usize = 64 * 1024;

/// What a window is at first, where memory allows it.
const FIRST: usize = 256 * 1024;

/// How many times its bytes what is unread may hold: the messages that its pieces came in.
const PINNED: usize = 8;

/// What a session has beside streams and replay: read ahead, carrier, pipe, tables.
const BESIDE: usize = 512 * 1024 + 2 * PIPE;

/// What is kept for replay, in messages of up to 64 KiB.
fn replay(peer: &Peer) -> (usize, usize) {
    let lane = peer.session.lane();
    (lane.unacknowledged, lane.replay_bound)
}

/// Waits until all that the server may keep for replay is kept.
async fn fill(peer: &mut Peer, reads: bool) {
    let is_full = |peer: &Peer| {
        let (kept, bound) = replay(peer);
        kept + 64 > bound && bound == REPLAY
    };
    for _ in 0..10_000 {
        if is_full(peer) {
            return;
        }
        if reads {
            peer.receive().await.unwrap();
        } else {
            // It shows that it lives, or it would be given up.
            assert!(peer.frame(link::PING, &[7; 8]).await);
            tokio::time::advance(Duration::from_millis(10)).await;
        }
    }
    panic!("{:?}", replay(peer));
}

/// Every stream that there may be, on which the server has a lot to say.
fn downloads(credit: u32) -> Vec<u8> {
    (0..2 * STREAMS)
        .flat_map(|index| opened(2 * index + 1, credit))
        .collect()
}

#[test]
fn what_is_not_acknowledged_is_kept_up_to_its_bound() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(pour);
        let heap = Heap::from_now_on();
        assert!(peer.mux(&downloads(u32::MAX)).await);
        fill(&mut peer, true).await;
        assert_eq!(peer.settled().await, None);
        let queues = 2 * STREAMS as usize * WINDOW;
        heap.is_below(REPLAY + 2 * queues + BESIDE, "nothing is acknowledged");
        honest.is_served().await;
        assert_eq!(acceptor.memory.replay.taken(), 0);
        peer.finish().await;
    });
}

#[test]
fn what_a_fast_peer_is_given_for_replay_is_given_back() {
    alone(async {
        let acceptor = frugal();
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(pour);
        // The answer to the first ping makes the way look long.
        let pinged = |frame: &Frame| matches!(frame, Frame::Ping(1));
        while !peer.receive().await.unwrap().iter().any(pinged) {}
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(peer.frame(link::PONG, &1_u64.to_be_bytes()).await);
        peer.acknowledges = true;
        assert!(peer.mux(&opened(1, u32::MAX)).await);
        while acceptor.memory.replay.taken() == 0 {
            peer.receive().await.unwrap();
            tokio::time::advance(Duration::from_micros(10)).await;
        }
        // When there has been no need of it for a while, though the session goes on.
        assert!(peer.mux(&mux_frame(mux::RESET, 1, &[0; 4])).await);
        while peer.session.lane().unacknowledged > 0 {
            let received = peer.received.to_be_bytes();
            assert!(peer.frame(link::ACK, &received).await);
            assert_eq!(peer.settled().await, None);
        }
        assert!(acceptor.memory.replay.taken() > 0);
        peer.linger(Duration::from_secs(12)).await;
        assert_eq!(acceptor.memory.replay.taken(), 0);
        assert_eq!(peer.session.lane().replay_bound, REPLAY);
        peer.finish().await;
    });
}

#[test]
fn a_peer_that_reads_nothing_holds_no_more_than_one_that_acknowledges_nothing() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(pour);
        let heap = Heap::from_now_on();
        assert!(peer.mux(&downloads(u32::MAX)).await);
        for _ in 0..20_000 {
            assert!(peer.frame(link::PING, &[7; 8]).await);
            tokio::time::advance(Duration::from_millis(5)).await;
        }
        let queues = 2 * STREAMS as usize * WINDOW;
        heap.is_below(REPLAY + 2 * queues + BESIDE, "nothing is read");
        honest.is_served().await;
        drop(peer);
    });
}

#[test]
fn a_peer_that_reads_nothing_and_says_nothing_is_given_up() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(pour);
        assert!(peer.mux(&downloads(u32::MAX)).await);
        let mut attached = peer.session.attached();
        let patience = acceptor.heartbeat + Duration::from_secs(10);
        let lost = tokio::time::timeout(patience, attached.wait_for(|attached| !attached)).await;
        drop(lost.unwrap().unwrap());
        assert_eq!(peer.session.lane().silences, 1);
        let over = peer.session.over().clone();
        let over = tokio::time::timeout(acceptor.resume_window * 2, over.cancelled());
        assert!(over.await.is_ok());
        assert_eq!(peer.end().await, End::Silent);
        honest.is_served().await;
        until("replay", || acceptor.memory.replay.taken() == 0).await;
    });
}

#[test]
fn what_nobody_reads_is_kept_up_to_the_windows() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let preamble = preamble();
        // Pieces that are kept as they come, each in a message of its own that is as long as it
        // may be; and pieces that are put together.
        for (piece, what) in [
            (60_000, "windows full of long pieces"),
            (16 * 1024, "windows full of the shortest that are kept"),
            (1_000, "windows full of short pieces"),
        ] {
            let mut peer = Peer::connect(&acceptor, FAIR).await.served(hold);
            let open: Vec<u8> = (0..2 * STREAMS)
                .flat_map(|index| opened(2 * index + 1, 0))
                .collect();
            let heap = Heap::from_now_on();
            assert!(peer.mux(&open).await);
            assert_eq!(peer.settled().await, None);
            // The first streams have got what windows may grow by at first.
            let grown = peer.session.stats().windows.bytes;
            let wide = grown / (FIRST - WINDOW);
            assert!(wide > 2);
            for index in 0..2 * STREAMS {
                let window = if (index as usize) < wide {
                    FIRST
                } else {
                    WINDOW
                };
                let data = mux_data(2 * index + 1, &vec![7; piece]);
                let padding = match piece < 16 * 1024 {
                    true => vec![],
                    false => mux_frame(mux::SKIPPED, 0, &vec![0; MOST - data.len() - 8]),
                };
                for _ in 0..(window - preamble.len()) / piece {
                    assert!(peer.mux(&[&data[..], &padding].concat()).await);
                }
            }
            assert_eq!(peer.settled().await, None);
            let stats = peer.session.stats();
            let unread = stats.streams.unwrap().unread;
            let windows = 2 * STREAMS as usize * WINDOW + grown;
            assert!(unread > windows / 2 && unread <= windows && stats.windows.bytes <= GROWTH);
            heap.is_below(PINNED * windows + BESIDE, what);
            honest.is_served().await;
            peer.finish().await;
        }
    });
}

#[test]
fn more_than_a_window_ends_the_session() {
    alone(async {
        let mut acceptor = frugal();
        acceptor.memory = tunnel::Memory::of(0);
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(hold);
        assert!(peer.mux(&opened(1, 0)).await);
        let rest = vec![0; WINDOW - preamble().len()];
        assert!(peer.mux(&mux_data(1, &rest)).await);
        assert_eq!(peer.settled().await, None);
        assert!(peer.mux(&mux_data(1, &[0])).await);
        let end = peer.settled().await;
        assert!(
            matches!(&end, Some(End::Mux(why)) if why.contains("credit")),
            "{end:?}"
        );
    });
}

//! The same again and again, for ever: it costs the time of its own session, and no memory.

use crate::{
    Heap, alone,
    peer::{Honest, Peer, frugal, hold},
    support::echo,
    wire::{
        MOST, link, link_data, link_frame, mux, mux_data, mux_frame, opened, yamux, yamux_data,
    },
};
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;
use tunnel::session::End;
use tunnel_proto::{
    hello::{FAIR, YAMUX},
    link::LinkError,
};

/// Messages of each flood.
const MANY: usize = 10_000;

/// Buffers of a carrier that is read and not written, or the other way, and what is read ahead.
const FLOODED: usize = 768 * 1024;

#[test]
fn messages_that_say_nothing_are_taken_for_ever() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let binary = |frame: Vec<u8>| Message::Binary(frame.into());
        for (what, message) in [
            ("pings", binary(link_frame(link::PING, &[7; 8]))),
            ("pongs", binary(link_frame(link::PONG, &[0; 8]))),
            ("acknowledgements", binary(link_frame(link::ACK, &[0; 8]))),
            (
                "frames to skip",
                binary(link_frame(link::SKIPPED, &[7; 100])),
            ),
            ("empty messages", binary(vec![])),
            ("drains", binary(link_frame(link::DRAIN, &[255; 4]))),
            (
                "pings of the WebSocket",
                Message::Ping(Bytes::from_static(&[7; 125])),
            ),
            ("pongs of the WebSocket", Message::Pong(Bytes::new())),
        ] {
            let mut peer = Peer::connect(&acceptor, FAIR).await.served(echo);
            let heap = Heap::from_now_on();
            for _ in 0..MANY {
                assert!(peer.message(message.clone()).await, "{what}");
            }
            heap.is_below(FLOODED, what);
            honest.is_served().await;
            assert_eq!(peer.settled().await, None, "{what}");
            peer.finish().await;
        }
    });
}

#[test]
fn repeated_data_is_taken_once() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(hold);
        let stream = opened(1, 0);
        assert!(peer.mux(&stream).await);
        let heap = Heap::from_now_on();
        for _ in 0..MANY {
            assert!(peer.raw(link_data(0, 0, &stream)).await);
        }
        assert_eq!(peer.settled().await, None);
        heap.is_below(FLOODED, "repetitions");
        assert_eq!(peer.session.stats().streams.unwrap().peer_streams, 1);
        honest.is_served().await;
        peer.finish().await;
    });
}

#[test]
fn frames_of_the_multiplexer_that_change_nothing_are_taken_for_ever() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        for (what, frame) in [
            ("classes", mux_frame(mux::CLASS, 1, &[2])),
            ("credit", mux_frame(mux::CREDIT, 1, &[255; 8])),
            ("credit that is lower", mux_frame(mux::CREDIT, 1, &[0; 8])),
            ("skipped", mux_frame(mux::SKIPPED, 0, &[])),
        ] {
            let mut peer = Peer::connect(&acceptor, FAIR).await.served(hold);
            assert!(peer.mux(&opened(1, 65_536)).await);
            let frames = frame.repeat(MOST / frame.len());
            let heap = Heap::from_now_on();
            for _ in 0..20 {
                assert!(peer.mux(&frames).await, "{what}");
            }
            assert_eq!(peer.settled().await, None, "{what}");
            heap.is_below(FLOODED, what);
            honest.is_served().await;
            peer.finish().await;
        }
    });
}

#[test]
fn bytes_that_come_one_by_one_hold_no_more_than_their_window() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let fair = [opened(1, 0), mux_data(1, &[7; 20_000])].concat();
        let preamble = crate::wire::preamble();
        let other = [
            yamux_data(yamux::SYN, 1, &preamble),
            yamux_data(0, 1, &[7; 20_000]),
        ];
        for (mux, bytes) in [(FAIR, fair), (YAMUX, other.concat())] {
            let mut peer = Peer::connect(&acceptor, mux).await.served(hold);
            let heap = Heap::from_now_on();
            for byte in bytes.chunks(1) {
                assert!(peer.mux(byte).await);
            }
            assert_eq!(peer.settled().await, None);
            // yamux keeps a piece of its own for each.
            let window = if mux == FAIR { 4 } else { 128 } * 20_000;
            heap.is_below(FLOODED + window, "20,000 bytes, one in each message");
            honest.is_served().await;
            peer.finish().await;
        }
    });
}

#[test]
fn offsets_that_cannot_be_end_the_session() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let impossible = |claimed| LinkError::ImpossibleReceipt {
            claimed,
            from: 0,
            to: 0,
        };
        for (frame, error) in [
            (
                link_frame(link::ACK, &[0, 0, 0, 0, 0, 0, 0, 1]),
                impossible(1),
            ),
            (link_frame(link::ACK, &[255; 8]), impossible(u64::MAX)),
            (link_data(0, 1 << 40, b"x"), impossible(1 << 40)),
            (
                link_data(1, 0, b"x"),
                LinkError::Gap {
                    offset: 1,
                    missing: 1,
                },
            ),
            (
                link_data(u64::MAX, 0, b"x"),
                LinkError::OffsetOverflow(u64::MAX),
            ),
        ] {
            let mut peer = Peer::connect(&acceptor, FAIR).await;
            assert!(peer.raw(frame).await);
            assert_eq!(peer.settled().await, Some(End::Protocol(error)));
            honest.is_served().await;
        }
    });
}

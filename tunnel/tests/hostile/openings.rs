//! Streams without number, and streams without a word.

use crate::{
    Heap, alone,
    peer::{Honest, Peer, REPLAY, STREAMS, frugal, hold, pour, until},
    support::{echo, open_to, within},
    wire::{mux, mux_data, mux_frame, mux_open, opened, preamble},
};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tunnel::session::{End, OpenError};
use tunnel_proto::{frame::Frame, hello::FAIR, stream::Target};

/// What is asked for at once.
const MANY: u32 = 100_000;

/// What is opened one after the other.
const IN_TURN: u32 = 10_000;

/// The number of the stream that the peer opens as its `index`th.
fn number(index: u32) -> u32 {
    2 * index + 1
}

/// Frames of the multiplexer, from the payloads of the link as they come.
#[derive(Default)]
struct Frames {
    rest: Vec<u8>,
}

impl Frames {
    /// Kind, stream and body of those that are whole.
    fn take(&mut self, frames: Vec<Frame>) -> Vec<(u8, u32, Vec<u8>)> {
        for frame in frames {
            if let Frame::Data { payload, .. } = frame {
                self.rest.extend_from_slice(&payload);
            }
        }
        let mut whole = Vec::new();
        let mut rest = &self.rest[..];
        while let Some((head, behind)) = rest.split_first_chunk::<8>() {
            let len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
            let Some((body, later)) = behind.split_at_checked(len) else {
                break;
            };
            let stream = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            whole.push((head[0], stream, body.to_vec()));
            rest = later;
        }
        self.rest = rest.to_vec();
        whole
    }
}

/// Opens so many streams at once, reading what the server says. How many were refused.
async fn open_and_read(peer: &mut Peer, many: u32) -> u32 {
    let (mut frames, mut refused) = (Frames::default(), 0);
    for first in (0..many).step_by(100) {
        let opening: Vec<u8> = (first..many.min(first + 100))
            .flat_map(|index| mux_open(number(index), 0))
            .collect();
        assert!(peer.mux(&opening).await);
        while refused + 2 * STREAMS < first + 100 {
            for (kind, _, body) in frames.take(peer.receive().await.unwrap()) {
                if kind == mux::RESET {
                    assert_eq!(body, [0, 0, 0, 1]);
                    refused += 1;
                }
            }
        }
    }
    refused
}

#[test]
fn a_hundred_thousand_streams_at_once_are_refused_beyond_the_limit() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(hold);
        peer.acknowledges = true;
        let heap = Heap::from_now_on();
        let refused = open_and_read(&mut peer, MANY).await;
        assert_eq!(refused, MANY - 2 * STREAMS);
        heap.is_below(1024 * 1024, "100,000 streams at once, 32 of them open");
        honest.is_served().await;
        assert_eq!(peer.settled().await, None);
        peer.finish().await;
    });
}

#[test]
fn a_peer_that_does_not_read_that_it_is_refused_ends_its_session() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(hold);
        let heap = Heap::from_now_on();
        let opening: Vec<u8> = (0..1_000)
            .flat_map(|index| mux_open(number(index), 0))
            .collect();
        peer.mux(&opening).await;
        let mut index = 1_000;
        // What is refused goes into the replay bound, which is full some day.
        while index < 3_000_000 {
            let opening: Vec<u8> = (index..index + 5_000)
                .flat_map(|index| mux_open(number(index), 0))
                .collect();
            if !peer.mux(&opening).await {
                break;
            }
            index += 5_000;
        }
        let end = peer.end().await;
        assert!(
            matches!(&end, End::Mux(why) if why.contains("refused")),
            "{end:?}"
        );
        heap.is_below(16 * 1024 * 1024, "refusals that are not read");
        honest.is_served().await;
    });
}

#[test]
fn streams_one_after_the_other_leave_nothing() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(echo);
        peer.acknowledges = true;
        let (mut frames, preamble) = (Frames::default(), preamble());
        let heap = Heap::from_now_on();
        for index in 0..IN_TURN {
            let stream = number(index);
            let whole = [
                mux_open(stream, 65_536),
                mux_data(stream, &preamble),
                mux_frame(mux::FIN, stream, &[]),
            ];
            assert!(peer.mux(&whole.concat()).await);
            let mut ended = false;
            while !ended {
                let received = frames.take(peer.receive().await.unwrap());
                ended = received.contains(&(mux::FIN, stream, vec![]));
                let refused = received.iter().any(|frame| frame.0 == mux::RESET);
                assert!(!refused, "stream {stream} of its turn was refused");
            }
        }
        // What is not acknowledged yet, in its many messages.
        heap.is_below(2 * 1024 * 1024, "streams one after the other");
        honest.is_served().await;
        let streams = || peer.session.stats().streams.unwrap().peer_streams;
        until("nothing is open", || streams() == 0).await;
        peer.finish().await;
    });
}

#[test]
fn streams_without_a_preamble_are_bounded_and_reset_in_time() {
    alone(async {
        let acceptor = frugal();
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(echo);
        peer.acknowledges = true;
        let heap = Heap::from_now_on();
        let refused = open_and_read(&mut peer, 400).await;
        assert_eq!(refused, 400 - 2 * STREAMS);
        let open = |peer: &Peer| peer.session.stats().streams.unwrap().peer_streams;
        assert_eq!(open(&peer), 2 * STREAMS as usize);
        heap.is_below(1024 * 1024, "32 streams without a word");
        // Each is reset when its opener has had its time; then there is room again.
        peer.linger(Duration::from_secs(32)).await;
        assert_eq!(open(&peer), 0);
        assert!(peer.mux(&opened(number(400), 65_536)).await);
        let mut frames = Frames::default();
        within(async {
            loop {
                let received = frames.take(peer.receive().await.unwrap());
                if received.contains(&(mux::DATA, number(400), vec![0])) {
                    break;
                }
            }
        })
        .await;
        peer.finish().await;
    });
}

#[test]
fn openers_that_wait_in_vain_leave_nothing() {
    alone(async {
        let acceptor = frugal();
        let mut peer = Peer::connect(&acceptor, FAIR).await;
        peer.acknowledges = true;
        let session = peer.session.clone();
        let mut open = open_to(Target::KubeApi);
        open.deadline_ms = 1;
        // Streams that were ended here, and whose bytes the peer does not take: they keep their
        // places, though nobody holds them.
        let filling = async {
            for _ in 0..STREAMS {
                let mut stream = session.open(&open).await.unwrap();
                stream.write_all(&[7; 100_000]).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        };
        let reading = async { while peer.receive().await.is_some() {} };
        tokio::select! {
            () = within(filling) => {}
            () = reading => panic!("the session is over"),
        }
        let wait = || async {
            let (session, open) = (session.clone(), open.clone());
            let waiting = tokio::spawn(async move { session.open(&open).await.err() });
            let error = waiting.await.unwrap();
            assert_eq!(error, Some(OpenError::TooManyStreams(STREAMS)));
        };
        wait().await;
        let heap = Heap::from_now_on();
        for _ in 0..2_000 {
            wait().await;
        }
        assert!(heap.now() < 64 * 1024, "{} bytes are left", heap.now());
        // One that was waiting when a place is free gets it.
        let waiting = tokio::spawn(async move {
            open.deadline_ms = 10_000;
            session.open(&open).await.is_ok()
        });
        tokio::task::yield_now().await;
        assert!(peer.mux(&mux_frame(mux::RESET, 2, &[0; 4])).await);
        assert!(within(waiting).await.unwrap());
        peer.finish().await;
    });
}

#[test]
fn streams_that_are_opened_and_reset_for_ever_leave_nothing_though_nothing_can_be_sent() {
    alone(async {
        let acceptor = frugal();
        let mut honest = Honest::beside(&acceptor).await;
        // One stream fills what may be kept for replay, and nothing is acknowledged.
        let mut peer = Peer::connect(&acceptor, FAIR).await.served(pour);
        assert!(peer.mux(&opened(1, u32::MAX)).await);
        let is_full = |peer: &Peer| peer.session.lane().unacknowledged + 64 > REPLAY;
        while !is_full(&peer) {
            peer.receive().await.unwrap();
        }
        let mut heap = Heap::from_now_on();
        for first in (1..20_000).step_by(20) {
            let churn: Vec<u8> = (first..first + 20)
                .flat_map(|index| {
                    let reset = mux_frame(mux::RESET, number(index), &[0; 4]);
                    [opened(number(index), 65_536), reset].concat()
                })
                .collect();
            assert!(peer.mux(&churn).await);
            assert_eq!(peer.settled().await, None);
            if first == 1 {
                heap = Heap::from_now_on();
            }
        }
        assert!(heap.now() < 48 * 1024, "{} bytes are left", heap.now());
        honest.is_served().await;
        peer.finish().await;
    });
}

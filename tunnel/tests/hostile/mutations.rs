//! Every frame of the link and of the multiplexers, as it should be and otherwise, in every state of
//! a session: it goes on, or ends with what its peer did, and nobody else notices.

use crate::{
    Heap, alone,
    dialled::dialled,
    peer::{Honest, Peer, frugal, until},
    support::{echo, open_to},
    wire::{
        link, link_data, link_frame, mux, mux_data, mux_frame, opened, preamble, yamux, yamux_data,
        yamux_frame,
    },
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use std::collections::BTreeMap;
use tokio::io::AsyncWriteExt as _;
use tunnel::session::{End, Stream};
use tunnel_proto::{
    hello::{FAIR, YAMUX},
    stream::Target,
};

/// Numbers that are likely to matter.
const NUMBERS: [u64; 8] = [
    0,
    1,
    65_536,
    65_537,
    1 << 31,
    u32::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// What has happened on the session before.
#[derive(Clone, Copy, Debug)]
enum State {
    Fresh,
    /// The peer has a stream, which is served.
    Open,
    /// The same, and the peer has ended its direction.
    HalfClosed,
    /// The same, and the peer has reset it.
    Reset,
    /// The other end has a stream.
    OfOther,
    /// The peer is leaving.
    Draining,
}

const STATES: [State; 6] = [
    State::Fresh,
    State::Open,
    State::HalfClosed,
    State::Reset,
    State::OfOther,
    State::Draining,
];

/// What is done to a frame.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    None,
    Flipped,
    Truncated,
    Lengthened,
    Repeated,
    /// A number in it is another one.
    Extreme,
}

const MUTATIONS: [Mutation; 6] = [
    Mutation::None,
    Mutation::Flipped,
    Mutation::Truncated,
    Mutation::Lengthened,
    Mutation::Repeated,
    Mutation::Extreme,
];

/// A frame of the link, or one of the multiplexer in a DATA frame that is right.
#[derive(Clone, Copy, Debug)]
enum Layer {
    Link,
    Mux,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    mux: &'static str,
    state: State,
    layer: Layer,
    kind: u8,
    mutation: Mutation,
    seed: u64,
}

fn link_case(rng: &mut StdRng, kind: u8, sent: u64) -> Vec<u8> {
    let number = *NUMBERS.choose(rng).unwrap();
    match kind {
        link::DATA => {
            let payload = vec![rng.random(); [1, 20, 65_536][rng.random_range(0..3)]];
            let offset = [sent, number][usize::from(rng.random_bool(0.3))];
            link_data(
                offset,
                [0, number][usize::from(rng.random_bool(0.3))],
                &payload,
            )
        }
        link::DRAIN => link_frame(kind, &[&[0, 1, 0, 0][..], b"leaving"].concat()),
        link::CLOSE => link_frame(kind, &[&[0, rng.random()][..], b"bye"].concat()),
        link::SKIPPED => link_frame(kind, &vec![7; rng.random_range(0..65_000)]),
        _ => link_frame(kind, &number.to_be_bytes()),
    }
}

fn mux_case(rng: &mut StdRng, kind: u8) -> Vec<u8> {
    let stream = *[0, 1, 2, 3, 4, 5, 99, u32::MAX - 1, u32::MAX]
        .choose(rng)
        .unwrap();
    let number = *NUMBERS.choose(rng).unwrap();
    match kind {
        mux::OPEN => {
            let stream = *[1, 2, 3, 4, stream].choose(rng).unwrap();
            let body = [
                &[rng.random_range(0..5)][..],
                &(number as u32).to_be_bytes(),
            ]
            .concat();
            mux_frame(kind, stream, &body)
        }
        mux::DATA => mux_data(stream, &vec![7; [1, 300, 65_536][rng.random_range(0..3)]]),
        mux::FIN => mux_frame(kind, stream, &[]),
        mux::RESET => mux_frame(kind, stream, &(number as u32).to_be_bytes()),
        mux::CREDIT => mux_frame(kind, stream, &number.to_be_bytes()),
        mux::CLASS => mux_frame(kind, stream, &[rng.random_range(0..5)]),
        mux::SKIPPED => mux_frame(kind, stream, &vec![7; rng.random_range(0..100_000)]),
        _ => mux_frame(kind, stream, &[]),
    }
}

fn yamux_case(rng: &mut StdRng, kind: u8) -> Vec<u8> {
    let stream = *[0, 1, 2, 3, 4, u32::MAX].choose(rng).unwrap();
    let flags = *[0, 1, 2, 3, 4, 8, 12, 15, u16::MAX].choose(rng).unwrap();
    let number = *NUMBERS.choose(rng).unwrap() as u32;
    match kind {
        yamux::DATA if rng.random_bool(0.7) => {
            yamux_data(flags, stream, &vec![7; rng.random_range(0..400)])
        }
        _ => yamux_frame(kind, flags, stream, number, &[]),
    }
}

fn mutate(rng: &mut StdRng, mutation: Mutation, mut bytes: Vec<u8>) -> Vec<u8> {
    match mutation {
        Mutation::None => {}
        Mutation::Flipped => {
            // Most often in the header.
            let end = if rng.random_bool(0.8) {
                24
            } else {
                bytes.len()
            };
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..end.min(bytes.len()));
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
        }
        Mutation::Truncated => bytes.truncate(rng.random_range(0..bytes.len())),
        Mutation::Lengthened => {
            let more = rng.random_range(1..40);
            bytes.extend((0..more).map(|_| rng.random::<u8>()));
        }
        Mutation::Repeated => bytes = bytes.repeat(rng.random_range(2..40)),
        Mutation::Extreme => {
            let number = NUMBERS.choose(rng).unwrap().to_be_bytes();
            let width = [2, 3, 4, 8][rng.random_range(0..4)];
            let at = rng.random_range(0..bytes.len().min(24));
            let end = (at + width).min(bytes.len());
            bytes[at..end].copy_from_slice(&number[8 - (end - at)..]);
        }
    }
    bytes
}

impl Case {
    /// Brings the session into the state. The other end's stream, where it has one.
    async fn prepare(&self, peer: &mut Peer) -> Option<Stream> {
        let is_fair = self.mux == FAIR;
        let (stream, fin, reset) = match is_fair {
            true => (
                opened(peer.first, 65_536),
                mux_frame(mux::FIN, peer.first, &[]),
                mux_frame(mux::RESET, peer.first, &[0; 4]),
            ),
            false => (
                yamux_data(yamux::SYN, peer.first, &preamble()),
                yamux_data(yamux::FIN, peer.first, &[]),
                yamux_data(yamux::RST, peer.first, &[]),
            ),
        };
        let before = match self.state {
            State::Fresh | State::OfOther => vec![],
            State::Open => stream,
            State::HalfClosed => [stream, fin].concat(),
            State::Reset => [stream, reset].concat(),
            State::Draining => {
                peer.frame(link::DRAIN, &[0, 0, 255, 255]).await;
                vec![]
            }
        };
        assert!(peer.mux(&before).await);
        let stream = match self.state {
            State::OfOther => {
                let open = open_to(Target::KubeApi);
                let mut stream = peer.session.open(&open).await.unwrap();
                stream.write_all(b"question").await.unwrap();
                Some(stream)
            }
            _ => None,
        };
        assert_eq!(peer.settled().await, None, "{self:?}");
        stream
    }

    /// Sends the frame, and says why the session is over, if it is.
    async fn run(&self, peer: &mut Peer) -> Option<End> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let _stream = self.prepare(peer).await;
        for _ in 0..rng.random_range(1..4) {
            let sent = match self.layer {
                Layer::Link => {
                    let frame = link_case(&mut rng, self.kind, peer.sent);
                    let mut message = mutate(&mut rng, self.mutation, frame);
                    message.truncate(65_556);
                    peer.raw(message).await
                }
                Layer::Mux => {
                    let frame = match self.mux {
                        FAIR => mux_case(&mut rng, self.kind),
                        _ => yamux_case(&mut rng, self.kind),
                    };
                    let bytes = mutate(&mut rng, self.mutation, frame);
                    peer.mux(&bytes).await
                }
            };
            if !sent {
                break;
            }
        }
        peer.settled().await
    }
}

/// All cases of a multiplexer, with these kinds of frames, so many of each.
fn cases(mux: &'static str, kinds: &[u8], each: u64) -> Vec<Case> {
    let first_seed = first_seed();
    let links = (link::DATA..=link::UNKNOWN).chain([link::SKIPPED]);
    let frames = links.map(|kind| (Layer::Link, kind));
    let frames: Vec<_> = frames
        .chain(kinds.iter().map(|kind| (Layer::Mux, *kind)))
        .collect();
    let mut cases = Vec::new();
    for state in STATES {
        for (layer, kind) in &frames {
            for mutation in MUTATIONS {
                for _ in 0..each {
                    cases.push(Case {
                        mux,
                        state,
                        layer: *layer,
                        kind: *kind,
                        mutation,
                        seed: first_seed + cases.len() as u64,
                    });
                }
            }
        }
    }
    cases
}

/// Which end is hostile.
#[derive(Clone, Copy, Debug)]
enum Hostile {
    Agent,
    Server,
}

async fn run_all(hostile: Hostile, cases: Vec<Case>) {
    let acceptor = frugal();
    let memory = &acceptor.memory;
    let mut honest = Honest::beside(&acceptor).await;
    let taken = || (memory.windows.taken(), memory.replay.taken());
    let at_rest = taken();
    let heap = Heap::from_now_on();
    let mut ends = BTreeMap::<&str, usize>::new();
    for case in &cases {
        let peer = match hostile {
            Hostile::Agent => Peer::connect(&acceptor, case.mux).await,
            Hostile::Server => dialled(memory, case.mux).await,
        };
        let mut peer = peer.served(echo);
        let end = case.run(&mut peer).await;
        let what = match &end {
            None => "goes on",
            Some(End::Protocol(_)) => "link",
            Some(End::Mux(_)) => "multiplexer",
            // What was CLOSE, or has become it.
            Some(End::ClosedByPeer { .. }) => "closed",
            // The deadline of a DRAIN.
            Some(End::ClosedHere { .. }) => "drained",
            // What yamux makes of a GoAway, and of its end.
            Some(End::CarrierLost(_)) if case.mux == YAMUX => "yamux",
            Some(other) => panic!("{case:?}: {other:?}"),
        };
        *ends.entry(what).or_default() += 1;
        if end.is_none() {
            peer.finish().await;
        }
        honest.is_served().await;
    }
    println!("{} cases: {ends:?}", cases.len());
    // They are of use only if they come to all kinds of ends.
    for what in ["goes on", "link", "multiplexer", "closed"] {
        assert!(ends.get(what).is_some_and(|count| *count > 20), "{ends:?}");
    }
    until("budgets", || taken() == at_rest).await;
    assert!(heap.now() < 256 * 1024, "{} bytes are left", heap.now());
}

fn first_seed() -> u64 {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("SEED={seed}");
    seed
}

/// All kinds of frames of ours.
fn fair() -> Vec<u8> {
    (mux::OPEN..=mux::UNKNOWN).chain([mux::SKIPPED]).collect()
}

/// All types of frames of yamux.
const OTHER: [u8; 5] = [
    yamux::DATA,
    yamux::WINDOW,
    yamux::PING,
    yamux::GO_AWAY,
    yamux::UNKNOWN,
];

#[test]
fn no_frame_of_ours_in_any_state_hurts_more_than_its_session() {
    alone(run_all(Hostile::Agent, cases(FAIR, &fair(), 8)));
}

#[test]
fn no_frame_of_yamux_in_any_state_hurts_more_than_its_session() {
    alone(run_all(Hostile::Agent, cases(YAMUX, &OTHER, 4)));
}

#[test]
fn no_frame_of_a_server_in_any_state_hurts_more_than_its_session() {
    alone(run_all(Hostile::Server, cases(FAIR, &fair(), 2)));
    alone(run_all(Hostile::Server, cases(YAMUX, &OTHER, 2)));
}

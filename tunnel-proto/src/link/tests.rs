use super::*;
use crate::frame::DATA_HEADER;
use proptest::prelude::*;

const SMALL: Config = Config {
    replay_bound: 1000,
    quiet: Duration::from_secs(15),
    patience: Duration::from_secs(10),
    ack_delay: Duration::from_millis(200),
};

fn attached(config: Config, now: Instant) -> (Link, Link) {
    let (mut a, mut b) = (Link::new(config), Link::new(config));
    a.attach(now, Offset(0)).unwrap();
    b.attach(now, Offset(0)).unwrap();
    (a, b)
}

/// Delivers everything that either side has to say.
fn settle(now: Instant, a: &mut Link, b: &mut Link) {
    loop {
        let (to_b, to_a) = (a.poll_message(now), b.poll_message(now));
        if to_b.is_none() && to_a.is_none() {
            return;
        }
        if let Some(message) = to_b {
            b.handle_message(now, message).unwrap();
        }
        if let Some(message) = to_a {
            a.handle_message(now, message).unwrap();
        }
    }
}

fn read_all(link: &mut Link) -> Vec<u8> {
    let mut out = vec![0; link.buffered()];
    assert_eq!(link.read(&mut out), out.len());
    out
}

#[test]
fn a_full_replay_buffer_stops_writes_until_the_peer_acknowledges() {
    let mut now = Instant::now();
    let (mut a, mut b) = attached(SMALL, now);
    assert_eq!(a.write(&[1; 5000]), 1000);
    assert_eq!(a.write(&[1; 1]), 0);
    a.flush();
    settle(now, &mut a, &mut b);
    assert_eq!(read_all(&mut b).len(), 1000);
    now += SMALL.ack_delay;
    settle(now, &mut a, &mut b);
    assert_eq!(a.unacknowledged(), 0);
    assert_eq!(a.write(&[1; 5000]), 1000);
}

#[test]
fn short_messages_are_kept_up_to_a_number_of_their_own() {
    let now = Instant::now();
    let config = Config {
        replay_bound: 100_000,
        ..SMALL
    };
    let (mut a, mut b) = attached(config, now);
    let mut messages = 0;
    while a.write(b"x") == 1 {
        a.flush();
        messages += 1;
        if let Some(message) = a.poll_message(now) {
            b.handle_message(now, message).unwrap();
        }
    }
    // One for 256 bytes of the bound, which the bytes themselves are far from.
    assert_eq!((messages, a.room()), (390, 0));
    settle(now + SMALL.ack_delay, &mut a, &mut b);
    assert_eq!(a.room(), 100_000);
    assert_eq!(read_all(&mut b).len(), messages);
}

#[test]
fn many_short_messages_are_acknowledged_before_the_sender_may_keep_no_more() {
    let now = Instant::now();
    let (mut a, mut b) = attached(SMALL, now);
    settle(now, &mut a, &mut b);
    for sent in 1.. {
        assert!(sent < 64, "never acknowledged");
        assert_eq!(a.write(b"x"), 1);
        a.flush();
        b.handle_message(now, a.poll_message(now).unwrap()).unwrap();
        if let Some(ack) = b.poll_message(now) {
            a.handle_message(now, ack).unwrap();
            break;
        }
    }
    assert_eq!(a.unacknowledged(), 0);
}

#[test]
fn acknowledges_at_once_after_a_quarter_of_the_bound_and_late_when_idle() {
    let now = Instant::now();
    let (mut a, mut b) = attached(SMALL, now);
    settle(now, &mut a, &mut b);
    for (len, unacknowledged) in [(249, 249), (1, 0), (10, 10)] {
        a.write(&vec![0; len]);
        a.flush();
        settle(now, &mut a, &mut b);
        assert_eq!(a.unacknowledged(), unacknowledged);
    }
    let later = b.poll_timeout().unwrap();
    assert_eq!(later, now + SMALL.ack_delay);
    settle(later, &mut a, &mut b);
    assert_eq!(a.unacknowledged(), 0);
}

#[test]
fn data_carries_the_acknowledgement_of_the_other_direction() {
    let now = Instant::now();
    let (mut a, mut b) = attached(SMALL, now);
    a.write(b"ask");
    a.flush();
    settle(now, &mut a, &mut b);
    b.write(b"answer");
    b.flush();
    settle(now, &mut a, &mut b);
    assert_eq!(a.unacknowledged(), 0);
    assert_eq!(read_all(&mut a), b"answer");
}

#[test]
fn long_writes_leave_in_full_messages() {
    let now = Instant::now();
    let (mut a, mut b) = attached(Config::default(), now);
    settle(now, &mut a, &mut b);
    a.write(&vec![7; 2 * FULL + 5]);
    a.flush();
    let sizes: Vec<_> = std::iter::from_fn(|| a.poll_message(now))
        .map(|m| m.len())
        .collect();
    assert_eq!(
        sizes,
        [
            FULL + DATA_HEADER,
            FULL + DATA_HEADER,
            frame::DATA_HEADER + 5
        ]
    );
}

#[test]
fn an_idle_link_holds_no_buffer() {
    let now = Instant::now();
    let (mut a, mut b) = attached(SMALL, now);
    a.write(&[1; 100]);
    a.flush();
    settle(now, &mut a, &mut b);
    settle(now + SMALL.ack_delay, &mut a, &mut b);
    assert!(format!("{:?}", a.send).contains("block: b\"\""));
}

#[test]
fn a_quiet_peer_is_asked_and_a_silent_one_given_up() {
    let mut now = Instant::now();
    let (mut a, mut b) = attached(SMALL, now);
    settle(now, &mut a, &mut b);
    assert!(a.round_trip().is_some());
    now = a.poll_timeout().unwrap();
    assert_eq!(now, a.poll_timeout().unwrap());
    a.handle_timeout(now);
    assert!(a.poll_message(now).is_some(), "a ping");
    assert_eq!(a.poll_event(), None);
    now += SMALL.patience;
    a.handle_timeout(now);
    assert_eq!(a.poll_event(), Some(Event::CarrierSilent));
}

#[test]
fn a_carrier_that_takes_nothing_is_given_up_as_well() {
    let start = Instant::now();
    let (mut a, _) = attached(SMALL, start);
    let at = a.poll_timeout().unwrap();
    assert_eq!(at, start + SMALL.quiet + SMALL.patience);
    a.handle_timeout(at);
    assert_eq!(a.poll_event(), Some(Event::CarrierSilent));
}

#[test]
fn close_leaves_behind_all_data_and_ends_both_sides() {
    let now = Instant::now();
    let (mut a, mut b) = attached(SMALL, now);
    a.write(b"last words");
    a.close(CloseCode::Normal, "done");
    settle(now, &mut a, &mut b);
    assert_eq!(read_all(&mut b), b"last words");
    let closed = Event::Closed {
        code: CloseCode::Normal,
        reason: "done".into(),
    };
    assert_eq!(b.poll_event(), Some(closed));
    assert!(a.is_closed() && b.is_closed());
    assert_eq!(a.write(b"more"), 0);
}

#[test]
fn drain_is_told_with_its_deadline() {
    let now = Instant::now();
    let (mut a, mut b) = attached(SMALL, now);
    a.drain(Duration::from_secs(30), "restarting");
    settle(now, &mut a, &mut b);
    let draining = Event::Draining {
        deadline: now + Duration::from_secs(30),
        reason: "restarting".into(),
    };
    assert_eq!(b.poll_event(), Some(draining));
}

#[test]
fn a_lane_is_asked_for_on_every_carrier_until_it_is_wanted_no_more() {
    let now = Instant::now();
    let (mut a, mut b) = attached(SMALL, now);
    a.want_lane(Some(3));
    for _ in 0..2 {
        settle(now, &mut a, &mut b);
        assert_eq!(b.poll_event(), Some(Event::LaneWanted(3)));
        assert_eq!(b.poll_event(), None);
        for link in [&mut a, &mut b] {
            link.attach(now, Offset(0)).unwrap();
        }
    }
    a.want_lane(None);
    settle(now, &mut a, &mut b);
    assert_eq!(b.poll_event(), None);
}

#[test]
fn receipts_that_cannot_be_are_refused() {
    let now = Instant::now();
    let (mut a, _) = attached(SMALL, now);
    a.write(&[0; 10]);
    a.flush();
    let error = a.attach(now, Offset(11)).unwrap_err();
    assert_eq!(
        error,
        LinkError::ImpossibleReceipt {
            claimed: 11,
            from: 0,
            to: 10
        }
    );
    let ack = message(&Frame::Ack(Offset(1)));
    assert!(a.handle_message(now, ack).is_err(), "nothing was sent yet");
}

#[test]
fn bytes_sent_one_by_one_do_not_hold_the_messages_they_came_in() {
    let now = Instant::now();
    let (mut a, _) = attached(Config::default(), now);
    let padding = [&[0x90, 0x00, 0xff, 0x00][..], &[0; 0xff00]].concat();
    for offset in 0..100 {
        let mut bytes = BytesMut::new();
        let payload = Bytes::from_static(b"x");
        let (offset, received) = (Offset(offset), Offset(0));
        frame::encode(
            &Frame::Data {
                offset,
                received,
                payload,
            },
            &mut bytes,
        );
        bytes.extend_from_slice(&padding);
        let message = bytes.freeze();
        a.handle_message(now, message.clone()).unwrap();
        assert!(
            message.is_unique(),
            "the link holds a message of 64 KiB for one byte"
        );
    }
    assert!(a.held() >= 100 * 128);
}

#[test]
fn an_aborted_link_says_so_before_anything_that_was_written() {
    let now = Instant::now();
    let (mut a, _) = attached(SMALL, now);
    a.write(b"never sent");
    let message = a.abort(CloseCode::ProtocolError, "broken").unwrap();
    assert_eq!(message[0], 0x06);
    assert!(a.is_closed() && a.poll_message(now).is_none());
}

#[test]
fn a_gap_is_refused_and_a_repetition_dropped() {
    let now = Instant::now();
    let (mut a, _) = attached(SMALL, now);
    let data = |offset, payload: &'static [u8]| {
        message(&Frame::Data {
            offset: Offset(offset),
            received: Offset(0),
            payload: Bytes::from_static(payload),
        })
    };
    a.handle_message(now, data(0, b"abc")).unwrap();
    a.handle_message(now, data(0, b"abc")).unwrap();
    a.handle_message(now, data(2, b"cde")).unwrap();
    assert_eq!(read_all(&mut a), b"abcde");
    let gap = LinkError::Gap {
        offset: 6,
        missing: 1,
    };
    assert_eq!(a.handle_message(now, data(6, b"x")), Err(gap));
    let overflow = LinkError::OffsetOverflow(u64::MAX);
    assert_eq!(a.handle_message(now, data(u64::MAX, b"x")), Err(overflow));
}

/// One thing that happens in a world of two links and a carrier that keeps breaking.
#[derive(Clone, Debug)]
enum Step {
    Write {
        side: bool,
        len: usize,
    },
    Flush {
        side: bool,
    },
    /// One message moves from this side into the network.
    Send {
        side: bool,
    },
    /// One message leaves the network on the other side.
    Deliver {
        from: bool,
    },
    Read {
        side: bool,
        len: usize,
    },
    Wait {
        ms: u64,
    },
    /// What is in the network is lost, and another carrier attaches.
    Break,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 0..3000_usize).prop_map(|(side, len)| Step::Write { side, len }),
        2 => any::<bool>().prop_map(|side| Step::Flush { side }),
        8 => any::<bool>().prop_map(|side| Step::Send { side }),
        8 => any::<bool>().prop_map(|from| Step::Deliver { from }),
        4 => (any::<bool>(), 0..5000_usize).prop_map(|(side, len)| Step::Read { side, len }),
        2 => (0..400_u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Break),
    ]
}

/// The byte at `position` of what `side` writes.
fn byte(side: usize, position: usize) -> u8 {
    (position.wrapping_mul(2_654_435_761) >> 7) as u8 ^ side as u8
}

struct World {
    now: Instant,
    links: [Link; 2],
    network: [std::collections::VecDeque<Bytes>; 2],
    written: [usize; 2],
    read: [usize; 2],
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let config = Config {
            replay_bound: 10_000,
            ..SMALL
        };
        let (a, b) = attached(config, now);
        Self {
            now,
            links: [a, b],
            network: Default::default(),
            written: [0; 2],
            read: [0; 2],
        }
    }

    fn step(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Write { side, len } => {
                let side = usize::from(side);
                let from = self.written[side];
                let bytes: Vec<_> = (from..from + len).map(|at| byte(side, at)).collect();
                self.written[side] += self.links[side].write(&bytes);
            }
            Step::Flush { side } => self.links[usize::from(side)].flush(),
            Step::Send { side } => {
                let side = usize::from(side);
                self.network[side].extend(self.links[side].poll_message(now));
            }
            Step::Deliver { from } => {
                let from = usize::from(from);
                if let Some(message) = self.network[from].pop_front() {
                    self.links[1 - from].handle_message(now, message).unwrap();
                }
            }
            Step::Read { side, len } => {
                let side = usize::from(side);
                let mut out = vec![0; len];
                let got = self.links[side].read(&mut out);
                for (at, read) in out[..got].iter().enumerate() {
                    assert_eq!(*read, byte(1 - side, self.read[side] + at));
                }
                self.read[side] += got;
            }
            Step::Wait { ms } => self.now += Duration::from_millis(ms),
            Step::Break => {
                self.network = Default::default();
                let [a, b] = &mut self.links;
                let (has_a, has_b) = (a.received(), b.received());
                a.detach();
                b.detach();
                a.attach(now, has_b).unwrap();
                b.attach(now, has_a).unwrap();
            }
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_of_carrier_losses_delivers_every_byte_once_and_in_order(
        steps in prop::collection::vec(any_step(), 1..300)
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        for _ in 0..100 {
            for side in [false, true] {
                world.step(&Step::Flush { side });
                for _ in 0..20 {
                    world.step(&Step::Send { side });
                    world.step(&Step::Deliver { from: side });
                }
                world.step(&Step::Read { side, len: 20_000 });
            }
            world.step(&Step::Wait { ms: 200 });
        }
        prop_assert_eq!(world.written[0], world.read[1]);
        prop_assert_eq!(world.written[1], world.read[0]);
        for link in &world.links {
            prop_assert_eq!(link.unacknowledged(), 0);
            prop_assert_eq!(link.buffered(), 0);
        }
    }

    #[test]
    fn arbitrary_messages_never_panic(messages in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..100), 0..20
    )) {
        let now = Instant::now();
        let (mut link, _) = attached(SMALL, now);
        for message in messages {
            let _ = link.handle_message(now, message.into());
            while link.poll_message(now).is_some() {}
        }
    }
}

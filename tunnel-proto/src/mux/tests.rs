use super::{frame::Control, *};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn config(side: Side) -> Config {
    Config {
        side,
        own_streams: 4,
        peer_streams: 8,
        windows: Budget::new(8 * 1024 * 1024),
    }
}

/// Both ends, with what is on its way between them.
struct Pair {
    now: Instant,
    agent: Mux,
    server: Mux,
    to_agent: Vec<u8>,
    to_server: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            agent: Mux::new(config(Side::Agent)),
            server: Mux::new(config(Side::Server)),
            to_agent: Vec::new(),
            to_server: Vec::new(),
        }
    }

    /// Lets either end send into at most `room` bytes, and the other take `piece` bytes of it.
    fn step(&mut self, room: usize, piece: usize) -> usize {
        let (agent, server, now) = (&mut self.agent, &mut self.server, self.now);
        carry(agent, server, &mut self.to_server, now, room, piece)
            + carry(server, agent, &mut self.to_agent, now, room, piece)
    }

    /// Until nothing moves any more; says how many bytes did.
    fn settle(&mut self) -> usize {
        std::iter::from_fn(|| Some(self.step(70_000, usize::MAX)))
            .take_while(|moved| *moved > 0)
            .sum()
    }
}

fn carry(
    from: &mut Mux,
    to: &mut Mux,
    wire: &mut Vec<u8>,
    now: Instant,
    room: usize,
    piece: usize,
) -> usize {
    let before = wire.len();
    let said = from.transmit(now, room, wire);
    assert_eq!(wire.len() - before, said);
    assert!(said <= room);
    let taken: Vec<u8> = wire.drain(..piece.min(wire.len())).collect();
    let moved = said + taken.len();
    to.receive(taken.into()).unwrap();
    moved
}

fn events(mux: &mut Mux) -> Vec<Event> {
    std::iter::from_fn(|| mux.poll_event()).collect()
}

fn read_all(mux: &mut Mux, now: Instant, id: StreamId) -> (usize, Read) {
    let (mut sum, mut buffer) = (0, [0; 10_000]);
    loop {
        match mux.read(now, id, &mut buffer) {
            Read::Bytes(read) => sum += read,
            end => return (sum, end),
        }
    }
}

fn write_all(pair: &mut Pair, id: StreamId, mut len: usize) {
    while len > 0 {
        match pair.server.write(id, &vec![7; len.min(30_000)]) {
            Write::Bytes(written) => len -= written,
            Write::Wait => {
                assert!(pair.step(70_000, usize::MAX) > 0, "stuck with {len}");
                let now = pair.now;
                read_all(&mut pair.agent, now, id);
            }
            end => panic!("{end:?}"),
        }
    }
}

#[test]
fn bytes_and_both_ends_arrive() {
    let mut pair = Pair::new();
    let now = pair.now;
    let id = pair.server.open(Class::Watch).unwrap();
    assert_eq!(pair.server.write(id, b"question"), Write::Bytes(8));
    pair.server.finish(id);
    pair.settle();
    assert_eq!(events(&mut pair.agent), [Event::Opened(id)]);
    assert_eq!(read_all(&mut pair.agent, now, id), (8, Read::End));
    assert_eq!(pair.agent.write(id, b"answer"), Write::Bytes(6));
    pair.settle();
    assert_eq!(read_all(&mut pair.server, now, id), (6, Read::Wait));
    pair.agent.finish(id);
    pair.agent.release(id);
    pair.settle();
    assert_eq!(events(&mut pair.server), [Event::Readable(id)]);
    assert_eq!(read_all(&mut pair.server, now, id), (0, Read::End));
    pair.server.release(id);
    for mux in [&pair.agent, &pair.server] {
        assert_eq!(mux.stats(), Stats::default());
        assert!(mux.streams.is_empty() && !mux.wants_transmit());
    }
}

#[test]
fn a_reader_that_stops_stops_nobody_else() {
    let mut pair = Pair::new();
    let now = pair.now;
    let stopped = pair.server.open(Class::Bulk).unwrap();
    let other = pair.server.open(Class::Bulk).unwrap();
    let mut taken = 0;
    while let Write::Bytes(written) = pair.server.write(stopped, &[1; 10_000]) {
        taken += written;
        pair.settle();
    }
    let window = u64::from(stream::FIRST_WINDOW) as usize;
    assert_eq!(taken, window + stream::SEND_QUEUE);
    assert_eq!(pair.server.stats().blocked, 1);
    write_all(&mut pair, other, 3_000_000);
    assert_eq!(
        pair.agent.stats().unread,
        window + pair.agent.streams[&other].receive.buffered()
    );
    // Once it reads again, it gets the rest.
    let (mut sum, mut buffer) = (0, [0; 9_999]);
    while sum < taken {
        match pair.agent.read(now, stopped, &mut buffer) {
            Read::Bytes(read) => sum += read,
            Read::Wait => {
                pair.settle();
            }
            end => panic!("{end:?}"),
        }
    }
}

#[test]
fn a_window_grows_while_it_holds_the_sender_up_and_no_more() {
    let mut pair = Pair::new();
    pair.agent.set_round_trip(Duration::from_millis(50));
    let id = pair.server.open(Class::Bulk).unwrap();
    // A sender that always has more, 50 ms away.
    for _ in 0..10 {
        while let Write::Bytes(_) = pair.server.write(id, &[1; 60_000]) {
            pair.settle();
        }
        pair.now += Duration::from_millis(50);
        let now = pair.now;
        read_all(&mut pair.agent, now, id);
        pair.settle();
    }
    let grown = pair.agent.stats().widest;
    assert!(grown > 4 * 1024 * 1024, "{grown}");
    // One that sends little.
    let slow = pair.server.open(Class::Bulk).unwrap();
    for _ in 0..100 {
        pair.server.write(slow, &[1; 50_000]);
        pair.settle();
        pair.now += Duration::from_millis(50);
        let now = pair.now;
        read_all(&mut pair.agent, now, slow);
    }
    let window = pair.agent.streams[&slow].receive.window();
    assert!(window <= 2 * u64::from(stream::FIRST_WINDOW), "{window}");
    // What was taken for it is given back.
    assert!(pair.agent.config.windows.taken() > 0);
    for id in [id, slow] {
        pair.agent.release(id);
        pair.server.release(id);
    }
    pair.settle();
    assert_eq!(pair.agent.config.windows.taken(), 0);
    assert_eq!(pair.server.config.windows.taken(), 0);
}

#[test]
fn equal_streams_get_equal_shares() {
    let mut pair = Pair::new();
    let ids: Vec<_> = (0..4)
        .map(|_| pair.server.open(Class::Bulk).unwrap())
        .collect();
    let mut got = BTreeMap::new();
    for _ in 0..2_000 {
        for id in &ids {
            pair.server.write(*id, &[1; 64_000]);
        }
        pair.step(70_000, usize::MAX);
        let now = pair.now;
        for id in &ids {
            *got.entry(*id).or_insert(0) += read_all(&mut pair.agent, now, *id).0;
        }
    }
    let (least, most) = (got.values().min().unwrap(), got.values().max().unwrap());
    assert!(*least as f64 / *most as f64 > 0.99, "{got:?}");
}

#[test]
fn a_keystroke_goes_before_what_bulk_has_queued() {
    let mut pair = Pair::new();
    let bulk: Vec<_> = (0..3)
        .map(|_| pair.server.open(Class::Bulk).unwrap())
        .collect();
    for id in &bulk {
        pair.server.write(*id, &[1; 64_000]);
    }
    pair.step(20_000, 0);
    let shell = pair.server.open(Class::Interactive).unwrap();
    pair.server.write(shell, b"l");
    let mut wire = Vec::new();
    pair.server.transmit(pair.now, 20_000, &mut wire);
    let key = [&frame::data_header(shell, 1)[..], b"l"].concat();
    let at = wire.windows(key.len()).position(|window| window == key);
    // Behind its own opening, and nothing else.
    assert_eq!(at, Some(HEADER + 5));
}

#[test]
fn an_answer_behind_which_the_stream_is_dropped_arrives() {
    let mut pair = Pair::new();
    let now = pair.now;
    let id = pair.agent.open(Class::Control).unwrap();
    pair.agent.write(id, &[1; 50_000]);
    pair.settle();
    assert_eq!(pair.server.write(id, b"refused"), Write::Bytes(7));
    pair.server.finish(id);
    pair.server.release(id);
    pair.settle();
    assert_eq!(read_all(&mut pair.agent, now, id), (7, Read::End));
    assert_eq!(pair.agent.write(id, b"more"), Write::Reset(CANCELLED));
    pair.agent.release(id);
    assert!(pair.agent.streams.is_empty() && pair.server.streams.is_empty());
}

#[test]
fn what_was_written_before_the_stream_was_dropped_arrives() {
    let mut pair = Pair::new();
    let now = pair.now;
    let id = pair.agent.open(Class::Control).unwrap();
    pair.agent.write(id, &[1; 50_000]);
    assert!(pair.agent.is_covered(id));
    pair.agent.release(id);
    pair.settle();
    assert_eq!(
        read_all(&mut pair.server, now, id),
        (50_000, Read::Reset(CANCELLED))
    );
    // What the peer may never take is not waited for.
    let id = pair.agent.open(Class::Control).unwrap();
    while let Write::Bytes(_) = pair.agent.write(id, &[1; 50_000]) {
        pair.settle();
    }
    assert!(!pair.agent.is_covered(id));
    pair.agent.release(id);
    pair.settle();
    assert!(pair.agent.streams.is_empty());
}

#[test]
fn two_who_drop_a_stream_while_each_waits_for_credit_of_the_other_are_rid_of_it() {
    let mut pair = Pair::new();
    let id = pair.agent.open(Class::Watch).unwrap();
    pair.settle();
    for _ in 0..20 {
        pair.agent.write(id, &[1; 50_000]);
        pair.server.write(id, &[2; 50_000]);
        pair.settle();
    }
    for mux in [&mut pair.agent, &mut pair.server] {
        assert!(!mux.is_covered(id));
        mux.finish(id);
        mux.release(id);
    }
    pair.settle();
    for mux in [&pair.agent, &pair.server] {
        assert_eq!(mux.stats(), Stats::default());
        assert!(mux.streams.is_empty() && !mux.wants_transmit());
    }
}

#[test]
fn a_stream_that_is_dropped_is_reset_and_what_came_before_is_read() {
    let mut pair = Pair::new();
    let now = pair.now;
    let id = pair.agent.open(Class::Control).unwrap();
    pair.agent.write(id, b"some");
    pair.settle();
    assert_eq!(pair.server.read(now, id, &mut [0; 2]), Read::Bytes(2));
    pair.agent.release(id);
    pair.settle();
    assert_eq!(
        read_all(&mut pair.server, now, id),
        (2, Read::Reset(CANCELLED))
    );
    assert_eq!(pair.server.write(id, b"x"), Write::Reset(CANCELLED));
    pair.server.release(id);
    assert!(pair.agent.streams.is_empty() && pair.server.streams.is_empty());
}

#[test]
fn no_more_streams_are_opened_than_the_peer_takes() {
    let mut pair = Pair::new();
    let ids: Vec<_> = (0..4)
        .map(|_| pair.agent.open(Class::Control).unwrap())
        .collect();
    assert_eq!(pair.agent.open(Class::Control), None);
    pair.settle();
    pair.agent.release(ids[0]);
    // Its place is free when the peer has been told.
    assert_eq!(pair.agent.open(Class::Control), None);
    pair.settle();
    assert_eq!(events(&mut pair.agent), [Event::Room]);
    assert!(pair.agent.open(Class::Control).is_some());
}

#[test]
fn streams_over_the_limit_are_refused_and_a_flood_of_them_ends_the_session() {
    let mut server = Mux::new(config(Side::Server));
    let open = |id: u32| {
        let control = Control::Open {
            class: Class::Bulk,
            credit: 0,
        };
        let (bytes, len) = control.encode(StreamId(id));
        Bytes::copy_from_slice(&bytes[..len])
    };
    let mut id = 1;
    for _ in 0..8 + MOST_REFUSALS {
        server.receive(open(id)).unwrap();
        id += 2;
    }
    assert_eq!(server.streams.len(), 8);
    assert_eq!(server.receive(open(id)), Err(MuxError::Flood));
    let mut told = Vec::new();
    while server.transmit(Instant::now(), 4_000, &mut told) > 0 {}
    assert!(told.len() >= MOST_REFUSALS * HEADER);
}

#[test]
fn streams_that_come_and_go_while_nothing_can_be_sent_leave_no_trace() {
    let now = Instant::now();
    let mut server = Mux::new(config(Side::Server));
    for number in (1..20_000).step_by(2) {
        let id = StreamId(number);
        let open = Control::Open {
            class: Class::Watch,
            credit: 100,
        };
        for control in [open, Control::Credit(1_000), Control::Reset(0)] {
            let (bytes, len) = control.encode(id);
            let answers = matches!(control, Control::Credit(_));
            if answers {
                assert_eq!(server.write(id, b"answer"), Write::Bytes(6));
            }
            server
                .receive(Bytes::copy_from_slice(&bytes[..len]))
                .unwrap();
        }
        server.release(id);
        events(&mut server);
        assert!(server.due.len() < 100 && server.gate.len() < 100);
    }
    assert!(server.streams.is_empty());
    // What is left of them is nothing to send.
    assert_eq!(server.transmit(now, 100_000, &mut Vec::new()), 0);
    assert!(!server.wants_transmit());
}

#[test]
fn faults_of_the_peer_have_names() {
    let now = Instant::now();
    let frame = |control: Control, id: u32| {
        let (bytes, len) = control.encode(StreamId(id));
        Bytes::copy_from_slice(&bytes[..len])
    };
    let open = Control::Open {
        class: Class::Bulk,
        credit: 0,
    };
    let mut server = Mux::new(config(Side::Server));
    assert_eq!(
        server.receive(frame(open, 2)),
        Err(MuxError::BadStream(StreamId(2)))
    );
    assert_eq!(
        server.receive(frame(open, 3)),
        Err(MuxError::BadStream(StreamId(3)))
    );
    assert_eq!(
        server.receive(frame(Control::Fin, 1)),
        Err(MuxError::BadStream(StreamId(1)))
    );
    server.receive(frame(open, 1)).unwrap();
    server.transmit(now, 1_000, &mut Vec::new());
    server.receive(frame(Control::Fin, 1)).unwrap();
    assert_eq!(
        server.receive(frame(Control::Fin, 1)),
        Err(MuxError::BehindEnd(StreamId(1)))
    );
    server.receive(frame(open, 3)).unwrap();
    let over = [
        &frame::data_header(StreamId(3), MAX_DATA)[..],
        &[0; MAX_DATA],
    ]
    .concat();
    let over = Bytes::from(over);
    for _ in 0..stream::FIRST_WINDOW as usize / MAX_DATA {
        server.receive(over.clone()).unwrap_or_default();
    }
    assert_eq!(server.receive(over), Err(MuxError::OverCredit(StreamId(3))));
}

/// What one of two users does.
#[derive(Clone, Debug)]
enum Act {
    Open(Class),
    Write(usize, usize),
    Finish(usize),
    Read(usize, usize),
    Release(usize),
    Class(usize, Class),
}

fn any_act() -> impl Strategy<Value = Act> {
    let class = prop::sample::select(Class::ALL.to_vec());
    prop_oneof![
        2 => class.clone().prop_map(Act::Open),
        6 => (0..8_usize, 0..100_000_usize).prop_map(|(at, len)| Act::Write(at, len)),
        1 => (0..8_usize).prop_map(Act::Finish),
        6 => (0..8_usize, 1..100_000_usize).prop_map(|(at, len)| Act::Read(at, len)),
        1 => (0..8_usize).prop_map(Act::Release),
        1 => (0..8_usize, class).prop_map(|(at, class)| Act::Class(at, class)),
    ]
}

/// What a user knows of one direction.
#[derive(Debug, Default)]
struct Direction {
    written: Vec<u8>,
    finished: bool,
    read: usize,
    ended: bool,
}

/// The streams that one end holds.
#[derive(Default)]
struct User {
    held: Vec<StreamId>,
}

struct World {
    pair: Pair,
    users: [User; 2],
    /// Per stream: what the agent writes and the server reads, and the other way round.
    known: BTreeMap<StreamId, [Direction; 2]>,
    counter: u8,
}

impl World {
    fn mux(&mut self, end: usize) -> &mut Mux {
        [&mut self.pair.agent, &mut self.pair.server][end]
    }

    fn take_events(&mut self) {
        for end in 0..2 {
            for event in events(self.mux(end)) {
                if let Event::Opened(id) = event {
                    self.users[end].held.push(id);
                }
            }
        }
    }

    /// Reads at most so many bytes; says how many there were.
    fn read(&mut self, end: usize, id: StreamId, len: usize) -> usize {
        let now = self.pair.now;
        let mut buffer = vec![0; len];
        let read = self.mux(end).read(now, id, &mut buffer);
        let direction = &mut self.known.get_mut(&id).unwrap()[1 - end];
        match read {
            Read::Bytes(read) => {
                let expected = &direction.written[direction.read..][..read];
                assert_eq!(expected, &buffer[..read], "stream {id}");
                direction.read += read;
                read
            }
            Read::End => {
                assert!(direction.finished && direction.read == direction.written.len());
                direction.ended = true;
                0
            }
            Read::Wait | Read::Reset(_) => {
                assert!(!direction.ended);
                0
            }
        }
    }

    /// Both users read what there is, until nothing moves any more.
    fn read_to_the_end(&mut self) {
        loop {
            let mut moved = self.pair.settle();
            self.take_events();
            for end in 0..2 {
                for id in self.users[end].held.clone() {
                    moved += self.read(end, id, 100_000);
                }
            }
            if moved == 0 {
                return;
            }
        }
    }

    fn act(&mut self, end: usize, act: &Act) {
        let at = |at: &usize, user: &User| user.held.get(*at).copied();
        match act {
            Act::Open(class) => {
                if let Some(id) = self.mux(end).open(*class) {
                    self.users[end].held.push(id);
                    self.known.insert(id, Default::default());
                }
            }
            Act::Write(index, len) => {
                let Some(id) = at(index, &self.users[end]) else {
                    return;
                };
                self.counter = self.counter.wrapping_add(1);
                let bytes: Vec<u8> = (0..*len).map(|n| (n as u8) ^ self.counter).collect();
                let written = self.mux(end).write(id, &bytes);
                let direction = &mut self.known.get_mut(&id).unwrap()[end];
                match written {
                    Write::Bytes(written) => direction.written.extend_from_slice(&bytes[..written]),
                    Write::Wait | Write::Reset(_) => {}
                    Write::Ended => assert!(direction.finished),
                }
            }
            Act::Finish(index) => {
                let Some(id) = at(index, &self.users[end]) else {
                    return;
                };
                self.mux(end).finish(id);
                self.known.get_mut(&id).unwrap()[end].finished = true;
            }
            Act::Read(index, len) => {
                if let Some(id) = at(index, &self.users[end]) {
                    self.read(end, id, *len);
                }
            }
            Act::Release(index) => {
                let Some(id) = at(index, &self.users[end]) else {
                    return;
                };
                self.mux(end).release(id);
                self.users[end].held.retain(|held| *held != id);
            }
            Act::Class(index, class) => {
                let Some(id) = at(index, &self.users[end]) else {
                    return;
                };
                self.mux(end).set_class(id, *class);
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_users_do_bytes_arrive_in_order_once_and_nothing_stays_behind(
        acts in prop::collection::vec((0..2_usize, any_act(), 20..90_000_usize, 0..100_000_usize), 1..150),
    ) {
        let mut world = World {
            pair: Pair::new(), users: Default::default(), known: BTreeMap::new(), counter: 0,
        };
        for (end, act, room, piece) in &acts {
            world.act(*end, act);
            world.pair.step(*room, *piece);
            world.pair.now += Duration::from_millis(3);
            world.take_events();
        }
        // Everybody reads to the end; what was written to somebody who still holds the stream is
        // all there.
        world.read_to_the_end();
        for (id, directions) in &world.known {
            for (end, direction) in directions.iter().enumerate() {
                let both = (0..2).all(|end| world.users[end].held.contains(id));
                if both {
                    prop_assert_eq!(direction.read, direction.written.len(), "stream {} from {}", id, end);
                    prop_assert_eq!(direction.ended, direction.finished);
                }
            }
        }
        for end in 0..2 {
            for id in std::mem::take(&mut world.users[end].held) {
                world.mux(end).release(id);
            }
        }
        world.pair.settle();
        for mux in [&world.pair.agent, &world.pair.server] {
            prop_assert_eq!(mux.stats(), Stats::default());
            prop_assert!(mux.streams.is_empty() && !mux.wants_transmit());
            prop_assert_eq!(mux.config.windows.taken(), 0);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_hold_no_more_than_was_allowed(
        bytes in prop::collection::vec(any::<u8>(), 0..400), kinds in prop::collection::vec(0..8_u8, 0..40),
    ) {
        let mut server = Mux::new(config(Side::Server));
        let _ = server.receive(bytes.into());
        let mut server = Mux::new(config(Side::Server));
        for (index, kind) in kinds.into_iter().enumerate() {
            let id = 1 + 2 * (index as u32 % 9);
            let frame = [&[kind, 0, 0, kind], &id.to_be_bytes()[..], &vec![kind; kind.into()]].concat();
            if server.receive(frame.into()).is_err() { break; }
            prop_assert!(server.stats().unread <= 8 * stream::FIRST_WINDOW as usize);
        }
    }
}

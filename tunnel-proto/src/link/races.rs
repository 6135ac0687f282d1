//! Every interleaving of losses, handshakes and messages of a small session, one by one.
//!
//! Two links write a few bytes to each other over carriers that either end may lose at any time,
//! with all that was not received on them. The agent makes one attempt after the other; the server
//! may still be at an older one when a newer one comes. What the driver of a link has to keep to is
//! in [`Rules`]: with all of them nothing goes wrong in any state, without any one of them
//! something does.

use super::*;
use crate::frame::Offset;
use std::collections::{HashSet, VecDeque};

/// What the driver of a link keeps to. See "Attach and resume" in SPEC.md.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// A side takes nothing more from the old carrier once it has said what it has received.
    freezes: bool,
    /// A handshake that was overtaken by another one does not attach.
    newest_attaches: bool,
    /// So does one that was about to attach when another one asked.
    asking_voids: bool,
    /// A hello that says less than was acknowledged is an old one: only its carrier is dropped.
    bears_old_hellos: bool,
}

const ALL: Rules = Rules {
    freezes: true,
    newest_attaches: true,
    asking_voids: true,
    bears_old_hellos: true,
};

/// How much may happen.
#[derive(Clone, Copy)]
struct Bounds {
    /// Bytes that the agent and the server write.
    bytes: [u64; 2],
    /// Carriers, the first of which is up.
    carriers: usize,
    /// Bytes that may be unacknowledged.
    replay: usize,
}

const AGENT: usize = 0;
const SERVER: usize = 1;

#[derive(Clone, Debug)]
enum Message {
    Hello(Offset),
    Welcome(Offset),
    Link(Bytes),
}

/// How far the server is with the handshake on a carrier.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Handshake {
    /// It has not begun, or is over.
    None,
    /// The hello was read.
    Read { peer_received: Offset },
    /// The lane was asked to freeze.
    Asked { peer_received: Offset },
    /// The lane has frozen.
    Frozen {
        peer_received: Offset,
        received: Offset,
        epoch: u64,
    },
    /// The welcome was sent.
    Welcomed { peer_received: Offset, epoch: u64 },
}

/// One end of the session.
#[derive(Clone, Debug)]
struct End {
    link: Link,
    /// The carrier it is on.
    on: Option<usize>,
    written: u64,
    read: u64,
}

#[derive(Clone, Debug)]
struct World {
    ends: [End; 2],
    /// What each end has sent on each carrier, and the other has not received.
    carriers: Vec<[VecDeque<Message>; 2]>,
    handshakes: Vec<Handshake>,
    /// The carrier on which the agent waits for a welcome.
    attempt: Option<usize>,
    epoch: u64,
    /// Orders that the server's lane has not taken up.
    ask: Option<usize>,
    attach: Option<(usize, Offset)>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// An end writes a byte.
    Write(usize),
    /// A message of an end moves onto its carrier.
    Send(usize),
    /// The first message on an end's carrier reaches it.
    Receive(usize),
    /// An end gives up its carrier.
    Lose(usize),
    /// The agent makes an attempt, and says hello.
    Dial,
    /// It gives up.
    GiveUp,
    /// The welcome comes.
    Welcome,
    /// The server goes on with the handshake on this carrier.
    Shake(usize),
    /// It gives it up.
    Abandon(usize),
    /// The server's lane takes up its orders.
    Orders,
}

type Fault = String;

impl World {
    fn new(now: Instant, bounds: Bounds) -> Self {
        let end = || {
            let mut link = Link::new(Config {
                replay_bound: bounds.replay,
                ack_delay: Duration::ZERO,
                ..Config::default()
            });
            link.attach(now, Offset(0)).unwrap();
            End {
                link,
                on: Some(0),
                written: 0,
                read: 0,
            }
        };
        Self {
            ends: [end(), end()],
            carriers: vec![Default::default()],
            handshakes: vec![Handshake::None],
            attempt: None,
            epoch: 0,
            ask: None,
            attach: None,
        }
    }

    /// What may happen next.
    fn acts(&self, bounds: Bounds) -> Vec<Act> {
        let mut acts = Vec::new();
        for (index, end) in self.ends.iter().enumerate() {
            if end.written < bounds.bytes[index] && end.link.room() > 0 {
                acts.push(Act::Write(index));
            }
            if let Some(carrier) = end.on {
                acts.push(Act::Send(index));
                acts.push(Act::Lose(index));
                if !self.carriers[carrier][1 - index].is_empty() {
                    acts.push(Act::Receive(index));
                }
            }
        }
        match self.attempt {
            Some(carrier) => {
                acts.push(Act::GiveUp);
                let first = self.carriers[carrier][SERVER].front();
                if matches!(first, Some(Message::Welcome(_))) {
                    acts.push(Act::Welcome);
                }
            }
            None if self.ends[AGENT].on.is_none() && self.carriers.len() < bounds.carriers => {
                acts.push(Act::Dial);
            }
            None => {}
        }
        for (carrier, handshake) in self.handshakes.iter().enumerate() {
            let hello = matches!(
                self.carriers[carrier][AGENT].front(),
                Some(Message::Hello(_))
            );
            match handshake {
                Handshake::None if !hello => {}
                Handshake::Asked { .. } => acts.push(Act::Abandon(carrier)),
                _ => acts.extend([Act::Shake(carrier), Act::Abandon(carrier)]),
            }
        }
        if self.ask.is_some() || self.attach.is_some() {
            acts.push(Act::Orders);
        }
        acts
    }

    fn act(&mut self, now: Instant, rules: Rules, act: Act) -> Result<(), Fault> {
        match act {
            Act::Write(end) => {
                let End { link, written, .. } = &mut self.ends[end];
                assert_eq!(link.write(&[*written as u8]), 1);
                link.flush();
                *written += 1;
            }
            Act::Send(end) => {
                let End { link, on, .. } = &mut self.ends[end];
                let carrier = on.ok_or("sends without a carrier")?;
                while let Some(message) = link.poll_message(now) {
                    // Pings say nothing here, where time stands still.
                    if !matches!(message[0], 0x03 | 0x04) {
                        self.carriers[carrier][end].push_back(Message::Link(message));
                        break;
                    }
                }
            }
            Act::Receive(end) => self.receive(now, end)?,
            Act::Lose(end) => self.lose(end),
            Act::Dial => {
                let received = self.ends[AGENT].link.received();
                let sent = VecDeque::from([Message::Hello(received)]);
                self.attempt = Some(self.carriers.len());
                self.carriers.push([sent, VecDeque::new()]);
                self.handshakes.push(Handshake::None);
            }
            Act::GiveUp => self.attempt = None,
            Act::Welcome => {
                let carrier = self.attempt.take().ok_or("no attempt")?;
                let welcome = self.carriers[carrier][SERVER].pop_front();
                let Some(Message::Welcome(received)) = welcome else {
                    return Err("no welcome".into());
                };
                self.attach(now, rules, AGENT, carrier, received)?;
            }
            Act::Shake(carrier) => self.shake(rules, carrier),
            Act::Abandon(carrier) => {
                // The future is dropped, and the carrier with it.
                self.handshakes[carrier] = Handshake::None;
                self.carriers[carrier][AGENT].clear();
            }
            Act::Orders => self.take_orders(now, rules)?,
        }
        Ok(())
    }

    fn receive(&mut self, now: Instant, end: usize) -> Result<(), Fault> {
        let End { link, on, read, .. } = &mut self.ends[end];
        let carrier = on.ok_or("receives without a carrier")?;
        let Some(Message::Link(message)) = self.carriers[carrier][1 - end].pop_front() else {
            return Err("a message of the handshake on a carrier that is up".into());
        };
        link.handle_message(now, message)
            .map_err(|error| error.to_string())?;
        while let Some(piece) = link.take() {
            for byte in piece {
                if byte != *read as u8 {
                    return Err(format!("byte {byte} in the place of {read}"));
                }
                *read += 1;
            }
        }
        Ok(())
    }

    fn lose(&mut self, end: usize) {
        self.ends[end].link.detach();
        self.ends[end].on = None;
    }

    fn attach(
        &mut self,
        now: Instant,
        rules: Rules,
        end: usize,
        carrier: usize,
        received: Offset,
    ) -> Result<(), Fault> {
        match self.ends[end].link.attach(now, received) {
            Ok(()) => self.ends[end].on = Some(carrier),
            Err(LinkError::ImpossibleReceipt { claimed, from, .. })
                if claimed < from && rules.bears_old_hellos => {}
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    /// The server's next step in a handshake.
    fn shake(&mut self, rules: Rules, carrier: usize) {
        self.handshakes[carrier] = match self.handshakes[carrier] {
            Handshake::None => match self.carriers[carrier][AGENT].pop_front() {
                Some(Message::Hello(peer_received)) => Handshake::Read { peer_received },
                _ => Handshake::None,
            },
            Handshake::Read { peer_received } => {
                // Whoever asked before, and had no answer, is told no.
                if let Some(older) = self.ask.replace(carrier) {
                    self.handshakes[older] = Handshake::None;
                }
                Handshake::Asked { peer_received }
            }
            Handshake::Frozen {
                peer_received,
                received,
                epoch,
            } => {
                self.carriers[carrier][SERVER].push_back(Message::Welcome(received));
                Handshake::Welcomed {
                    peer_received,
                    epoch,
                }
            }
            Handshake::Welcomed {
                peer_received,
                epoch,
            } => {
                if epoch == self.epoch || !rules.newest_attaches {
                    self.attach = Some((carrier, peer_received));
                }
                Handshake::None
            }
            asked @ Handshake::Asked { .. } => asked,
        };
    }

    fn take_orders(&mut self, now: Instant, rules: Rules) -> Result<(), Fault> {
        let (ask, attach) = (self.ask.take(), self.attach.take());
        if let Some(carrier) = ask {
            if rules.freezes {
                self.lose(SERVER);
            }
            self.epoch += 1;
            if let Handshake::Asked { peer_received } = self.handshakes[carrier] {
                self.handshakes[carrier] = Handshake::Frozen {
                    peer_received,
                    received: self.ends[SERVER].link.received(),
                    epoch: self.epoch,
                };
            }
        }
        match attach {
            Some((carrier, received)) if ask.is_none() || !rules.asking_voids => {
                self.attach(now, rules, SERVER, carrier, received)
            }
            _ => Ok(()),
        }
    }

    /// Whether a state is worth telling apart from another one. What nobody will receive any more
    /// is none of it.
    fn key(&self) -> String {
        let mut seen = self.clone();
        for (carrier, sent) in seen.carriers.iter_mut().enumerate() {
            let agent_listens =
                self.ends[AGENT].on == Some(carrier) || self.attempt == Some(carrier);
            let attaching = self.attach.is_some_and(|(attached, _)| attached == carrier);
            let hello = matches!(sent[AGENT].front(), Some(Message::Hello(_)));
            let server_listens = self.ends[SERVER].on == Some(carrier)
                || self.handshakes[carrier] != Handshake::None
                || attaching
                || hello;
            if !agent_listens {
                sent[SERVER].clear();
            }
            if !server_listens {
                sent[AGENT].clear();
            }
        }
        format!("{seen:?}")
    }

    /// What has to hold in every state: if nothing more is lost, everything arrives; on the carrier
    /// that is there, or on the next one.
    fn check(&self, now: Instant, rules: Rules) -> Result<(), Fault> {
        let idle = self.attempt.is_none() && self.ask.is_none() && self.attach.is_none();
        if idle && self.ends[AGENT].on.is_some() && self.ends[AGENT].on == self.ends[SERVER].on {
            self.clone().settle(now)?;
        }
        let mut later = self.clone();
        later.lose(AGENT);
        // The server has done with what it was at, one way or the other.
        later.take_orders(now, rules)?;
        later.handshakes.fill(Handshake::None);
        let carrier = later.carriers.len();
        later.act(now, rules, Act::Dial)?;
        later.shake(rules, carrier);
        later.shake(rules, carrier);
        later.take_orders(now, rules)?;
        later.shake(rules, carrier);
        later.shake(rules, carrier);
        later.take_orders(now, rules)?;
        later.act(now, rules, Act::Welcome)?;
        later.settle(now)
    }

    /// Moves everything that is there.
    fn settle(mut self, now: Instant) -> Result<(), Fault> {
        loop {
            for end in [AGENT, SERVER] {
                self.act(now, ALL, Act::Send(end))?;
            }
            let carrier = self.ends[SERVER].on.ok_or("no carrier")?;
            if self.carriers[carrier].iter().all(VecDeque::is_empty) {
                break;
            }
            for end in [AGENT, SERVER] {
                if !self.carriers[carrier][1 - end].is_empty() {
                    self.receive(now, end)?;
                }
            }
        }
        for end in [AGENT, SERVER] {
            let (written, read) = (self.ends[end].written, self.ends[1 - end].read);
            let kept = self.ends[end].link.unacknowledged();
            if written != read || kept > 0 {
                return Err(format!(
                    "of {written} bytes {read} arrive, and {kept} are kept for ever"
                ));
            }
        }
        Ok(())
    }
}

/// Goes through all states; says how many there are, or how one of them goes wrong.
fn search(rules: Rules, bounds: Bounds) -> Result<usize, (Vec<Act>, Fault)> {
    let now = Instant::now();
    let first = World::new(now, bounds);
    let mut seen = HashSet::from([hash(&first.key())]);
    // What came before each state that was found.
    let mut origins: Vec<(usize, Option<Act>)> = vec![(0, None)];
    let mut queue = VecDeque::from([(0, first)]);
    while let Some((origin, world)) = queue.pop_front() {
        for act in world.acts(bounds) {
            let mut next = world.clone();
            let mut went = next.act(now, rules, act);
            let new = seen.insert(hash(&next.key()));
            if new && went.is_ok() {
                went = next.check(now, rules);
            }
            if let Err(fault) = went {
                return Err((trace(&origins, origin, act), fault));
            }
            if new {
                origins.push((origin, Some(act)));
                queue.push_back((origins.len() - 1, next));
            }
        }
    }
    Ok(seen.len())
}

fn hash(key: &str) -> u128 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        key.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

fn trace(origins: &[(usize, Option<Act>)], mut at: usize, last: Act) -> Vec<Act> {
    let mut acts = vec![last];
    while let (before, Some(act)) = origins[at] {
        acts.push(act);
        at = before;
    }
    acts.reverse();
    acts
}

#[test]
fn whatever_happens_to_carriers_and_handshakes_every_byte_arrives_once() {
    for bounds in [
        Bounds {
            bytes: [1, 1],
            carriers: 3,
            replay: 1,
        },
        Bounds {
            bytes: [2, 1],
            carriers: 2,
            replay: 2,
        },
    ] {
        match search(ALL, bounds) {
            Ok(states) => println!("{states} states"),
            Err((acts, fault)) => panic!("{fault}: {acts:#?}"),
        }
    }
}

#[test]
fn each_rule_is_needed() {
    let mut without = [ALL; 4];
    without[0].freezes = false;
    without[1].newest_attaches = false;
    without[2].asking_voids = false;
    without[3].bears_old_hellos = false;
    for (rules, bytes) in without.into_iter().zip([[1, 0], [1, 0], [1, 0], [0, 1]]) {
        let bounds = Bounds {
            bytes,
            carriers: 3,
            replay: 1,
        };
        match search(rules, bounds) {
            Ok(states) => panic!("{states} states, and nothing goes wrong with {rules:?}"),
            Err((acts, fault)) => println!("{rules:?}: {fault}: {acts:?}"),
        }
    }
}

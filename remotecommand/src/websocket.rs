//! WebSocket (RFC 6455), as Kubernetes' programs send it: whole messages, each of which begins with
//! the number of its channel.

use crate::channels::Channel;
use crate::{Error, Peer};

/// Longest head of a frame: two bytes, a length of eight, a mask of four.
const HEAD: usize = 14;

/// Longest payload of a frame that is none of a message.
const CONTROL: u64 = 125;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// On this channel a client of version 5 says that it writes no more to another.
const CLOSING: u8 = 255;

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    client: Frames,
    cluster: Frames,
}

/// What is known of the frames of one direction.
#[derive(Debug, Default)]
struct Frames {
    state: State,
    closed: bool,
}

#[derive(Debug)]
enum State {
    Head { bytes: [u8; HEAD], have: usize },
    Payload(Payload),
}

#[derive(Debug)]
struct Payload {
    left: u64,
    /// Zeros, if there is none.
    mask: [u8; 4],
    /// Where in the mask the next byte is.
    at: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// And what its first byte says, once that has come.
    Message(Option<Says>),
    Ping,
    Close,
}

#[derive(Clone, Copy, Debug)]
enum Says {
    Channel(Channel),
    Closing,
}

impl Default for State {
    fn default() -> Self {
        Self::Head {
            bytes: [0; HEAD],
            have: 0,
        }
    }
}

/// Takes what is said on a channel.
type Heard<'a> = dyn FnMut(Channel, &[u8]) -> Result<(), Error> + 'a;

impl Connection {
    pub(crate) fn take(
        &mut self,
        from: Peer,
        bytes: &[u8],
        heard: &mut Heard<'_>,
    ) -> Result<(), Error> {
        match from {
            Peer::Client => self.client.take(true, bytes, heard),
            Peer::Cluster => self.cluster.take(false, bytes, heard),
        }
    }

    pub(crate) fn is_between(&self, from: Peer) -> bool {
        let frames = match from {
            Peer::Client => &self.client,
            Peer::Cluster => &self.cluster,
        };
        matches!(frames.state, State::Head { have: 0, .. })
    }

    /// A message with the status, then the end of the connection.
    pub(crate) fn farewell(&self, status: &str) -> Option<Vec<u8>> {
        let length = u16::try_from(status.len() + 1).ok()?;
        if self.cluster.closed {
            return None;
        }
        let mut bytes = vec![0x80 | BINARY];
        if u64::from(length) <= CONTROL {
            bytes.push(u8::try_from(length).ok()?);
        } else {
            bytes.push(126);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        bytes.push(3);
        bytes.extend_from_slice(status.as_bytes());
        // 1000: the end was meant.
        bytes.extend_from_slice(&[0x80 | CLOSE, 2, 0x03, 0xe8]);
        Some(bytes)
    }
}

impl Frames {
    fn take(
        &mut self,
        from_client: bool,
        mut bytes: &[u8],
        heard: &mut Heard<'_>,
    ) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.closed {
                return Err(Error::WebSocket("bytes after the last one"));
            }
            match &mut self.state {
                State::Head { bytes: head, have } => {
                    let needed = needed(head, *have);
                    let (now, rest) = bytes.split_at(bytes.len().min(needed - *have));
                    head[*have..*have + now.len()].copy_from_slice(now);
                    *have += now.len();
                    bytes = rest;
                    if *have >= 2 && *have == self::needed(head, *have) {
                        self.state = State::Payload(parse(&head[..*have], from_client)?);
                    }
                }
                State::Payload(payload) => {
                    let length = usize::try_from(payload.left).unwrap_or(usize::MAX);
                    let (now, rest) = bytes.split_at(bytes.len().min(length));
                    bytes = rest;
                    payload.take(now, heard)?;
                }
            }
            if let State::Payload(payload) = &self.state
                && payload.left == 0
            {
                self.closed = matches!(payload.kind, Kind::Close);
                self.state = State::default();
            }
        }
        Ok(())
    }
}

/// How long the head of a frame is, as far as its first bytes tell.
fn needed(head: &[u8; HEAD], have: usize) -> usize {
    if have < 2 {
        return 2;
    }
    let length = match head[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if head[1] & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}

/// Reads a whole head.
fn parse(head: &[u8], from_client: bool) -> Result<Payload, Error> {
    let (first, second) = (head[0], head[1]);
    if first & 0x70 != 0 {
        return Err(Error::WebSocket("reserved bits"));
    }
    if first & 0x80 == 0 {
        return Err(Error::WebSocket("a part of a message"));
    }
    if (second & 0x80 != 0) != from_client {
        return Err(Error::WebSocket("a mask of the wrong side"));
    }
    let (length, rest) = match second & 0x7f {
        126 => (number(&head[2..4]), &head[4..]),
        127 => (number(&head[2..10]), &head[10..]),
        short => (u64::from(short), &head[2..]),
    };
    let shortest = match second & 0x7f {
        126 => length > CONTROL,
        127 => length > u64::from(u16::MAX) && length >> 63 == 0,
        _ => true,
    };
    if !shortest {
        return Err(Error::WebSocket("a length that is not the shortest"));
    }
    let kind = match first & 0x0f {
        TEXT | BINARY => Kind::Message(None),
        CLOSE | PING | PONG if length > CONTROL => {
            return Err(Error::WebSocket("a long payload that is no message"));
        }
        CLOSE => Kind::Close,
        PING | PONG => Kind::Ping,
        _ => return Err(Error::WebSocket("an unknown kind")),
    };
    let mut mask = [0; 4];
    if let Ok(given) = rest.try_into() {
        mask = given;
    }
    Ok(Payload {
        left: length,
        mask,
        at: 0,
        kind,
    })
}

fn number(bytes: &[u8]) -> u64 {
    let step = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    bytes.iter().fold(0, step)
}

impl Payload {
    fn take(&mut self, bytes: &[u8], heard: &mut Heard<'_>) -> Result<(), Error> {
        self.left -= bytes.len() as u64;
        let Kind::Message(said) = &mut self.kind else {
            return Ok(());
        };
        // Nothing of the caller's is changed; a piece at a time keeps the copy small.
        let mut open = [0; 4096];
        for piece in bytes.chunks(open.len()) {
            let open = &mut open[..piece.len()];
            for (to, from) in open.iter_mut().zip(piece) {
                *to = *from ^ self.mask[self.at];
                self.at = (self.at + 1) % 4;
            }
            let data = match said {
                Some(_) => &open[..],
                None => {
                    *said = Some(says(open[0])?);
                    &open[1..]
                }
            };
            if let Some(Says::Channel(channel)) = said {
                heard(*channel, data)?;
            }
        }
        Ok(())
    }
}

fn says(first: u8) -> Result<Says, Error> {
    Ok(Says::Channel(match first {
        0 => Channel::Stdin,
        1 => Channel::Stdout,
        2 => Channel::Stderr,
        3 => Channel::Error,
        4 => Channel::Resize,
        CLOSING => return Ok(Says::Closing),
        _ => return Err(Error::WebSocket("an unknown channel")),
    }))
}

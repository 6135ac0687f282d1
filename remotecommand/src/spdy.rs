//! SPDY/3.1, as Kubernetes' programs send it: the client opens a stream for each channel and names
//! the channel in a header.

mod dictionary;
mod headers;

use crate::channels::Channel;
use crate::{Error, Peer};
#[cfg(test)]
pub(crate) use dictionary::dictionary;
use headers::Headers;

/// Length of the head of a frame.
const HEAD: usize = 8;

/// Longest frame that carries no data, in bytes. Kubernetes' are a few hundred.
const LONGEST: usize = 16 * 1024;

/// Most streams of a connection. A session has five.
const MOST_STREAMS: usize = 16;

/// The header that names the channel of a stream.
const STREAM_TYPE: &str = "streamtype";

/// Flag of the last frame of a stream.
const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    client: State,
    cluster: State,
    /// What the client said in headers.
    headers: Headers,
    /// By their ids, which rise.
    streams: Vec<(u32, Channel)>,
}

#[derive(Debug)]
enum State {
    Head { bytes: [u8; HEAD], have: usize },
    Data { channel: Channel, left: usize },
    Control(Control),
}

#[derive(Debug)]
struct Control {
    kind: u16,
    flags: u8,
    length: usize,
    payload: Vec<u8>,
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
        mut bytes: &[u8],
        heard: &mut Heard<'_>,
    ) -> Result<(), Error> {
        while !bytes.is_empty() {
            let state = match from {
                Peer::Client => &mut self.client,
                Peer::Cluster => &mut self.cluster,
            };
            match state {
                State::Head { bytes: head, have } => {
                    let (now, rest) = bytes.split_at(bytes.len().min(HEAD - *have));
                    head[*have..*have + now.len()].copy_from_slice(now);
                    *have += now.len();
                    bytes = rest;
                    if *have == HEAD {
                        let head = *head;
                        *state = begin(&self.streams, head)?;
                    }
                }
                State::Data { channel, left } => {
                    let (now, rest) = bytes.split_at(bytes.len().min(*left));
                    bytes = rest;
                    *left -= now.len();
                    heard(*channel, now)?;
                }
                State::Control(control) => {
                    let missing = control.length - control.payload.len();
                    let (now, rest) = bytes.split_at(bytes.len().min(missing));
                    bytes = rest;
                    control.payload.extend_from_slice(now);
                }
            }
            self.finish(from)?;
        }
        Ok(())
    }

    /// Goes on to the next frame, if this one has no more.
    fn finish(&mut self, from: Peer) -> Result<(), Error> {
        let state = match from {
            Peer::Client => &mut self.client,
            Peer::Cluster => &mut self.cluster,
        };
        match state {
            State::Data { left: 0, .. } => *state = State::default(),
            State::Control(control) if control.payload.len() == control.length => {
                let State::Control(control) = std::mem::take(state) else {
                    return Ok(());
                };
                self.control(from, &control)?;
            }
            State::Head { .. } | State::Data { .. } | State::Control(_) => {}
        }
        Ok(())
    }

    /// A whole frame that carries no data.
    fn control(&mut self, from: Peer, control: &Control) -> Result<(), Error> {
        let payload = control.payload.as_slice();
        let of = |length: usize| match payload.len() == length && control.flags == 0 {
            true => Ok(()),
            false => Err(Error::Spdy("a length or flags of another kind")),
        };
        match control.kind {
            SYN_STREAM => self.open(from, control.flags, payload),
            SYN_REPLY | HEADERS if control.flags & !FIN == 0 => {
                let (_, block) = id_and_rest(payload)?;
                if from == Peer::Client {
                    // They are packed together with those of streams.
                    self.headers.read(block)?;
                }
                Ok(())
            }
            // Streams that are open go on after a GOAWAY.
            RST_STREAM | WINDOW_UPDATE | GOAWAY => of(8),
            PING => of(4),
            SETTINGS => {
                let (count, rest) = id_and_rest(payload)?;
                match usize::try_from(count).is_ok_and(|count| rest.len() == 8 * count) {
                    true => Ok(()),
                    false => Err(Error::Spdy("a length of another kind")),
                }
            }
            _ => Err(Error::Spdy("an unknown kind or flags")),
        }
    }

    fn open(&mut self, from: Peer, flags: u8, payload: &[u8]) -> Result<(), Error> {
        if from == Peer::Cluster {
            return Err(Error::Spdy("a stream that the cluster opens"));
        }
        if flags & !FIN != 0 {
            return Err(Error::Spdy("an unknown flag"));
        }
        let (id, rest) = id_and_rest(payload)?;
        // The stream that it belongs to, a priority, a slot.
        let (associated, block) = rest.split_at_checked(6).ok_or(Error::Spdy(SHORT))?;
        let last = self.streams.last().map_or(0, |(last, _)| *last);
        if id <= last || id % 2 == 0 || associated[..4] != [0; 4] {
            return Err(Error::Spdy("a stream of a wrong number"));
        }
        if self.streams.len() >= MOST_STREAMS {
            return Err(Error::Spdy("too many streams"));
        }
        let headers = self.headers.read(block)?;
        let named = headers.iter().find(|(name, _)| name == STREAM_TYPE);
        let channel = match named.map(|(_, value)| value.as_str()) {
            Some("stdin") => Channel::Stdin,
            Some("stdout") => Channel::Stdout,
            Some("stderr") => Channel::Stderr,
            Some("error") => Channel::Error,
            Some("resize") => Channel::Resize,
            _ => return Err(Error::Spdy("a stream of no known channel")),
        };
        self.streams.push((id, channel));
        Ok(())
    }

    pub(crate) fn is_between(&self, from: Peer) -> bool {
        let state = match from {
            Peer::Client => &self.client,
            Peer::Cluster => &self.cluster,
        };
        matches!(state, State::Head { have: 0, .. })
    }

    /// The status on its stream, which ends with it.
    pub(crate) fn farewell(&self, status: &str) -> Option<Vec<u8>> {
        let mut streams = self.streams.iter();
        let (id, _) = streams.find(|(_, channel)| *channel == Channel::Error)?;
        let length = u32::try_from(status.len()).ok()?;
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(u32::from(FIN) << 24 | length & 0xff_ffff).to_be_bytes());
        bytes.extend_from_slice(status.as_bytes());
        Some(bytes)
    }
}

const SHORT: &str = "too few bytes";

/// Reads the head of a frame.
fn begin(streams: &[(u32, Channel)], head: [u8; HEAD]) -> Result<State, Error> {
    let [a, b, c, d, flags, high, middle, low] = head;
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    if a & 0x80 != 0 {
        if (u16::from(a & 0x7f) << 8 | u16::from(b)) != 3 {
            return Err(Error::Spdy("another version"));
        }
        if length > LONGEST {
            return Err(Error::Spdy("too many bytes"));
        }
        return Ok(State::Control(Control {
            kind: u16::from_be_bytes([c, d]),
            flags,
            length,
            payload: Vec::new(),
        }));
    }
    if flags & !FIN != 0 {
        return Err(Error::Spdy("an unknown flag"));
    }
    let id = u32::from_be_bytes([a, b, c, d]);
    let stream = streams.iter().find(|(known, _)| *known == id);
    let (_, channel) = stream.ok_or(Error::Spdy("data of no stream"))?;
    Ok(State::Data {
        channel: *channel,
        left: length,
    })
}

/// The number at the beginning of a payload.
fn id_and_rest(payload: &[u8]) -> Result<(u32, &[u8]), Error> {
    let (id, rest) = payload.split_first_chunk().ok_or(Error::Spdy(SHORT))?;
    let id = u32::from_be_bytes(*id);
    if id & 0x8000_0000 != 0 {
        return Err(Error::Spdy("a reserved bit"));
    }
    Ok((id, rest))
}

//! The events in a watch's answer, read while the bytes go by: where each ends, and after which resource version the
//! watch could be asked for again. Bytes in, bytes out; nothing is changed, and what is passed on ends with an event.

mod json;
mod protobuf;

use std::borrow::Cow;
use std::mem;

use bytes::Bytes;

/// Longest resource version that is remembered, in bytes. Those of kube-apiserver have twenty digits at most.
const LONGEST_VERSION: usize = 128;

/// How the events of a watch are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Objects behind each other, each on a line of its own. Tables come so as well.
    Json,
    /// Messages, each behind its length.
    Protobuf,
}

impl Format {
    /// The format of a media type; `None` for one that is not read here.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        let mut parts = media_type.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        if name.eq_ignore_ascii_case("application/json") {
            return Some(Self::Json);
        }
        let is_watch = parts.any(|part| part.eq_ignore_ascii_case("stream=watch"));
        let is_protobuf = name.eq_ignore_ascii_case("application/vnd.kubernetes.protobuf");
        (is_protobuf && is_watch).then_some(Self::Protobuf)
    }
}

/// Where a watch begins, as its request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// After a version that the client knows.
    After(String),
    /// With what there is, in no order; then come the changes.
    State,
    /// The same, and a bookmark says where that ends (`sendInitialEvents`).
    StateWithMark,
}

/// How a watch could be asked for again so that its client misses nothing and is told nothing twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// As it was: nothing of it was passed on.
    AsItWas,
    /// After this version.
    After(&'a str),
    /// Not at all.
    Never,
}

/// What may be passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// The bytes; none while an event is not whole.
    pub(super) bytes: Bytes,
    /// How many events end in them.
    pub(super) events: usize,
}

/// Reads one watch, which may come in several answers.
#[derive(Debug)]
pub(super) struct Events {
    framing: Framing,
    /// The beginning of an event that is not whole yet.
    held: Vec<u8>,
    /// Whether the beginning of the event under way was passed on.
    is_open: bool,
    /// Whether what was passed on last ends a line, or is nothing.
    ends_line: bool,
    /// Where the state at the beginning is still coming, what ends it.
    state: Option<Mark>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// A marked bookmark.
    Bookmark,
    /// Any event that is not of an object that was there: the state comes as additions alone.
    Change,
}

/// Up to where the client has been told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Nothing,
    After(String),
    /// Something was passed on, and no version says what.
    Unknown,
    /// An error, which is the last word of every watch.
    Over,
}

#[derive(Debug)]
enum Framing {
    Json(json::Framing),
    Protobuf(protobuf::Framing),
    /// These are no events.
    None,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts<'a> {
    kind: Kind,
    version: Cow<'a, str>,
    /// Whether it is the bookmark behind the state at the beginning.
    is_mark: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

/// What says so of a bookmark (`metav1.InitialEventsAnnotationKey`).
const MARK: &str = "k8s.io/initial-events-end";

impl Events {
    /// Begins to read a watch.
    pub(super) fn new(format: Format, start: Start) -> Self {
        let (state, place) = match start {
            Start::After(version) => (None, Place::After(version)),
            Start::State => (Some(Mark::Change), Place::Nothing),
            Start::StateWithMark => (Some(Mark::Bookmark), Place::Nothing),
        };
        Self {
            framing: Framing::new(format),
            held: Vec::new(),
            is_open: false,
            ends_line: true,
            state,
            place,
        }
    }

    /// Takes what has come, and returns what may be passed on. At most `most` bytes are held back: of an event that
    /// is longer the beginning is passed on, and its version is not read.
    pub(super) fn read(&mut self, chunk: &Bytes, most: usize) -> Passed {
        let mut events = 0;
        // What was held, in one piece with so much of the chunk.
        let (mut joined, mut copied) = (Vec::new(), 0);
        // So much of the chunk belongs to whole events.
        let mut whole = self.framing.blank(chunk);
        loop {
            let length = match self.framing.end(&chunk[whole..]) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(NoEvents) => {
                    self.framing = Framing::None;
                    self.is_open = true;
                    break;
                }
            };
            let event = whole..whole + length;
            whole = event.end + self.framing.blank(&chunk[event.end..]);
            events += 1;
            if self.held.is_empty() {
                self.finish(&chunk[event]);
            } else {
                copied = event.end;
                joined = mem::take(&mut self.held);
                joined.extend_from_slice(&chunk[event]);
                self.finish(&joined);
            }
        }
        let rest = chunk.len() - whole;
        self.is_open |= rest > 0 && self.held.len() + rest > most;
        let passed = if self.is_open { chunk.len() } else { whole };
        if self.is_open && !self.held.is_empty() {
            joined = mem::take(&mut self.held);
        }
        self.held.extend_from_slice(&chunk[passed..]);
        let bytes = if joined.is_empty() {
            chunk.slice(..passed)
        } else {
            joined.extend_from_slice(&chunk[copied..passed]);
            Bytes::from(joined)
        };
        if let Some(last) = bytes.last() {
            self.ends_line = *last == b'\n';
        }
        Passed { bytes, events }
    }

    /// How many bytes are held back.
    pub(super) fn holds(&self) -> usize {
        self.held.len()
    }

    /// The answer has ended in order: what is left of it.
    pub(super) fn rest(&mut self) -> Bytes {
        Bytes::from(mem::take(&mut self.held))
    }

    /// How the watch could be asked for again if its answer broke off now.
    pub(super) fn next(&self) -> Next<'_> {
        match &self.place {
            _ if self.is_open => Next::Never,
            Place::Nothing => Next::AsItWas,
            Place::After(version) => Next::After(version),
            Place::Unknown | Place::Over => Next::Never,
        }
    }

    /// Another answer comes, which begins with a whole event. Returns what has to be passed on before it.
    pub(super) fn begin_again(&mut self) -> &'static [u8] {
        self.held = Vec::new();
        let format = match self.framing {
            Framing::Json(_) => Format::Json,
            Framing::Protobuf(_) => Format::Protobuf,
            Framing::None => return &[],
        };
        self.framing = Framing::new(format);
        // There are clients that read lines.
        if format == Format::Json && !mem::replace(&mut self.ends_line, true) {
            return b"\n";
        }
        &[]
    }

    /// An event is whole.
    fn finish(&mut self, event: &[u8]) {
        let was_open = mem::take(&mut self.is_open);
        if self.place == Place::Over {
            return;
        }
        let facts = if was_open {
            None
        } else {
            self.framing.facts(event)
        };
        let Some(facts) = facts else {
            self.place = Place::Unknown;
            return;
        };
        let ends_state = match self.state {
            None => true,
            Some(Mark::Bookmark) => facts.kind == Kind::Bookmark && facts.is_mark,
            Some(Mark::Change) => facts.kind != Kind::Added,
        };
        if ends_state {
            self.state = None;
        }
        let is_known = (1..=LONGEST_VERSION).contains(&facts.version.len());
        self.place = match mem::replace(&mut self.place, Place::Unknown) {
            _ if facts.kind == Kind::Error => Place::Over,
            _ if !ends_state || !is_known => Place::Unknown,
            Place::After(mut version) => {
                version.clear();
                version.push_str(&facts.version);
                Place::After(version)
            }
            _ => Place::After(facts.version.into_owned()),
        };
    }
}

/// What comes is not written as events are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoEvents;

impl Framing {
    fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json(json::Framing::default()),
            Format::Protobuf => Self::Protobuf(protobuf::Framing::default()),
        }
    }

    /// So many bytes at the beginning belong to no event.
    fn blank(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Json(framing) => framing.blank(bytes),
            Self::Protobuf(_) | Self::None => 0,
        }
    }

    /// With how many of these bytes the event under way ends; `None` if it goes on behind them.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, NoEvents> {
        match self {
            Self::Json(framing) => framing.end(bytes),
            Self::Protobuf(framing) => Ok(framing.end(bytes)),
            Self::None => Err(NoEvents),
        }
    }

    fn facts<'a>(&self, event: &'a [u8]) -> Option<Facts<'a>> {
        match self {
            Self::Json(_) => json::facts(event),
            Self::Protobuf(_) => protobuf::facts(event),
            Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests;

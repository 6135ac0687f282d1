//! Events as protobuf: behind its length in four bytes a `metav1.WatchEvent`, in that a `runtime.Unknown`, and in that the
//! object. Of every object of Kubernetes the first field is its metadata.

use std::borrow::Cow;

use super::{Facts, Kind, MARK};

/// What an object begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Finds the ends of frames.
#[derive(Debug, Default)]
pub(super) struct Framing {
    length: [u8; 4],
    /// How many bytes of the length are known.
    known: usize,
    /// How many bytes of the event have come.
    come: u32,
}

impl Framing {
    /// With how many of these bytes the frame ends.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let head = (self.length.len() - self.known).min(bytes.len());
        self.length[self.known..self.known + head].copy_from_slice(&bytes[..head]);
        self.known += head;
        if self.known < self.length.len() {
            return None;
        }
        let missing = u32::from_be_bytes(self.length) - self.come;
        let here = bytes.len() - head;
        match usize::try_from(missing)
            .ok()
            .filter(|missing| *missing <= here)
        {
            Some(missing) => {
                *self = Self::default();
                Some(head + missing)
            }
            None => {
                // Fewer than are missing, which are not more than a length can say.
                self.come += u32::try_from(here).unwrap_or(missing);
                None
            }
        }
    }
}

/// What a frame says; `None` if it cannot be read.
pub(super) fn facts(frame: &[u8]) -> Option<Facts<'_>> {
    let event = frame.get(4..)?;
    let kind = match field(event, 1)?? {
        b"ADDED" => Kind::Added,
        b"MODIFIED" => Kind::Modified,
        b"DELETED" => Kind::Deleted,
        b"BOOKMARK" => Kind::Bookmark,
        b"ERROR" => Kind::Error,
        _ => return None,
    };
    let unknown = field(field(event, 2)??, 1)??.strip_prefix(MAGIC)?;
    // Its third and fourth field would say that the object is written in another way.
    let is_otherwise = |number| Some(field(unknown, number)?.is_some_and(|way| !way.is_empty()));
    if is_otherwise(3)? || is_otherwise(4)? {
        return None;
    }
    let metadata = field(field(unknown, 2)??, 1)?.unwrap_or_default();
    let version = match kind {
        // A status has the metadata of a list.
        Kind::Error => b"",
        _ => field(metadata, 6)?.unwrap_or_default(),
    };
    Some(Facts {
        kind,
        version: Cow::Borrowed(std::str::from_utf8(version).ok()?),
        is_mark: kind == Kind::Bookmark && is_marked(metadata)?,
    })
}

fn is_marked(metadata: &[u8]) -> Option<bool> {
    for found in Fields(metadata) {
        let (number, annotation) = found?;
        if number == 12 && field(annotation, 1)? == Some(MARK.as_bytes()) {
            return Some(field(annotation, 2)? == Some(b"true".as_slice()));
        }
    }
    Some(false)
}

/// The field of that number, if it is there; `None` if the message cannot be read.
fn field(message: &[u8], number: u64) -> Option<Option<&[u8]>> {
    let mut value = None;
    for found in Fields(message) {
        let (found, bytes) = found?;
        if found == number {
            // As of every field that is there twice, the last one counts.
            value = Some(bytes);
        }
    }
    Some(value)
}

/// The fields of a message that hold bytes. `None` for what cannot be read, behind which nothing comes.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            match self.field() {
                Some(Some(field)) => return Some(Some(field)),
                Some(None) => {}
                None => {
                    self.0 = &[];
                    return Some(None);
                }
            }
        }
        None
    }
}

impl<'a> Fields<'a> {
    /// The next field; of one that holds a number nothing but that it is there.
    fn field(&mut self) -> Option<Option<(u64, &'a [u8])>> {
        let key = self.number()?;
        match key & 7 {
            0 => drop(self.number()?),
            1 => drop(self.take(8)?),
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                return Some(Some((key >> 3, self.take(length)?)));
            }
            5 => drop(self.take(4)?),
            _ => return None,
        }
        Some(None)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of up to ten bytes.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

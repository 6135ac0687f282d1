//! Blocks of headers. All those of one direction are one stream of zlib, with a dictionary that both
//! sides know.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::dictionary::dictionary;
use crate::Error;

/// Longest block, unpacked, in bytes. Kubernetes' are a few hundred.
const LONGEST: usize = 16 * 1024;

/// Most headers of a block.
const MOST: u32 = 64;

const BROKEN: Error = Error::Spdy("headers that cannot be read");

/// What is known of the headers of one direction.
pub(super) struct Headers(Decompress);

impl Default for Headers {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Headers")
    }
}

impl Headers {
    /// Reads the next block: names in lower case, each once, with the first of its values.
    pub(super) fn read(&mut self, packed: &[u8]) -> Result<Vec<(String, String)>, Error> {
        parse(&self.unpack(packed)?)
    }

    fn unpack(&mut self, mut packed: &[u8]) -> Result<Vec<u8>, Error> {
        let mut unpacked = Vec::new();
        let mut room = [0; 2048];
        loop {
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let status = match self.0.decompress(packed, &mut room, FlushDecompress::Sync) {
                Ok(status) => status,
                Err(error) if error.needs_dictionary().is_some() => {
                    let known = self.0.set_dictionary(&dictionary());
                    known.map_err(|_| BROKEN)?;
                    Status::Ok
                }
                Err(_) => return Err(BROKEN),
            };
            let written = usize::try_from(self.0.total_out() - written).map_err(|_| BROKEN)?;
            let read = usize::try_from(self.0.total_in() - read).map_err(|_| BROKEN)?;
            packed = packed.get(read..).ok_or(BROKEN)?;
            unpacked.extend_from_slice(room.get(..written).ok_or(BROKEN)?);
            if unpacked.len() > LONGEST {
                return Err(Error::Spdy("too long headers"));
            }
            match status {
                // The next block goes on where this one ends.
                Status::StreamEnd => return Err(BROKEN),
                _ if packed.is_empty() && written < room.len() => return Ok(unpacked),
                _ if read == 0 && written == 0 && status == Status::BufError => return Err(BROKEN),
                _ => {}
            }
        }
    }
}

/// Reads an unpacked block to its very end: what is left over would be part of the next for whoever
/// reads them as one stream.
fn parse(block: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let (count, mut rest) = number(block)?;
    if count > MOST {
        return Err(Error::Spdy("too many headers"));
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    for _ in 0..count {
        let name = text(&mut rest)?;
        let values = text(&mut rest)?;
        let lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        if !lower || !name.is_ascii() || headers.iter().any(|(known, _)| known == name) {
            return Err(BROKEN);
        }
        let value = values.split('\0').next().unwrap_or_default();
        headers.push((name.to_owned(), value.to_owned()));
    }
    match rest {
        [] => Ok(headers),
        _ => Err(BROKEN),
    }
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), Error> {
    let (number, rest) = bytes.split_first_chunk().ok_or(BROKEN)?;
    Ok((u32::from_be_bytes(*number), rest))
}

fn text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, Error> {
    let (length, rest) = number(bytes)?;
    let length = usize::try_from(length).map_err(|_| BROKEN)?;
    let (text, rest) = rest.split_at_checked(length).ok_or(BROKEN)?;
    *bytes = rest;
    std::str::from_utf8(text).map_err(|_| BROKEN)
}

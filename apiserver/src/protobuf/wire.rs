//! The wire format of protobuf: numbered fields, each with its own length.

use super::Unreadable;

/// What a field holds, before its type is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire<'a> {
    /// A number in as many bytes as it needs.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
}

impl Wire<'_> {
    /// The number of its wire type.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32(_) => 5,
        }
    }
}

/// The fields of a message in their order. After an error there are no more.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Wire<'a>), Unreadable> {
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 || number > u64::from(u32::MAX >> 3) {
            return Err(Unreadable::FieldNumber(number));
        }
        let wire = match (key & 7) as u8 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| Unreadable::Truncated)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.fixed()?)),
            // Groups, which nobody writes, and what there is not.
            other => return Err(Unreadable::WireType(number, other)),
        };
        Ok((number, wire))
    }

    fn varint(&mut self) -> Result<u64, Unreadable> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Unreadable::LongNumber)
    }

    fn fixed<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Unreadable> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Unreadable::Truncated)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (bytes, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Unreadable::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// Text. For each byte that is not UTF-8 there is a replacement, as Go's JSON has it.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let broken = chunk.invalid().iter();
        text.extend(broken.map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// Writes a field with a number.
pub(super) fn put_varint(out: &mut Vec<u8>, number: u64, value: u64) {
    put(out, number << 3);
    put(out, value);
}

/// Writes a field with a number that has a fraction.
pub(super) fn put_double(out: &mut Vec<u8>, number: u64, value: f64) {
    put(out, number << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes a field with text, bytes or a message.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put(out, number << 3 | 2);
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

//! Reading BER (X.690) as LDAP restricts it (RFC 4511, section 5.1): definite lengths, tags of one
//! byte. Who reads says what it expects, so nothing is nested deeper than the messages are.

/// SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;
/// SET.
pub(super) const SET: u8 = 0x31;
/// BOOLEAN.
pub(super) const BOOLEAN: u8 = 0x01;
/// INTEGER.
pub(super) const INTEGER: u8 = 0x02;
/// OCTET STRING.
pub(super) const OCTET_STRING: u8 = 0x04;
/// ENUMERATED.
pub(super) const ENUMERATED: u8 = 0x0a;

/// The long form of a length has at most so many bytes behind the first one.
const LENGTH_BYTES: usize = 4;

/// Something is not what LDAP says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("answer is not LDAP: {0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// The bytes that an element takes in all, once enough of them are there to say so.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    Ok(header(bytes)?.and_then(|(header, content)| header.checked_add(content)))
}

/// The length of the header, and that of the content.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let (Some(tag), Some(&first)) = (bytes.first(), bytes.get(1)) else {
        return Ok(None);
    };
    if tag & 0x1f == 0x1f {
        return Err(Malformed("a tag has more than one byte"));
    }
    if first < 0x80 {
        return Ok(Some((2, usize::from(first))));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > LENGTH_BYTES {
        return Err(Malformed("a length is indefinite or too long"));
    }
    let Some(length) = bytes.get(2..2 + count) else {
        return Ok(None);
    };
    let length = (length.iter()).fold(0, |length, &byte| (length << 8) | usize::from(byte));
    Ok(Some((2 + count, length)))
}

/// Reads elements, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag and the content of the next element.
    pub(super) fn element(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let truncated = Malformed("an element ends too early");
        let (header, content) = header(self.rest)?.ok_or(truncated)?;
        let end = header.checked_add(content).ok_or(truncated)?;
        let content = self.rest.get(header..end).ok_or(truncated)?;
        let tag = self.rest[0];
        self.rest = &self.rest[end..];
        Ok((tag, content))
    }

    /// The content of the next element, which has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.element()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed("an element has another tag")),
        }
    }

    /// The content of the next element, if there is one and it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        if self.rest.first() == Some(&tag) {
            return self.expect(tag).map(Some);
        }
        Ok(None)
    }

    /// What is in the next element, which has this tag.
    pub(super) fn inside(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.expect(tag).map(Self::new)
    }

    /// An INTEGER or ENUMERATED that is not negative and fits.
    pub(super) fn number(&mut self, tag: u8) -> Result<u32, Malformed> {
        let content = self.expect(tag)?;
        number(content)
    }

    /// An OCTET STRING that is text.
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        text(self.expect(OCTET_STRING)?)
    }
}

/// A number that is not negative and fits.
pub(super) fn number(content: &[u8]) -> Result<u32, Malformed> {
    let wrong = Malformed("a number is negative or too large");
    match content {
        [] => Err(wrong),
        [first, ..] if first & 0x80 != 0 => Err(wrong),
        [0, rest @ ..] | rest if rest.len() <= 4 => {
            Ok((rest.iter()).fold(0, |number, &byte| (number << 8) | u32::from(byte)))
        }
        _ => Err(wrong),
    }
}

/// Text in UTF-8.
pub(super) fn text(content: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(content).map_err(|_| Malformed("a text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_in_two_forms() {
        assert_eq!(length(&[0x30]), Ok(None));
        assert_eq!(length(&[0x30, 5]), Ok(Some(7)));
        assert_eq!(length(&[0x30, 0x82, 1]), Ok(None));
        assert_eq!(length(&[0x30, 0x82, 1, 2]), Ok(Some(4 + 258)));
        // Indefinite, absurd, and a tag of several bytes.
        assert!(length(&[0x30, 0x80]).is_err());
        assert!(length(&[0x30, 0x85, 1, 1, 1, 1, 1]).is_err());
        assert!(length(&[0x3f, 1]).is_err());
    }

    #[test]
    fn an_element_cannot_be_longer_than_what_it_is_in() {
        let mut reader = Reader::new(&[0x04, 3, b'a', b'b']);
        assert!(reader.element().is_err());
        let mut reader = Reader::new(&[0x04, 0x84, 0xff, 0xff, 0xff, 0xff, b'a']);
        assert!(reader.element().is_err());
    }

    #[test]
    fn numbers_are_not_negative_and_fit() {
        for (content, expected) in [
            (&[0][..], Some(0)),
            (&[49], Some(49)),
            (&[0, 0x80], Some(128)),
            (&[0, 0xff, 0xff, 0xff, 0xff], Some(u32::MAX)),
            (&[0x7f, 0xff, 0xff, 0xff], Some(0x7fff_ffff)),
            (&[], None),
            (&[0x80], None),
            (&[1, 0, 0, 0, 0], None),
            (&[0, 0, 0, 0, 0, 1], None),
        ] {
            assert_eq!(number(content).ok(), expected, "{content:?}");
        }
    }
}

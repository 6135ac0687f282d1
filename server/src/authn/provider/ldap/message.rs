//! LDAP messages (RFC 4511): the requests that are sent, the answers that are understood.

use bytes::BytesMut;
use ldap3::asn1::{
    ASNTag, Enumerated, Integer, OctetString, PL, Sequence, StructureTag, Tag, TagClass, write,
};

use super::ber::{BOOLEAN, ENUMERATED, INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE, SET};
use super::filter::Filter;

/// StartTLS (RFC 4511, section 4.14).
const START_TLS: &str = "1.3.6.1.4.1.1466.20037";
/// Simple paged results (RFC 2696).
pub(super) const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

const BIND_RESPONSE: u8 = 0x61;
const SEARCH_RESULT_ENTRY: u8 = 0x64;
const SEARCH_RESULT_DONE: u8 = 0x65;
const SEARCH_RESULT_REFERENCE: u8 = 0x73;
const EXTENDED_RESPONSE: u8 = 0x78;
const INTERMEDIATE_RESPONSE: u8 = 0x79;
const CONTROLS: u8 = 0xa0;

/// The longest distinguished name that is taken, in bytes: principals hold it, and have an end.
const MAX_DN: usize = 1000;

/// How much of a search there is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The entry itself.
    Base = 0,
    /// It and all below it.
    Subtree = 2,
}

/// What is asked of a directory.
#[derive(Clone)]
pub(super) enum Request<'a> {
    /// A simple bind.
    Bind { name: &'a str, password: &'a str },
    /// A search.
    Search {
        base: &'a str,
        scope: Scope,
        filter: &'a Filter,
        attributes: &'a [&'a str],
    },
    /// TLS from here on.
    StartTls,
    /// Good-bye.
    Unbind,
}

/// What is said beside a request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) oid: String,
    pub(super) value: Option<Vec<u8>>,
}

/// What a directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The number of the request, or 0 when nobody asked.
    pub(super) id: u32,
    pub(super) body: Body,
    pub(super) controls: Vec<Control>,
}

/// What a directory says, without what stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// A bind is over.
    Bind(Outcome),
    /// Something was found.
    Entry(Entry),
    /// A search is over.
    Done(Outcome),
    /// An extended request is over.
    Extended(Outcome),
    /// Other servers know more, or something is not over yet. Nobody here wants to know.
    Other,
}

/// How a request ended (LDAPResult).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: u32,
    pub(super) text: String,
}

/// An entry of the directory, with the attributes that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) dn: String,
    pub(super) attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Entry {
    /// The values of an attribute, whose name is written in any case.
    pub(super) fn values(&self, name: &str) -> &[Vec<u8>] {
        (self.attributes.iter())
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map_or(&[], |(_, values)| values)
    }

    /// The first value of an attribute that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        (self.values(name).iter()).find_map(|value| std::str::from_utf8(value).ok())
    }
}

impl Request<'_> {
    /// The bytes of the request.
    pub(super) fn encode(&self, id: u32, controls: &[Control]) -> BytesMut {
        let body = match self {
            Self::Bind { name, password } => Tag::Sequence(Sequence {
                id: 0,
                class: TagClass::Application,
                inner: vec![integer(3), octets(name), context(0, password.as_bytes())],
            }),
            Self::Search {
                base,
                scope,
                filter,
                attributes,
            } => Tag::Sequence(Sequence {
                id: 3,
                class: TagClass::Application,
                inner: vec![
                    octets(base),
                    enumerated(*scope as i64),
                    // Aliases are what they are.
                    enumerated(0),
                    integer(0),
                    integer(0),
                    // With the values, not only the names of attributes.
                    Tag::StructureTag(StructureTag {
                        id: u64::from(BOOLEAN),
                        class: TagClass::Universal,
                        payload: PL::P(vec![0]),
                    }),
                    filter.encode(),
                    Tag::Sequence(Sequence {
                        inner: attributes.iter().map(|name| octets(name)).collect(),
                        ..Sequence::default()
                    }),
                ],
            }),
            Self::StartTls => Tag::Sequence(Sequence {
                id: 23,
                class: TagClass::Application,
                inner: vec![context(0, START_TLS.as_bytes())],
            }),
            Self::Unbind => Tag::OctetString(OctetString {
                id: 2,
                class: TagClass::Application,
                inner: Vec::new(),
            }),
        };
        let mut message = vec![integer(id.into()), body];
        if !controls.is_empty() {
            message.push(Tag::Sequence(Sequence {
                id: 0,
                class: TagClass::Context,
                inner: controls.iter().map(Control::encode).collect(),
            }));
        }
        bytes(sequence(message))
    }
}

impl Control {
    /// Asks for pages of so many entries, from where a cookie says.
    pub(super) fn page(size: usize, cookie: &[u8]) -> Self {
        let value = sequence(vec![
            integer(i64::try_from(size).unwrap_or(i64::MAX)),
            Tag::OctetString(OctetString {
                inner: cookie.to_vec(),
                ..OctetString::default()
            }),
        ]);
        Self {
            oid: PAGED_RESULTS.to_owned(),
            value: Some(bytes(value).to_vec()),
        }
    }

    /// Where the next page begins; empty when there is none.
    pub(super) fn cookie(&self) -> Result<&[u8], Malformed> {
        let mut value = Reader::new(self.value.as_deref().unwrap_or_default()).inside(SEQUENCE)?;
        value.number(INTEGER)?;
        value.expect(OCTET_STRING)
    }

    fn encode(&self) -> Tag {
        // Not critical: who does not know it does without.
        let mut inner = vec![octets(&self.oid)];
        if let Some(value) = &self.value {
            inner.push(Tag::OctetString(OctetString {
                inner: value.clone(),
                ..OctetString::default()
            }));
        }
        sequence(inner)
    }

    fn decode(mut control: Reader<'_>) -> Result<Self, Malformed> {
        let oid = control.text()?.to_owned();
        control.optional(BOOLEAN)?;
        let value = control.optional(OCTET_STRING)?.map(<[u8]>::to_vec);
        Ok(Self { oid, value })
    }
}

impl Answer {
    /// The message whose bytes these are.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut message = Reader::new(bytes).inside(SEQUENCE)?;
        let id = message.number(INTEGER)?;
        let (tag, content) = message.element()?;
        // Active Directory ends a notice of disconnection in its own way. Nothing of it is needed.
        if id == 0 {
            return Ok(Self {
                id,
                body: Body::Other,
                controls: Vec::new(),
            });
        }
        let mut body = Reader::new(content);
        let body = match tag {
            BIND_RESPONSE => Body::Bind(outcome(&mut body)?),
            SEARCH_RESULT_ENTRY => Body::Entry(entry(&mut body)?),
            SEARCH_RESULT_DONE => Body::Done(outcome(&mut body)?),
            EXTENDED_RESPONSE => Body::Extended(outcome(&mut body)?),
            SEARCH_RESULT_REFERENCE | INTERMEDIATE_RESPONSE => Body::Other,
            _ => return Err(Malformed("a message is no answer")),
        };
        let mut controls = Vec::new();
        if let Some(content) = message.optional(CONTROLS)? {
            let mut content = Reader::new(content);
            while !content.is_empty() {
                controls.push(Control::decode(content.inside(SEQUENCE)?)?);
            }
        }
        Ok(Self { id, body, controls })
    }
}

fn outcome(body: &mut Reader<'_>) -> Result<Outcome, Malformed> {
    let code = body.number(ENUMERATED)?;
    body.expect(OCTET_STRING)?;
    // Servers write what they like here, and it is only for people.
    let text = String::from_utf8_lossy(body.expect(OCTET_STRING)?);
    let text = text.trim_end_matches('\0').chars().take(512).collect();
    Ok(Outcome { code, text })
}

fn entry(body: &mut Reader<'_>) -> Result<Entry, Malformed> {
    let dn = body.text()?.to_owned();
    if dn.len() > MAX_DN {
        return Err(Malformed("a distinguished name is longer than 1000 bytes"));
    }
    let mut list = body.inside(SEQUENCE)?;
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let mut attribute = list.inside(SEQUENCE)?;
        let name = attribute.text()?.to_owned();
        let mut set = attribute.inside(SET)?;
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(set.expect(OCTET_STRING)?.to_vec());
        }
        attributes.push((name, values));
    }
    Ok(Entry { dn, attributes })
}

fn bytes(tag: Tag) -> BytesMut {
    let mut bytes = BytesMut::new();
    write::encode_into(&mut bytes, tag.into_structure()).expect("memory takes what is written");
    bytes
}

fn sequence(inner: Vec<Tag>) -> Tag {
    Tag::Sequence(Sequence {
        inner,
        ..Sequence::default()
    })
}

fn integer(inner: i64) -> Tag {
    Tag::Integer(Integer {
        inner,
        ..Integer::default()
    })
}

fn enumerated(inner: i64) -> Tag {
    Tag::Enumerated(Enumerated {
        inner,
        ..Enumerated::default()
    })
}

fn octets(text: &str) -> Tag {
    Tag::OctetString(OctetString {
        inner: text.as_bytes().to_vec(),
        ..OctetString::default()
    })
}

fn context(id: u64, content: &[u8]) -> Tag {
    Tag::OctetString(OctetString {
        id,
        class: TagClass::Context,
        inner: content.to_vec(),
    })
}

#[cfg(test)]
pub(super) mod tests;

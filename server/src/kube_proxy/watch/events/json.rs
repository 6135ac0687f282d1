//! Events as JSON: an object `{"type": …, "object": …}` behind the other.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Facts, Kind, MARK, NoEvents};

/// Finds the ends of objects without reading them.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// How many objects and arrays are open.
    depth: u64,
    in_string: bool,
    is_escaped: bool,
}

impl Framing {
    /// White space between two objects.
    pub(super) fn blank(&self, bytes: &[u8]) -> usize {
        if self.depth > 0 {
            return 0;
        }
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        bytes.iter().take_while(is_blank).count()
    }

    /// With how many of these bytes the object ends.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, NoEvents> {
        let mut rest = bytes.iter();
        loop {
            if self.is_escaped {
                if rest.next().is_none() {
                    return Ok(None);
                }
                self.is_escaped = false;
            }
            let found = if self.in_string {
                rest.find(|byte| matches!(byte, b'"' | b'\\'))
            } else if self.depth > 0 {
                rest.find(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))
            } else {
                rest.next()
            };
            match found {
                None => return Ok(None),
                Some(b'\\') if self.in_string => self.is_escaped = true,
                Some(b'"') if self.depth > 0 => self.in_string = !self.in_string,
                Some(b'}' | b']') if self.depth > 0 => self.depth -= 1,
                Some(b'[') if self.depth > 0 => self.depth += 1,
                Some(b'{') => self.depth += 1,
                Some(_) => return Err(NoEvents),
            }
            if self.depth == 0 {
                return Ok(Some(bytes.len() - rest.len()));
            }
        }
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(borrow)]
    object: Object<'a>,
}

/// An object, a table, or a status.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow)]
    rows: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

/// A row of a table, which has the object's metadata with it unless the client wants none.
#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    object: Option<RowObject<'a>>,
}

#[derive(Deserialize)]
struct RowObject<'a> {
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
}

/// What an event says; `None` if it cannot be read.
pub(super) fn facts(event: &[u8]) -> Option<Facts<'_>> {
    let Event { kind, object } = serde_json::from_slice(event).ok()?;
    let metadata = object.metadata;
    let is_mark = kind == Kind::Bookmark
        && (metadata.as_ref().is_some_and(is_marked) || object.rows.is_some_and(is_first_marked));
    Some(Facts {
        kind,
        version: metadata.map_or_else(Cow::default, |metadata| metadata.resource_version),
        is_mark,
    })
}

fn is_marked(metadata: &Metadata<'_>) -> bool {
    let marked = metadata
        .annotations
        .map(|annotations| serde_json::from_str::<Marked>(annotations.get()));
    marked.is_some_and(|marked| marked.is_ok_and(|Marked(marked)| marked))
}

fn is_first_marked(rows: &RawValue) -> bool {
    let first = serde_json::from_str::<First<Row<'_>>>(rows.get());
    let metadata = first
        .ok()
        .and_then(|First(row)| row?.object)
        .and_then(|object| object.metadata);
    metadata.as_ref().is_some_and(is_marked)
}

/// The first of an array; the others take no memory.
struct First<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Array<T> {
            type Value = First<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<First<T>, A::Error> {
                let first = array.next_element()?;
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        deserializer.deserialize_seq(Array(PhantomData))
    }
}

/// Whether the mark is among annotations; the others take no memory.
struct Marked(bool);

impl<'de> Deserialize<'de> for Marked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Annotations;
        impl<'de> Visitor<'de> for Annotations {
            type Value = Marked;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Marked, A::Error> {
                let mut marked = None;
                while let Some(key) = map.next_key::<Cow<'_, str>>()? {
                    let value = map.next_value::<Cow<'_, str>>()?;
                    if key == MARK && marked.replace(value == "true").is_some() {
                        return Err(A::Error::duplicate_field(MARK));
                    }
                }
                Ok(Marked(marked == Some(true)))
            }
        }
        deserializer.deserialize_map(Annotations)
    }
}

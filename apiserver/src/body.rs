//! Bodies of requests: JSON, YAML or protobuf, with the fields that are named twice.

use crate::error::ApiError;
use crate::protobuf;
use crate::schema::path;
use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::options::DuplicateKeyPolicy;
use std::cell::Cell;
use std::time::Duration;

/// Most that is read of a body, in bytes: the limit of kube-apiserver.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// Deepest nesting of an object. What server-side apply records of it nests a few levels deeper, and
/// `serde_json` reads no more than 128. kube-apiserver takes 10,000 levels, on stacks that grow.
pub const MAX_DEPTH: usize = 100;

/// Deepest nesting of a body: room for an object with what was recorded of it.
pub(crate) const MAX_BODY_DEPTH: usize = 120;

/// So many fields that are named twice are reported, as kube-apiserver does.
const MAX_DUPLICATES: usize = 100;

/// Deepest nesting of a body in YAML. Its reader has 20 KiB on the stack for each level in a build without
/// optimisation, and the threads of the runtime have 2 MiB.
const MAX_YAML_DEPTH: usize = 48;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// A parsed body.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it says. Of a field that is named twice, the last value counts.
    pub value: Value,
    /// Paths of fields that are named twice.
    pub duplicates: Vec<String>,
}

impl Document {
    /// Parses a body by the content type in `headers`; none means JSON. Protobuf is only parsed for a
    /// kind that has a message.
    ///
    /// # Errors
    /// 415 for other content types, 400 for what does not parse.
    pub fn parse(
        headers: &HeaderMap,
        body: &[u8],
        message: Option<&protobuf::Expected>,
    ) -> Result<Self, ApiError> {
        let media_type = media_type(headers);
        match (media_type.as_str(), message) {
            ("" | JSON, _) => Self::from_json(body),
            (YAML | "application/x-yaml" | "text/yaml", _) => Self::from_yaml(body),
            (protobuf::MEDIA_TYPE, Some(expected)) => Ok(Self {
                value: protobuf::decode(body, expected)?,
                duplicates: Vec::new(),
            }),
            (_, Some(_)) => {
                let understood = [JSON, YAML, protobuf::MEDIA_TYPE];
                Err(ApiError::unsupported_media_type(&understood))
            }
            (_, None) => Err(ApiError::unsupported_media_type(&[JSON, YAML])),
        }
    }

    /// Parses JSON.
    ///
    /// # Errors
    /// 400 for what does not parse, or nests too deep.
    pub fn from_json(body: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(body).map_err(|error| {
            ApiError::bad_request(format!("the body of the request is not JSON: {error}"))
        })
    }

    /// Parses YAML.
    ///
    /// # Errors
    /// 400 for what does not parse, or nests too deep.
    pub fn from_yaml(body: &[u8]) -> Result<Self, ApiError> {
        let unclear = |error: &dyn std::fmt::Display| {
            ApiError::bad_request(format!("the body of the request is not YAML: {error}"))
        };
        // Most of it is JSON, which is read much faster.
        if body.starts_with(b"{")
            && let Ok(document) = Self::from_json(body)
        {
            return Ok(document);
        }
        let text = std::str::from_utf8(body).map_err(|error| unclear(&error))?;
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: MAX_YAML_DEPTH },
            // They are reported with the document.
            duplicate_keys: DuplicateKeyPolicy::LastWins,
        };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| unclear(&error))
    }
}

/// Reads a whole body of at most [`MAX_BODY`] bytes within a time.
///
/// # Errors
/// 413, 408 or 400, as the body deserves.
pub async fn collect<B>(body: B, patience: Duration) -> Result<Bytes, ApiError>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(ApiError::too_large(MAX_BODY));
    }
    match tokio::time::timeout(patience, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(MAX_BODY)),
        Ok(Err(error)) => {
            let message = "the body of the request breaks off";
            Err(ApiError::bad_request(message).with_log(error))
        }
        Err(_) => Err(ApiError::body_timeout(patience)),
    }
}

/// The media type of a body in lower case, without parameters.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = value.unwrap_or_default().split(';').next();
    media_type.unwrap_or_default().trim().to_ascii_lowercase()
}

/// The deepest nesting of a value; 0 for what is neither a list nor an object.
#[must_use]
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The refusal of an object that nests too deep.
#[must_use]
pub fn too_deep() -> ApiError {
    ApiError::bad_request(format!(
        "the object nests deeper than {MAX_DEPTH} levels, which is the most that is taken"
    ))
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reader = Reader {
            depth: 0,
            reported: &Cell::new(0),
        };
        reader.deserialize(deserializer)
    }
}

/// Reads a value that is so deep in the document.
#[derive(Clone, Copy)]
struct Reader<'a> {
    depth: usize,
    /// How many fields named twice were found.
    reported: &'a Cell<usize>,
}

impl Reader<'_> {
    /// The reader of what is inside.
    fn inside<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_BODY_DEPTH {
            return Err(E::custom(format!(
                "it nests deeper than {MAX_BODY_DEPTH} levels, which is the most that is read"
            )));
        }
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Document;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Document, E> {
        Ok(scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
        Ok(scalar(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
        Ok(scalar(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
        Ok(scalar(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Document, E> {
        // YAML has them, JSON has not.
        if !value.is_finite() {
            return Err(E::custom("number out of range"));
        }
        // Minus nothing is nothing, as Go reads it where it is no fraction.
        if value == 0.0 {
            return Ok(scalar(0));
        }
        Ok(scalar(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Document, E> {
        Ok(scalar(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Document, E> {
        Ok(scalar(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Document, A::Error> {
        let inside = self.inside::<A::Error>()?;
        let (mut values, mut duplicates) = (Vec::new(), Vec::new());
        while let Some(item) = items.next_element_seed(inside)? {
            let below = item.duplicates.iter();
            duplicates.extend(below.map(|below| {
                let at = path::index("", values.len());
                path::joined(&at, below)
            }));
            values.push(item.value);
        }
        Ok(Document {
            value: values.into(),
            duplicates,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Document, A::Error> {
        let inside = self.inside::<A::Error>()?;
        let (mut values, mut duplicates) = (Map::new(), Vec::new());
        while let Some(name) = fields.next_key::<String>()? {
            let field = fields.next_value_seed(inside)?;
            let below = field.duplicates.iter();
            duplicates.extend(below.map(|below| path::joined(&path::child("", &name), below)));
            let again = values.contains_key(&name);
            if again && self.reported.get() < MAX_DUPLICATES {
                self.reported.set(self.reported.get() + 1);
                duplicates.push(path::child("", &name));
            }
            values.insert(name, field.value);
        }
        Ok(Document {
            value: values.into(),
            duplicates,
        })
    }
}

fn scalar(value: impl Into<Value>) -> Document {
    Document {
        value: value.into(),
        duplicates: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn fields_named_twice_are_found_and_the_last_counts() {
        let text = br#"{"a": 1, "b": [{"c": 1, "c": 2}], "a": {"d": null}}"#;
        let document = Document::from_json(text).unwrap();
        assert_eq!(document.value, json!({"a": {"d": null}, "b": [{"c": 2}]}));
        assert_eq!(document.duplicates, ["b[0].c", "a"]);
    }

    #[test]
    fn fields_named_twice_under_a_long_name_cost_no_more_than_others() {
        let (name, twice) = ("n".repeat(1 << 20), "\"a\":1,".repeat(200_000));
        let text = format!("{{\"{name}\":[{{{twice}\"b\":2}}]}}");
        let document = Document::from_json(text.as_bytes()).unwrap();
        assert_eq!(document.duplicates.len(), MAX_DUPLICATES);
        let longest = document.duplicates.iter().map(String::len).max();
        assert!(longest < Some(1024), "{longest:?}");
    }

    #[test]
    fn numbers_are_kept_as_they_are() {
        let document = Document::from_json(b"[1.0, -0, 1.5, 1e300]").unwrap();
        assert_eq!(document.value.to_string(), "[1.0,0,1.5,1e+300]");
    }

    #[test]
    fn yaml_is_read_like_json() {
        let twice = Document::from_yaml(b"a: {b: 1, b: 2}\n").unwrap();
        assert_eq!(twice.value, json!({"a": {"b": 2}}));
        assert_eq!(twice.duplicates, ["a.b"]);
        let text = b"a: 1\nb: [x, 1.5, true, null]\nc: |\n  text\n";
        let document = Document::from_yaml(text).unwrap();
        let expected = json!({"a": 1, "b": ["x", 1.5, true, null], "c": "text\n"});
        assert_eq!(document.value, expected);
    }

    #[test]
    fn deep_and_broken_bodies_are_refused() {
        let deep = "[".repeat(100_000);
        for bad in ["", "{", "{\"a\":}", deep.as_str(), "1e400", "-1e400"] {
            assert_eq!(Document::from_json(bad.as_bytes()).unwrap_err().code(), 400);
        }
        for bad in [deep.as_str(), "a: .inf", "a: [.nan]", "a: 1e400", "? - "] {
            assert!(Document::from_yaml(bad.as_bytes()).is_err(), "{bad:.20}");
        }
        let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let message = Document::from_json(nested(121).as_bytes()).unwrap_err();
        assert!(
            message.message().contains("deeper than 120 levels"),
            "{message}"
        );
        let taken = Document::from_json(nested(120).as_bytes()).unwrap();
        assert_eq!(depth(&taken.value), 120);
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
        assert!(Document::from_yaml(bomb.as_bytes()).is_err());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/cbor".parse().unwrap());
        let parsed = Document::parse(&headers, b"", None);
        assert_eq!(parsed.unwrap_err().code(), 415);
    }

    proptest! {
        #[test]
        fn nothing_panics(body: Vec<u8>) {
            let _ = Document::from_json(&body);
            let _ = Document::from_yaml(&body);
        }
    }
}

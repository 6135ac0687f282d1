//! Bodies of requests: JSON, YAML or protobuf, with the fields that are named twice.

use crate::error::ApiError;
use crate::protobuf;
use http::{HeaderMap, header::CONTENT_TYPE};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Most that is read of a body, in bytes: the limit of kube-apiserver.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

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
            (other, Some(_)) => {
                let understood = [JSON, YAML, protobuf::MEDIA_TYPE];
                Err(ApiError::unsupported_media_type(other, &understood))
            }
            (other, None) => Err(ApiError::unsupported_media_type(other, &[JSON, YAML])),
        }
    }

    /// Parses JSON.
    ///
    /// # Errors
    /// 400 for what does not parse, or nests deeper than 128 levels.
    pub fn from_json(body: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(body).map_err(|error| {
            ApiError::bad_request(format!("the body of the request is not JSON: {error}"))
        })
    }

    /// Parses YAML.
    ///
    /// # Errors
    /// 400 for what does not parse.
    pub fn from_yaml(body: &[u8]) -> Result<Self, ApiError> {
        let unclear = |error: &dyn std::fmt::Display| {
            ApiError::bad_request(format!("the body of the request is not YAML: {error}"))
        };
        let text = std::str::from_utf8(body).map_err(|error| unclear(&error))?;
        serde_saphyr::from_str(text).map_err(|error| unclear(&error))
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

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
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
        Document::deserialize(deserializer)
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

    fn visit_f64<E>(self, value: f64) -> Result<Document, E> {
        Ok(scalar(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Document, E> {
        Ok(scalar(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Document, E> {
        Ok(scalar(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Document, A::Error> {
        let (mut values, mut duplicates) = (Vec::new(), Vec::new());
        while let Some(item) = items.next_element::<Document>()? {
            let at = values.len();
            duplicates.extend(
                item.duplicates
                    .iter()
                    .map(|path| format!("[{at}]{}", dotted(path))),
            );
            values.push(item.value);
        }
        Ok(Document {
            value: values.into(),
            duplicates,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Document, A::Error> {
        let (mut values, mut duplicates) = (Map::new(), Vec::new());
        while let Some((name, field)) = fields.next_entry::<String, Document>()? {
            let below = field.duplicates.iter();
            duplicates.extend(below.map(|path| format!("{name}{}", dotted(path))));
            if values.insert(name.clone(), field.value).is_some() {
                duplicates.push(name);
            }
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

/// A path as it follows another one.
fn dotted(path: &str) -> String {
    if path.starts_with('[') {
        path.to_owned()
    } else {
        format!(".{path}")
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
    fn yaml_is_read_like_json() {
        let text = b"a: 1\nb: [x, 1.5, true, null]\nc: |\n  text\n";
        let document = Document::from_yaml(text).unwrap();
        let expected = json!({"a": 1, "b": ["x", 1.5, true, null], "c": "text\n"});
        assert_eq!(document.value, expected);
    }

    #[test]
    fn deep_and_broken_bodies_are_refused() {
        let deep = "[".repeat(100_000);
        for bad in ["", "{", "{\"a\":}", deep.as_str()] {
            assert_eq!(Document::from_json(bad.as_bytes()).unwrap_err().code(), 400);
        }
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

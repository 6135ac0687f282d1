//! `application/vnd.kubernetes.protobuf`: objects of Kubernetes' own kinds as clients written in Go
//! send them, kubectl among them: `kubectl create configmap` and `kubectl auth can-i` send nothing else.
//!
//! A body is four bytes that mark it, and a `runtime.Unknown` with the kind and the object's message.
//! What fields the messages have is a table (`upstream/messages.json`); an object is read into the
//! value that its JSON would give, and goes on from there as if it had come as JSON.

mod decode;
mod encode;
mod table;
mod wire;

use crate::body::{MAX_BODY, MAX_BODY_DEPTH};
use crate::error::ApiError;
use crate::upstream;
use serde_json::{Map, Value};
use wire::{Fields, Wire};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The media type of a watch.
pub const WATCH_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// What every body begins with. The last byte is the version of the encoding.
const MARK: &[u8] = b"k8s\0";

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Unreadable {
    #[error("it does not begin with the bytes [107 56 115 0]")]
    Unmarked,
    #[error("it breaks off")]
    Truncated,
    #[error("a number has more than 64 bits")]
    LongNumber,
    #[error("field {0} is of wire type {1}")]
    WireType(u64, u8),
    #[error("there is no field {0}")]
    FieldNumber(u64),
    #[error("it nests deeper than {MAX_BODY_DEPTH} levels")]
    Deep,
    #[error("field {0} is no time that can be written: {1}")]
    Time(String, i64),
    #[error("field {0} is no finite number")]
    Number(String),
    #[error("field {0} holds no JSON: {1}")]
    Json(String, String),
    /// As JSON it would have more bytes than a body may have.
    #[error("it is too large")]
    Large,
}

impl From<Unreadable> for ApiError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Large => Self::too_large(MAX_BODY),
            error => Self::bad_request(format!("the body of the request is not protobuf: {error}")),
        }
    }
}

/// The kind of object that a body may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The name of its type in OpenAPI, for example `io.k8s.api.core.v1.Secret`.
    pub type_name: String,
    /// `apiVersion`; empty where it does not matter.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
}

/// The object in a body, as its JSON would give it. One that does not say its kind is of the expected
/// one; of an object of another kind only that is returned.
///
/// # Errors
/// 400 for what cannot be read, and for values that JSON cannot have; 413 for what would be too
/// large a body in JSON.
pub fn decode(body: &[u8], expected: &Expected) -> Result<Value, ApiError> {
    let envelope = Envelope::read(body)?;
    let is =
        |said: &str, expected: &str| said.is_empty() || expected.is_empty() || said == expected;
    let mut object = Map::new();
    if is(&envelope.api_version, &expected.api_version) && is(&envelope.kind, &expected.kind) {
        let found = decode::object(&expected.type_name, envelope.raw)?;
        object = found.ok_or_else(|| ApiError::internal(&expected.type_name))?;
    }
    for (name, said, expected) in [
        ("apiVersion", envelope.api_version, &expected.api_version),
        ("kind", envelope.kind, &expected.kind),
    ] {
        let said = if said.is_empty() {
            expected.clone()
        } else {
            said
        };
        object.insert(name.into(), said.into());
    }
    Ok(object.into())
}

/// The object in a body, of whatever kind it says it is; `None` if there is no message for that, or it
/// cannot be read.
#[must_use]
pub fn read(body: &[u8]) -> Option<Value> {
    let Envelope {
        api_version, kind, ..
    } = Envelope::read(body).ok()?;
    let expected = Expected {
        type_name: type_name(&api_version, &kind)?,
        api_version,
        kind,
    };
    decode(body, &expected).ok()
}

/// An object or a list of one of Kubernetes' own kinds as a body; `None` if there is no message for
/// it. It is for the caller to know that the kind is not another one of the same name.
#[must_use]
pub fn encode(object: &Value) -> Option<Vec<u8>> {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let (api_version, kind) = (text("apiVersion")?, text("kind")?);
    let raw = encode::object(&type_name(api_version, kind)?, object)?;
    let mut named = Vec::new();
    wire::put_bytes(&mut named, 1, api_version.as_bytes());
    wire::put_bytes(&mut named, 2, kind.as_bytes());
    let mut body = MARK.to_vec();
    wire::put_bytes(&mut body, 1, &named);
    wire::put_bytes(&mut body, 2, &raw);
    // How the object is encoded: as nothing else is said, in protobuf.
    wire::put_bytes(&mut body, 3, b"");
    wire::put_bytes(&mut body, 4, b"");
    Some(body)
}

/// A change as a watch has it: its length in four bytes, and a `WatchEvent` with the object as a
/// body; `None` as of [`encode`].
#[must_use]
pub fn watch_frame(word: &str, object: &Value) -> Option<Vec<u8>> {
    let mut extension = Vec::new();
    wire::put_bytes(&mut extension, 1, &encode(object)?);
    let mut event = Vec::new();
    wire::put_bytes(&mut event, 1, word.as_bytes());
    wire::put_bytes(&mut event, 2, &extension);
    let length = u32::try_from(event.len()).ok()?;
    Some([&length.to_be_bytes()[..], &event].concat())
}

/// The name in OpenAPI of the type of a kind in one of Kubernetes' own groups.
fn type_name(api_version: &str, kind: &str) -> Option<String> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if group.contains('.') && !group.ends_with(".k8s.io") {
        return None;
    }
    Some(match (group, kind) {
        ("meta.k8s.io", _) | ("", "Status" | "DeleteOptions") => upstream::meta(kind),
        ("", _) => format!("io.k8s.api.core.{version}.{kind}"),
        ("apiextensions.k8s.io", _) => {
            format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{kind}")
        }
        (group, _) => {
            let first = group.split('.').next().unwrap_or_default();
            format!("io.k8s.api.{first}.{version}.{kind}")
        }
    })
}

/// `runtime.Unknown`. Of its four fields the last two, on how the object is encoded, say nothing.
#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Unreadable> {
        let fields = body.strip_prefix(MARK).ok_or(Unreadable::Unmarked)?;
        if fields.is_empty() {
            return Err(Unreadable::Truncated);
        }
        let mut envelope = Self::default();
        for field in Fields(fields) {
            match field? {
                (1, Wire::Bytes(kind)) => envelope.read_kind(kind)?,
                (2, Wire::Bytes(raw)) => envelope.raw = raw,
                (3 | 4, Wire::Bytes(_)) => {}
                (number @ 1..=4, wire) => return Err(Unreadable::WireType(number, wire.kind())),
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_kind(&mut self, fields: &[u8]) -> Result<(), Unreadable> {
        for field in Fields(fields) {
            match field? {
                (1, Wire::Bytes(text)) => self.api_version = wire::text(text),
                (2, Wire::Bytes(text)) => self.kind = wire::text(text),
                (number @ 1..=2, wire) => return Err(Unreadable::WireType(number, wire.kind())),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The fields of messages, as the tags of upstream's Go types have them.

use serde::Deserialize;
use std::collections::HashMap;
use std::sync::LazyLock;

static MESSAGES: LazyLock<HashMap<String, Vec<Field>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../upstream/messages.json")).expect("a test reads it")
});

/// The fields of the message with that name, by their numbers.
pub(super) fn message(name: &str) -> Option<&'static [Field]> {
    MESSAGES.get(name).map(Vec::as_slice)
}

/// A field of a message.
#[derive(Debug, Deserialize)]
pub(super) struct Field {
    pub(super) number: u64,
    /// In JSON. Empty: what the field holds is not below the message's JSON, but is part of it.
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    #[serde(default)]
    pub(super) holds: Holds,
    /// Whether JSON leaves it out when it is zero.
    #[serde(default)]
    pub(super) omitted: bool,
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Holds {
    /// One, which is zero when it is not sent.
    #[default]
    One,
    /// One or none.
    Optional,
    List,
    /// Values with names.
    Map,
}

/// What a value is.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(super) enum Kind {
    Bool,
    Bytes,
    Double,
    Int32,
    Int64,
    String,
    /// A time in seconds.
    Time,
    /// A time in microseconds.
    MicroTime,
    /// JSON as it is.
    Json,
    /// A message that is in JSON what one of its fields is.
    Either(String),
    Message(String),
}

impl From<String> for Kind {
    fn from(name: String) -> Self {
        match name.as_str() {
            "bool" => return Self::Bool,
            "bytes" => return Self::Bytes,
            "double" => return Self::Double,
            "int32" => return Self::Int32,
            "int64" => return Self::Int64,
            "string" => return Self::String,
            _ => {}
        }
        match name.rsplit('.').next() {
            Some("Time") => Self::Time,
            Some("MicroTime") => Self::MicroTime,
            Some("FieldsV1" | "JSON") => Self::Json,
            Some(
                "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray",
            ) => Self::Either(name),
            _ => Self::Message(name),
        }
    }
}

impl Kind {
    /// The wire type of its values.
    pub(super) fn wire_type(&self) -> u8 {
        match self {
            Self::Bool | Self::Int32 | Self::Int64 => 0,
            Self::Double => 1,
            _ => 2,
        }
    }
}

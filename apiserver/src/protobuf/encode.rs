//! Values to messages, byte for byte as upstream's Go types write them.

use super::table::{self, Field, Holds, Kind};
use super::wire;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The message of an object; `None` if there is none of that name. What the message has no place for
/// is left out.
pub(super) fn object(name: &str, value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(&mut out, table::message(name)?, value);
    Some(out)
}

fn write(out: &mut Vec<u8>, fields: &[Field], message: &Value) {
    for field in fields {
        let held = match field.name.as_str() {
            "" => Some(message),
            name => message.get(name),
        };
        let held = held.filter(|held| !held.is_null());
        match (field.holds, held) {
            // Go has bytes or none, but other values even where there are none.
            (Holds::One, None) if matches!(field.kind, Kind::Bytes) => {}
            (Holds::One, held) => value(out, field, field.number, held.unwrap_or(&Value::Null)),
            (Holds::Optional, Some(held)) => value(out, field, field.number, held),
            (Holds::List, Some(Value::Array(items))) => {
                for item in items {
                    value(out, field, field.number, item);
                }
            }
            (Holds::Map, Some(Value::Object(entries))) => {
                for (name, held) in entries {
                    let mut entry = Vec::new();
                    wire::put_bytes(&mut entry, 1, name.as_bytes());
                    value(&mut entry, field, 2, held);
                    wire::put_bytes(out, field.number, &entry);
                }
            }
            _ => {}
        }
    }
}

fn value(out: &mut Vec<u8>, field: &Field, number: u64, value: &Value) {
    let bytes = match &field.kind {
        Kind::Bool => return wire::put_varint(out, number, u64::from(*value == true)),
        Kind::Int32 | Kind::Int64 => {
            let value = value.as_i64().unwrap_or_default();
            return wire::put_varint(out, number, value.cast_unsigned());
        }
        Kind::Double => return wire::put_double(out, number, value.as_f64().unwrap_or_default()),
        Kind::String => value.as_str().unwrap_or_default().into(),
        Kind::Bytes => {
            let text = value.as_str().unwrap_or_default();
            STANDARD.decode(text).unwrap_or_default()
        }
        Kind::Time => time(value, false).unwrap_or_default(),
        Kind::MicroTime => time(value, true).unwrap_or_default(),
        Kind::Json => {
            let mut raw = Vec::new();
            if !value.is_null() {
                wire::put_bytes(&mut raw, 1, value.to_string().as_bytes());
            }
            raw
        }
        Kind::Either(name) => {
            let either = match value {
                Value::Array(_) => json!({"JSONSchemas": value, "Property": value}),
                Value::Object(_) => json!({"Schema": value, "Allows": true}),
                _ => json!({"Allows": value}),
            };
            object(name, &either).unwrap_or_default()
        }
        Kind::Message(name) => object(name, value).unwrap_or_default(),
    };
    wire::put_bytes(out, number, &bytes);
}

/// `Timestamp`, the message in which times are sent; nothing for no time.
fn time(value: &Value, micro: bool) -> Option<Vec<u8>> {
    let time: Timestamp = value.as_str()?.parse().ok()?;
    // Go counts what is below a second from the second before.
    let (seconds, nanos) = match time.subsec_nanosecond() {
        nanos @ ..0 => (time.as_second() - 1, nanos + 1_000_000_000),
        nanos => (time.as_second(), nanos),
    };
    let nanos = if micro { nanos - nanos % 1000 } else { 0 };
    let mut out = Vec::new();
    wire::put_varint(&mut out, 1, seconds.cast_unsigned());
    wire::put_varint(&mut out, 2, i64::from(nanos).cast_unsigned());
    Some(out)
}

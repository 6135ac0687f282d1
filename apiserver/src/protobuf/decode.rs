//! Messages to values.

use super::Unreadable;
use super::table::{self, Field, Holds, Kind};
use super::wire::{self, Fields, Wire};
use crate::body::{self, MAX_BODY, MAX_BODY_DEPTH};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// The seconds of Go's zero time, which JSON shows as null.
const NO_TIME: i64 = -62_135_596_800;

/// The message of an object; `None` if there is none of that name.
pub(super) fn object(name: &str, bytes: &[u8]) -> Result<Option<Map<String, Value>>, Unreadable> {
    let Some(fields) = table::message(name) else {
        return Ok(None);
    };
    let mut reader = Reader { room: MAX_BODY };
    let mut object = Map::new();
    reader.fields(fields, &[bytes], &mut object, 1)?;
    Ok(Some(object))
}

struct Reader {
    /// How many bytes of JSON may still be made. A message of few bytes may mean many fields.
    room: usize,
}

impl Reader {
    /// Reads a message into an object. It may come in several parts, of which the later ones add to
    /// the earlier; what is not sent at all is zero.
    fn fields(
        &mut self,
        fields: &[Field],
        parts: &[&[u8]],
        object: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Unreadable> {
        let mut sent: Vec<Vec<Wire<'_>>> = vec![Vec::new(); fields.len()];
        for part in parts {
            for field in Fields(part) {
                let (number, wire) = field?;
                let Ok(at) = fields.binary_search_by_key(&number, |field| field.number) else {
                    continue;
                };
                if wire.kind() != fields[at].kind.wire_type() {
                    return Err(Unreadable::WireType(number, wire.kind()));
                }
                sent[at].push(wire);
            }
        }
        for (field, sent) in fields.iter().zip(&sent) {
            if let ("", Kind::Message(name)) = (field.name.as_str(), &field.kind) {
                self.fields(fields_of(name), &parts_of(sent), object, depth)?;
            } else if let Some(value) = self.field(field, sent, depth)? {
                self.charge(field.name.len() + r#""":,"#.len())?;
                object.insert(field.name.clone(), value);
            }
        }
        Ok(())
    }

    /// The value of a field; `None` where JSON has none.
    fn field(
        &mut self,
        field: &Field,
        sent: &[Wire<'_>],
        depth: usize,
    ) -> Result<Option<Value>, Unreadable> {
        let value = match field.holds {
            Holds::One => {
                let value = self.value(field, sent, depth)?;
                Some(value).filter(|value| !(field.omitted && is_zero(value)))
            }
            Holds::Optional if !sent.is_empty() => Some(self.value(field, sent, depth)?),
            Holds::List if !sent.is_empty() => Some(self.list(field, sent, depth + 1)?),
            Holds::Map if !sent.is_empty() => Some(self.map(field, sent, depth + 1)?),
            _ if field.omitted => None,
            _ => Some(Value::Null),
        };
        Ok(value)
    }

    fn list(
        &mut self,
        field: &Field,
        sent: &[Wire<'_>],
        depth: usize,
    ) -> Result<Value, Unreadable> {
        check_depth(depth)?;
        let items = sent.chunks(1).map(|one| self.value(field, one, depth));
        items.collect()
    }

    fn map(&mut self, field: &Field, sent: &[Wire<'_>], depth: usize) -> Result<Value, Unreadable> {
        check_depth(depth)?;
        let mut map = Map::new();
        for entry in parts_of(sent) {
            let (mut name, mut value) = (String::new(), None);
            for part in Fields(entry) {
                match part? {
                    (1, Wire::Bytes(text)) => name = wire::text(text),
                    (2, wire) if wire.kind() == field.kind.wire_type() => value = Some(wire),
                    (number @ (1 | 2), wire) => {
                        return Err(Unreadable::WireType(number, wire.kind()));
                    }
                    _ => {}
                }
            }
            self.charge(name.len() + r#""":,"#.len())?;
            // A value that is not sent is empty and not nothing.
            let value = value.unwrap_or(Wire::Bytes(&[]));
            map.insert(name, self.value(field, &[value], depth)?);
        }
        Ok(map.into())
    }

    /// One value. Of what was sent several times the last counts, unless it is a message.
    fn value(
        &mut self,
        field: &Field,
        sent: &[Wire<'_>],
        depth: usize,
    ) -> Result<Value, Unreadable> {
        let value = match (&field.kind, sent.last().copied()) {
            (Kind::Bool, Some(Wire::Varint(number))) => (number != 0).into(),
            (Kind::Bool, _) => false.into(),
            // As Go does: what is beyond 32 bits is lost.
            (Kind::Int32, Some(Wire::Varint(number))) => (number as u32).cast_signed().into(),
            (Kind::Int64, Some(Wire::Varint(number))) => number.cast_signed().into(),
            (Kind::Int32 | Kind::Int64, _) => 0.into(),
            (Kind::Double, Some(Wire::Fixed64(bits))) => number(f64::from_bits(bits))
                .ok_or_else(|| Unreadable::Number(field.name.clone()))?,
            (Kind::Double, _) => 0.into(),
            (Kind::String, Some(Wire::Bytes(bytes))) => wire::text(bytes).into(),
            (Kind::String, _) => "".into(),
            (Kind::Bytes, Some(Wire::Bytes(bytes))) => STANDARD.encode(bytes).into(),
            (Kind::Time, _) => last_time(field, sent, false)?,
            (Kind::MicroTime, _) => last_time(field, sent, true)?,
            (Kind::Json, _) => return self.json(field, sent, depth),
            (Kind::Either(name), _) => {
                return Ok(chosen(self.message(name, sent, depth)?));
            }
            (Kind::Message(name), _) => return self.message(name, sent, depth),
            _ => Value::Null,
        };
        self.charge(match &value {
            Value::String(text) => text.len() + r#""","#.len(),
            _ => 1,
        })?;
        Ok(value)
    }

    fn message(
        &mut self,
        name: &str,
        sent: &[Wire<'_>],
        depth: usize,
    ) -> Result<Value, Unreadable> {
        check_depth(depth + 1)?;
        self.charge("{},".len())?;
        let parts = parts_of(sent);
        // A message that is a list in JSON.
        if let [only] = fields_of(name)
            && only.name.is_empty()
        {
            let mut object = Map::new();
            self.fields(fields_of(name), &parts, &mut object, depth)?;
            let list = object.remove("").filter(|list| !list.is_null());
            return Ok(list.unwrap_or_else(|| Vec::<Value>::new().into()));
        }
        let mut object = Map::new();
        self.fields(fields_of(name), &parts, &mut object, depth + 1)?;
        Ok(object.into())
    }

    /// A message with one field, which is JSON.
    fn json(
        &mut self,
        field: &Field,
        sent: &[Wire<'_>],
        depth: usize,
    ) -> Result<Value, Unreadable> {
        let mut text: &[u8] = b"";
        for part in parts_of(sent).into_iter().flat_map(Fields) {
            match part? {
                (1, Wire::Bytes(raw)) => text = raw,
                (1, wire) => return Err(Unreadable::WireType(1, wire.kind())),
                _ => {}
            }
        }
        self.charge(text.len() + 1)?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| Unreadable::Json(field.name.clone(), error.to_string()))?;
        check_depth(depth + body::depth(&value))?;
        Ok(value)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Unreadable> {
        self.room = self.room.checked_sub(bytes).ok_or(Unreadable::Large)?;
        Ok(())
    }
}

fn check_depth(depth: usize) -> Result<(), Unreadable> {
    match depth > MAX_BODY_DEPTH {
        true => Err(Unreadable::Deep),
        false => Ok(()),
    }
}

fn fields_of(name: &str) -> &'static [Field] {
    table::message(name).expect("a test looks for every message that is named in the table")
}

fn parts_of<'a>(sent: &[Wire<'a>]) -> Vec<&'a [u8]> {
    let parts = sent.iter().filter_map(|wire| match wire {
        Wire::Bytes(bytes) => Some(*bytes),
        _ => None,
    });
    parts.collect()
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// A number as it is read from JSON, in which a whole one has no point.
fn number(value: f64) -> Option<Value> {
    let text = value.is_finite().then(|| value.to_string())?;
    serde_json::from_str(&text).ok()
}

fn last_time(field: &Field, sent: &[Wire<'_>], micro: bool) -> Result<Value, Unreadable> {
    let mut times = parts_of(sent).into_iter();
    times.try_fold(Value::Null, |_, bytes| time(field, bytes, micro))
}

/// `Timestamp`, the message in which times are sent.
fn time(field: &Field, bytes: &[u8], micro: bool) -> Result<Value, Unreadable> {
    let (mut seconds, mut nanos) = (NO_TIME, 0);
    if !bytes.is_empty() {
        seconds = 0;
    }
    for part in Fields(bytes) {
        match part? {
            (1, Wire::Varint(number)) => seconds = number.cast_signed(),
            (2, Wire::Varint(number)) if micro => nanos = (number as u32).cast_signed(),
            (number @ (1 | 2), wire) if wire.kind() != 0 => {
                return Err(Unreadable::WireType(number, wire.kind()));
            }
            _ => {}
        }
    }
    let nanos = nanos - nanos % 1000;
    if (seconds, nanos) == (NO_TIME, 0) {
        return Ok(Value::Null);
    }
    let time = Timestamp::new(seconds, nanos).ok();
    // Before the year 0 there is no way to write it.
    let time = time.filter(|_| seconds >= -62_167_219_200);
    let time = time.ok_or_else(|| Unreadable::Time(field.name.clone(), seconds))?;
    let text = match micro {
        true => time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"),
        false => time.strftime("%Y-%m-%dT%H:%M:%SZ"),
    };
    Ok(text.to_string().into())
}

/// What a value is in JSON that is one thing or another: a list if it has one, else an object, else
/// a yes or no if it is that, else nothing.
fn chosen(either: Value) -> Value {
    let Value::Object(mut fields) = either else {
        return Value::Null;
    };
    for name in ["JSONSchemas", "Property", "Schema", "Allows"] {
        if let Some(value) = fields.remove(name).filter(|value| !value.is_null()) {
            return value;
        }
    }
    Value::Null
}

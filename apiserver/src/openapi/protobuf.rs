//! OpenAPI v2 as protobuf: the messages of gnostic's `openapiv2/OpenAPIv2.proto`, as far as there is
//! anything to put into them.

use serde_json::{Map, Value};

/// Wire types of protobuf.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;

/// A document of version 2.
pub(super) fn document(json: &Value) -> Vec<u8> {
    let mut document = Message::default();
    document.text(1, &json["swagger"]);
    let mut info = Message::default();
    info.text(1, &json["info"]["title"]);
    info.text(2, &json["info"]["version"]);
    document.message(2, info);
    document.message(8, named(2, &json["paths"], path_item));
    document.message(9, named(1, &json["definitions"], schema));
    document.0
}

fn path_item(json: &Value) -> Message {
    let mut item = Message::default();
    for (number, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (8, "patch"),
    ] {
        if let Some(json) = json.get(method) {
            item.message(number, operation(json));
        }
    }
    for json in list(&json["parameters"]) {
        item.message(9, wrapped(1, parameter(json)));
    }
    item
}

fn operation(json: &Value) -> Message {
    let mut operation = Message::default();
    operation.texts(1, &json["tags"]);
    operation.text(3, &json["description"]);
    operation.text(5, &json["operationId"]);
    operation.texts(6, &json["produces"]);
    operation.texts(7, &json["consumes"]);
    for json in list(&json["parameters"]) {
        operation.message(8, wrapped(1, parameter(json)));
    }
    operation.message(9, named(1, &json["responses"], response));
    operation.texts(10, &json["schemes"]);
    operation.extensions(13, json);
    operation
}

fn parameter(json: &Value) -> Message {
    let mut parameter = Message::default();
    if json["in"] == "body" {
        parameter.text(1, &json["description"]);
        parameter.text(2, &json["name"]);
        parameter.text(3, &json["in"]);
        parameter.flag(4, &json["required"]);
        parameter.message(5, schema(&json["schema"]));
        return wrapped(1, parameter);
    }
    // In a path there is no `allowEmptyValue`, and what follows has a lower number.
    let (kind, skipped) = match json["in"].as_str() {
        Some("path") => (4, 1),
        _ => (3, 0),
    };
    parameter.flag(1, &json["required"]);
    parameter.text(2, &json["in"]);
    parameter.text(3, &json["description"]);
    parameter.text(4, &json["name"]);
    parameter.text(6 - skipped, &json["type"]);
    parameter.text(7 - skipped, &json["format"]);
    parameter.flag(20 - skipped, &json["uniqueItems"]);
    wrapped(2, wrapped(kind, parameter))
}

fn response(json: &Value) -> Message {
    let mut response = Message::default();
    response.text(1, &json["description"]);
    if let Some(json) = json.get("schema") {
        response.message(2, wrapped(1, schema(json)));
    }
    wrapped(1, response)
}

fn schema(json: &Value) -> Message {
    let mut schema = Message::default();
    schema.text(1, &json["$ref"]);
    schema.text(2, &json["format"]);
    schema.text(3, &json["title"]);
    schema.text(4, &json["description"]);
    if let Some(default) = json.get("default") {
        schema.message(5, any(default));
    }
    schema.number(6, &json["multipleOf"]);
    schema.number(7, &json["maximum"]);
    schema.flag(8, &json["exclusiveMaximum"]);
    schema.number(9, &json["minimum"]);
    schema.flag(10, &json["exclusiveMinimum"]);
    schema.integer(11, &json["maxLength"]);
    schema.integer(12, &json["minLength"]);
    schema.text(13, &json["pattern"]);
    schema.integer(14, &json["maxItems"]);
    schema.integer(15, &json["minItems"]);
    schema.flag(16, &json["uniqueItems"]);
    schema.integer(17, &json["maxProperties"]);
    schema.integer(18, &json["minProperties"]);
    schema.texts(19, &json["required"]);
    for value in list(&json["enum"]) {
        schema.message(20, any(value));
    }
    match &json["additionalProperties"] {
        Value::Null => {}
        Value::Bool(any) => {
            let mut item = Message::default();
            // One of two: false is written as well.
            item.varint(2, u64::from(*any));
            schema.message(21, item);
        }
        other => schema.message(21, wrapped(1, self::schema(other))),
    }
    if !json["type"].is_null() {
        let mut item = Message::default();
        item.text(1, &json["type"]);
        schema.message(22, item);
    }
    if let Some(items) = json.get("items") {
        schema.message(23, wrapped(1, self::schema(items)));
    }
    if let Some(properties) = json.get("properties") {
        schema.message(25, named(1, properties, self::schema));
    }
    schema.extensions(31, json);
    schema
}

/// A message with an entry for each field of an object.
fn named(number: u64, json: &Value, write: impl Fn(&Value) -> Message) -> Message {
    let mut entries = Message::default();
    for (name, value) in json.as_object().into_iter().flatten() {
        let mut entry = Message::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, write(value));
        entries.message(number, entry);
    }
    entries
}

/// A message that holds nothing but another.
fn wrapped(number: u64, inner: Message) -> Message {
    let mut message = Message::default();
    message.message(number, inner);
    message
}

/// Any value, as YAML, which JSON is.
fn any(value: &Value) -> Message {
    let mut any = Message::default();
    any.bytes(2, value.to_string().as_bytes());
    any
}

fn list(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

/// A message as it is written. What is absent or says nothing is left out.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn text(&mut self, number: u64, json: &Value) {
        if let Some(text) = json.as_str().filter(|text| !text.is_empty()) {
            self.bytes(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u64, json: &Value) {
        for text in list(json).iter().filter_map(Value::as_str) {
            self.bytes(number, text.as_bytes());
        }
    }

    fn flag(&mut self, number: u64, json: &Value) {
        if *json == Value::Bool(true) {
            self.varint(number, 1);
        }
    }

    fn integer(&mut self, number: u64, json: &Value) {
        if let Some(value) = json.as_i64().filter(|value| *value != 0) {
            self.varint(number, value.cast_unsigned());
        }
    }

    fn number(&mut self, number: u64, json: &Value) {
        if let Some(value) = json.as_f64().filter(|value| *value != 0.0) {
            self.raw(number << 3 | FIXED_64);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn extensions(&mut self, number: u64, json: &Value) {
        let none = Map::new();
        let fields = json.as_object().unwrap_or(&none);
        for (name, value) in fields.iter().filter(|(name, _)| name.starts_with("x-")) {
            let mut named = Self::default();
            named.bytes(1, name.as_bytes());
            named.message(2, any(value));
            self.message(number, named);
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is part of this one now")]
    fn message(&mut self, number: u64, inner: Self) {
        self.bytes(number, &inner.0);
    }

    fn bytes(&mut self, number: u64, bytes: &[u8]) {
        self.raw(number << 3 | BYTES);
        self.raw(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn varint(&mut self, number: u64, value: u64) {
        self.raw(number << 3 | VARINT);
        self.raw(value);
    }

    fn raw(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_written_as_protobuf_says() {
        let mut message = Message::default();
        message.varint(1, 150);
        message.text(2, &json!("testing"));
        message.number(3, &json!(1.0));
        let expected = "089601120774657374696e6719000000000000f03f";
        assert_eq!(hex::encode(message.0), expected);
    }
}

//! Objects as CEL sees them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as CelValue};
use serde_json::{Number, Value};

use crate::schema::{Kind, MAX_DEPTH, Schema};

/// Words that CEL keeps for itself, so that fields of these names are written `__word__`.
const RESERVED: [&str; 20] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
];

/// The value in CEL's types, and how many values it holds. `None` if it nests too deep.
pub(super) fn convert(
    schema: &Schema,
    value: &Value,
    context: &Context<'_>,
) -> Option<(CelValue, usize)> {
    let mut conversion = Conversion { context, values: 0 };
    let converted = conversion.value(Some(schema), value, 0)?;
    Some((converted, conversion.values))
}

struct Conversion<'a> {
    context: &'a Context<'a>,
    values: usize,
}

impl Conversion<'_> {
    fn value(&mut self, schema: Option<&Schema>, value: &Value, depth: usize) -> Option<CelValue> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.values += 1;
        Some(match value {
            Value::Null => CelValue::Null,
            Value::Bool(flag) => CelValue::Bool(*flag),
            Value::Number(number) => convert_number(schema, number),
            Value::String(text) => {
                self.values += text.len() / 10;
                self.text(schema, text)
            }
            Value::Array(items) => {
                let of_items = schema.and_then(Schema::items);
                let items: Option<Vec<_>> = items
                    .iter()
                    .map(|item| self.value(of_items, item, depth + 1))
                    .collect();
                CelValue::List(Arc::new(items?))
            }
            Value::Object(fields) => {
                let mut map = HashMap::with_capacity(fields.len());
                for (name, field) in fields {
                    let of_field = schema.and_then(|schema| schema.field(name));
                    let field = self.value(of_field, field, depth + 1)?;
                    if let Some(name) = field_name(schema, name) {
                        map.insert(Key::String(Arc::new(name)), field);
                    }
                }
                CelValue::Map(Map { map: Arc::new(map) })
            }
        })
    }

    /// A string, or what its format makes of it.
    fn text(&self, schema: Option<&Schema>, text: &str) -> CelValue {
        let format = match schema {
            Some(Schema {
                kind: Kind::String,
                checks,
                ..
            }) => checks.format.as_deref(),
            _ => None,
        };
        let converted = match format.unwrap_or_default().replace('-', "").as_str() {
            "datetime" => self.call(&TIMESTAMP, text),
            "date" => self.call(&TIMESTAMP, &format!("{text}T00:00:00Z")),
            "duration" => self.call(&DURATION, text),
            "byte" => self.call(&BYTES, text),
            _ => None,
        };
        converted.unwrap_or_else(|| CelValue::String(Arc::new(text.to_owned())))
    }

    /// CEL's own functions read texts as CEL's types.
    fn call(&self, function: &LazyLock<Option<Program>>, text: &str) -> Option<CelValue> {
        let mut context = self.context.new_inner_scope();
        context.add_variable_from_value("text", text.to_owned());
        function.as_ref()?.execute(&context).ok()
    }
}

static TIMESTAMP: LazyLock<Option<Program>> =
    LazyLock::new(|| Program::compile("timestamp(text)").ok());
static DURATION: LazyLock<Option<Program>> =
    LazyLock::new(|| Program::compile("duration(text)").ok());
static BYTES: LazyLock<Option<Program>> =
    LazyLock::new(|| Program::compile("base64.decode(text)").ok());

fn convert_number(schema: Option<&Schema>, number: &Number) -> CelValue {
    let float = number.as_f64().unwrap_or_default();
    match (schema.map(|schema| &schema.kind), number.as_i64()) {
        (Some(Kind::Number), _) | (_, None) if !is_integer_kind(schema, float) => {
            CelValue::Float(float)
        }
        (_, Some(integer)) => CelValue::Int(integer),
        (_, None) => CelValue::Int(float as i64),
    }
}

/// A whole float is an integer where the schema says so.
fn is_integer_kind(schema: Option<&Schema>, float: f64) -> bool {
    float.fract() == 0.0
        && matches!(
            schema,
            Some(Schema {
                kind: Kind::Integer | Kind::IntOrString,
                ..
            })
        )
}

/// The name by which expressions find a field. Entries of maps keep theirs; `None` if no expression
/// can write it.
fn field_name(schema: Option<&Schema>, name: &str) -> Option<String> {
    let is_field = match schema.map(|schema| &schema.kind) {
        Some(Kind::Object {
            properties,
            additional,
            ..
        }) => additional.is_none() || properties.contains_key(name),
        _ => true,
    };
    if is_field {
        escape(name)
    } else {
        Some(name.to_owned())
    }
}

/// Whether an expression can name a variable so.
pub(crate) fn is_identifier(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !(RESERVED.contains(&name) || name == "while")
}

fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) || name == "while" {
        return Some(format!("__{name}__"));
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    if name.starts_with(|first: char| first.is_ascii_digit()) || !name.bytes().all(is_part) {
        return None;
    }
    let escaped = name.replace("__", "__underscores__");
    let escaped = escaped.replace('.', "__dot__").replace('-', "__dash__");
    Some(escaped.replace('/', "__slash__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_in_kubernetes() {
        let table = [
            ("plain", Some("plain")),
            ("namespace", Some("__namespace__")),
            ("foo__bar", Some("foo__underscores__bar")),
            ("a.b-c/d", Some("a__dot__b__dash__c__slash__d")),
            ("0a", None),
            ("a b", None),
        ];
        for (name, expected) in table {
            assert_eq!(escape(name).as_deref(), expected);
        }
    }
}

//! How Go prints values. Clients read messages and encodings that kube-apiserver makes with Go's
//! formats, so they are reproduced to the letter where an object can hold the value.

use serde_json::Value;
use std::fmt::Write as _;

/// `%q` of a string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' ' => out.push(c),
            c if !c.is_control() && !c.is_whitespace() => out.push(c),
            c => push_escaped(&mut out, u32::from(c)),
        }
    }
    out.push('"');
    out
}

fn push_escaped(out: &mut String, code: u32) {
    // Writing to a string does not fail.
    let _ = match code {
        0..=0x7f => write!(out, "\\x{code:02x}"),
        0x80..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// `%v` of a `float64`: the shortest digits, with an exponent below 1e-4 and from 1e6 on.
pub(super) fn float(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        with_exponent(number)
    } else {
        format!("{number}")
    }
}

/// A `float64` in JSON, as json-iterator writes it.
pub(super) fn json_float(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        with_exponent(number)
    } else {
        format!("{number}")
    }
}

/// Go's exponents have a sign and two digits at least: `1.5e-07`.
fn with_exponent(number: f64) -> String {
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else {
        return text;
    };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A string in JSON, as json-iterator writes it; `html` also escapes what HTML may not hold.
pub(super) fn push_json_string(out: &mut String, text: &str, html: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 || (html && needs_html_escape(c)) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn needs_html_escape(c: char) -> bool {
    matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

/// A value in JSON with sorted keys, as json-iterator writes it where it is compatible with Go's
/// own library.
pub(super) fn push_json(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(is) => out.push_str(if *is { "true" } else { "false" }),
        Value::Number(number) => match number.as_i64() {
            Some(number) => {
                let _ = write!(out, "{number}");
            }
            None => out.push_str(&json_float(number.as_f64().unwrap_or_default())),
        },
        Value::String(text) => push_json_string(out, text, true),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_json(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_json_string(out, name, true);
                out.push(':');
                push_json(out, value);
            }
            out.push('}');
        }
    }
}

/// `%T` of a decoded JSON value.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `%v` of a decoded JSON value.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(name, value)| format!("{name}:{}", plain(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
        scalar => number_or_bool(scalar),
    }
}

/// `%#v` of a decoded JSON value.
pub(super) fn source(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(source).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(name, value)| format!("{}:{}", quoted(name), source(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        scalar => number_or_bool(scalar),
    }
}

fn number_or_bool(value: &Value) -> String {
    match value.as_i64() {
        Some(number) => number.to_string(),
        None => value.as_f64().map_or_else(|| value.to_string(), float),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_have_the_exponents_of_go() {
        for (number, plain, json) in [
            (0.0, "0", "0"),
            (1.0, "1", "1"),
            (8080.0, "8080", "8080"),
            (0.5, "0.5", "0.5"),
            (1e6, "1e+06", "1000000"),
            (1_234_567.0, "1.234567e+06", "1234567"),
            (1e21, "1e+21", "1e+21"),
            (0.000_01, "1e-05", "0.00001"),
            (1.5e-7, "1.5e-07", "1.5e-07"),
        ] {
            assert_eq!(float(number), plain);
            assert_eq!(json_float(number), json);
        }
    }

    #[test]
    fn strings_are_quoted_as_go_quotes_them() {
        assert_eq!(quoted("a\"b\\c\n\u{1}ä"), r#""a\"b\\c\n\x01ä""#);
        let mut json = String::new();
        push_json_string(&mut json, "<a>\u{1}\u{8}", true);
        assert_eq!(json, r#""\u003ca\u003e\u0001\u0008""#);
    }
}

//! How Go writes values: messages of a Kubernetes API show them so.

use std::fmt::Write;

use serde_json::Value;

/// `%q` of a string.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            ' '..='~' => out.push(character),
            '\0'..='\x7f' => push(&mut out, format_args!("\\x{:02x}", u32::from(character))),
            _ if is_printed(character) => out.push(character),
            '\u{80}'..='\u{ffff}' => {
                push(&mut out, format_args!("\\u{:04x}", u32::from(character)));
            }
            _ => push(&mut out, format_args!("\\U{:08x}", u32::from(character))),
        }
    }
    out.push('"');
    out
}

/// Whether Go prints a character as it is. Rust's own table decides; it escapes a combining mark
/// only at the start of a string, where Go does not, so the character is put behind another.
fn is_printed(character: char) -> bool {
    let text = String::from_iter(['x', character]);
    text.escape_debug().count() == 2
}

/// `%v` of a float.
pub(super) fn shortest(value: f64) -> String {
    let (digits, exponent) = match decimal(value) {
        Ok(parts) => parts,
        Err(name) => return name.to_owned(),
    };
    match exponent {
        -4..=5 => plain(value),
        _ => scientific(value, &digits, exponent, 2),
    }
}

/// The value as `encoding/json` writes it, keys sorted and fit for HTML.
pub(super) fn json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, &mut out);
    out
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) => push(out, format_args!("{value}")),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => push(out, format_args!("{integer}")),
            (None, Some(float)) => out.push_str(&json_float(float)),
            (None, None) => push(out, format_args!("{number}")),
        },
        Value::String(text) => write_json_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, field)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json_string(name, out);
                out.push(':');
                write_json(field, out);
            }
            out.push('}');
        }
    }
}

fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                push(out, format_args!("\\u{:04x}", u32::from(character)));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn json_float(value: f64) -> String {
    match decimal(value) {
        Ok((_, -6..21)) => plain(value),
        Ok((digits, exponent)) => scientific(value, &digits, exponent, 1),
        Err(_) => "null".to_owned(),
    }
}

/// The shortest digits that say the value, and the exponent of the first.
fn decimal(value: f64) -> Result<(String, i32), &'static str> {
    if value.is_nan() {
        return Err("NaN");
    }
    if value.is_infinite() {
        return Err(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    Ok((mantissa.replace('.', ""), exponent.parse().unwrap_or(0)))
}

fn plain(value: f64) -> String {
    format!("{value}")
}

fn scientific(value: f64, digits: &str, exponent: i32, least_places: usize) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let minus = if value < 0.0 { "-" } else { "" };
    let sign = if exponent < 0 { '-' } else { '+' };
    let places = exponent.unsigned_abs();
    format!("{minus}{first}{point}{rest}e{sign}{places:0least_places$}")
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_quoted_as_in_go() {
        let table = [
            ("plain", r#""plain""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            ("\0\x1f\x7f", r#""\x00\x1f\x7f""#),
            ("é日本", r#""é日本""#),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{200b}\u{feff}", r#""\u200b\ufeff""#),
            ("\u{e0001}", r#""\U000e0001""#),
            ("\u{a0}\u{2028}", r#""\u00a0\u2028""#),
        ];
        for (text, quoted) in table {
            assert_eq!(quote(text), quoted);
        }
    }

    #[test]
    fn floats_are_written_as_in_go() {
        let table = [
            (0.0, "0", "0"),
            (1.5, "1.5", "1.5"),
            (-0.25, "-0.25", "-0.25"),
            (100_000.0, "100000", "100000"),
            (1_000_000.0, "1e+06", "1000000"),
            (123_456_789.0, "1.23456789e+08", "123456789"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "0.00001"),
            (1e-7, "1e-07", "1e-7"),
            (1e21, "1e+21", "1e+21"),
            (-2.5e30, "-2.5e+30", "-2.5e+30"),
        ];
        for (value, shown, encoded) in table {
            assert_eq!(shortest(value), shown);
            assert_eq!(json_float(value), encoded);
        }
    }

    #[test]
    fn json_is_sorted_and_fit_for_html() {
        let value = json!({"b": [1, true, null], "a": "<&>\u{2028}\u{1}", "c": {"d": 1.0}});
        assert_eq!(
            json(&value),
            "{\"a\":\"\\u003c\\u0026\\u003e\\u2028\\u0001\",\"b\":[1,true,null],\"c\":{\"d\":1}}"
        );
    }
}

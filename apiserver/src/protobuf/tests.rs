#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::body::Document;
use crate::builtin;
use crate::upstream;
use proptest::prelude::*;
use serde_json::json;

const CONFIG_MAP: &str = "io.k8s.api.core.v1.ConfigMap";
const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

fn expected(type_name: &str, api_version: &str, kind: &str) -> Expected {
    Expected {
        type_name: type_name.into(),
        api_version: api_version.into(),
        kind: kind.into(),
    }
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field with bytes.
fn sent(number: usize, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len()), bytes.to_vec()].concat()
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let kind = [sent(1, api_version.as_bytes()), sent(2, kind.as_bytes())].concat();
    let envelope = [sent(1, &kind), sent(2, raw), sent(3, b""), sent(4, b"")];
    [MARK, &envelope.concat()].concat()
}

fn code(body: &[u8], expected: &Expected) -> u16 {
    decode(body, expected).unwrap_err().code().as_u16()
}

#[test]
fn the_table_has_all_kinds_and_all_that_they_refer_to() {
    let mut names = vec![upstream::SCALE.to_owned()];
    let meta = ["DeleteOptions", "PartialObjectMetadataList", "Status"];
    names.extend(meta.map(upstream::meta));
    for resource in builtin::resources() {
        names.push(resource.type_name(&resource.storage, &resource.list_kind));
    }
    for resource in builtin::reviews() {
        names.push(resource.type_name(&resource.storage, &resource.kind));
    }
    let mut at = 0;
    while let Some(name) = names.get(at) {
        let fields = table::message(name).unwrap_or_else(|| panic!("{name}"));
        assert!(fields.is_sorted_by(|one, other| one.number < other.number));
        let more = fields.iter().filter_map(|field| match &field.kind {
            table::Kind::Message(name) | table::Kind::Either(name) => Some(name.clone()),
            _ => None,
        });
        let more: Vec<_> = more.filter(|name| !names.contains(name)).collect();
        names.extend(more);
        at += 1;
    }
    assert!(names.len() > 100);
}

#[test]
fn an_object_is_read_as_its_json_would_be() {
    let expected = expected(CONFIG_MAP, "v1", "ConfigMap");
    let meta = [
        sent(1, b"c"),
        sent(3, b"n"),
        sent(8, b""),
        // As seconds and nanoseconds.
        sent(9, &[0x08, 0x80, 0xa3, 0x05, 0x10, 0x05]),
        // A number with a sign.
        vec![0x38],
        vec![0xff; 9],
        vec![1],
    ];
    let entry = [sent(1, b"k"), sent(2, "ü".as_bytes())].concat();
    let raw = [
        sent(1, &meta.concat()),
        sent(2, &entry),
        sent(3, &sent(1, b"empty")),
        sent(3, &[sent(1, b"bytes"), sent(2, &[0, 255])].concat()),
        // A message may come in two parts.
        sent(1, &sent(14, b"f")),
        vec![0x20, 0],
    ];
    let value = decode(&body("v1", "ConfigMap", &raw.concat()), &expected).unwrap();
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "c", "namespace": "n", "generation": -1, "finalizers": ["f"],
            "deletionTimestamp": "1970-01-02T00:00:00Z",
        },
        "data": {"k": "ü"}, "binaryData": {"empty": "", "bytes": "AP8="}, "immutable": false,
    });
    assert_eq!(value, object);
}

#[test]
fn fields_that_are_not_known_are_ignored() {
    let expected = expected(CONFIG_MAP, "v1", "ConfigMap");
    let unknown = [
        sent(1000, b"x"),
        [varint(1001 << 3), varint(7)].concat(),
        [varint(1002 << 3 | 1), vec![0; 8]].concat(),
        [varint(1003 << 3 | 5), vec![0; 4]].concat(),
    ];
    let value = decode(&body("v1", "ConfigMap", &unknown.concat()), &expected).unwrap();
    assert_eq!(
        value,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})
    );
}

#[test]
fn of_an_object_of_another_kind_only_that_is_said() {
    let expected = expected(CONFIG_MAP, "v1", "ConfigMap");
    let raw = sent(1, &sent(1, b"c"));
    for (api_version, kind) in [("v1", "Secret"), ("v2", "ConfigMap")] {
        let value = decode(&body(api_version, kind, &raw), &expected).unwrap();
        assert_eq!(value, json!({"apiVersion": api_version, "kind": kind}));
    }
    let value = decode(&body("", "", &raw), &expected).unwrap();
    assert_eq!(value["kind"], "ConfigMap");
    assert_eq!(value["metadata"]["name"], "c");
}

#[test]
fn kinds_of_others_are_not_taken_for_kinds_of_kubernetes() {
    let named = |api_version| json!({"apiVersion": api_version, "kind": "Role", "metadata": {}});
    assert!(encode(&named("rbac.authorization.k8s.io/v1")).is_some());
    for api_version in [
        "rbac.example.org/v1",
        "v1",
        "rbac.authorization.k8s.io/v9",
        "",
    ] {
        assert_eq!(encode(&named(api_version)), None);
    }
}

#[test]
fn what_breaks_the_format_is_refused() {
    let expected = expected(CONFIG_MAP, "v1", "ConfigMap");
    let whole = body("v1", "ConfigMap", &sent(1, &sent(1, b"c")));
    decode(&whole, &expected).unwrap();
    for length in 0..=MARK.len() {
        assert_eq!(code(&whole[..length], &expected), 400);
    }
    let broken: [&[u8]; 9] = [
        // A name that is a number, a number that is a text.
        &sent(1, &[0x08, 1]),
        &sent(1, &sent(7, b"1")),
        // A length beyond the end, and one beyond all ends.
        &[0x0a, 5, 1],
        &[
            0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
        ],
        &[
            0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
        // A group, a wire type that there is not, a field 0, half a number.
        &[0x0b, 0x0c],
        &[0x0f],
        &[0x02, 0],
        &[0x38, 0x80],
    ];
    for raw in broken {
        assert_eq!(
            code(&body("v1", "ConfigMap", raw), &expected),
            400,
            "{raw:?}"
        );
    }
    let times = [
        // After the year 9999, before the year 0.
        vec![0x08, 0x80, 0xff, 0xff, 0xff, 0xff, 0x3f],
        [vec![0x08, 0x80], vec![0xfe; 8], vec![1]].concat(),
    ];
    for time in times {
        let raw = sent(1, &sent(9, &time));
        assert_eq!(code(&body("v1", "ConfigMap", &raw), &expected), 400);
    }
}

#[test]
fn what_json_cannot_have_is_refused() {
    let expected = expected(SCHEMA, "", "");
    let double = |value: f64| [varint(9 << 3 | 1), value.to_le_bytes().to_vec()].concat();
    for value in [f64::NAN, f64::INFINITY] {
        assert_eq!(code(&body("", "", &double(value)), &expected), 400);
    }
    for (number, written) in [(5.0, json!(5)), (0.5, json!(0.5)), (1e300, json!(1e300))] {
        let value = decode(&body("", "", &double(number)), &expected).unwrap();
        assert_eq!(value["maximum"], written);
    }
    let default = |text: &[u8]| sent(8, &sent(1, text));
    assert_eq!(code(&body("", "", &default(b"{")), &expected), 400);
    let value = decode(&body("", "", &default(b"{\"a\":[1]}")), &expected).unwrap();
    assert_eq!(value["default"], json!({"a": [1]}));
}

#[test]
fn one_thing_or_another_is_in_json_what_it_is() {
    let expected = expected(SCHEMA, "", "");
    let schema = sent(5, b"string");
    let named = |either: &[u8]| sent(32, &[sent(1, b"n"), sent(2, either)].concat());
    for (raw, written) in [
        (
            sent(24, &sent(1, &schema)),
            json!({"items": {"type": "string"}}),
        ),
        (
            sent(24, &sent(2, &schema)),
            json!({"items": [{"type": "string"}]}),
        ),
        (sent(24, b""), json!({"items": null})),
        (sent(30, &[0x08, 1]), json!({"additionalProperties": true})),
        (sent(30, b""), json!({"additionalProperties": false})),
        (
            sent(30, &[vec![0x08, 1], sent(2, &schema)].concat()),
            json!({"additionalProperties": {"type": "string"}}),
        ),
        (named(&sent(2, b"p")), json!({"dependencies": {"n": ["p"]}})),
        (named(&sent(1, b"")), json!({"dependencies": {"n": {}}})),
    ] {
        let mut value = decode(&body("", "", &raw), &expected).unwrap();
        let fields = value.as_object_mut().unwrap();
        fields.retain(|name, _| !["apiVersion", "kind"].contains(&name.as_str()));
        assert_eq!(value, written);
    }
}

#[test]
fn what_nests_too_deep_is_refused_and_all_else_can_be_stored() {
    let expected = expected(SCHEMA, "", "");
    // `not`, `items` and `default`.
    for (number, inner) in [(28, None), (24, Some(1)), (24, Some(2))] {
        let mut raw = sent(8, &sent(1, &[vec![b'['; 20], vec![b']'; 20]].concat()));
        let mut deepest = None;
        for depth in 0..150 {
            match decode(&body("", "", &raw), &expected) {
                Ok(value) => deepest = Some((depth, value)),
                Err(error) => assert_eq!(error.code(), 400),
            }
            let schema = inner.map_or(raw.clone(), |inner| sent(inner, &raw));
            raw = sent(number, &schema);
        }
        let (depth, value) = deepest.unwrap();
        assert!((30..149).contains(&depth), "{depth}");
        Document::from_json(value.to_string().as_bytes()).unwrap();
    }
    let mut raw = Vec::new();
    for _ in 0..100_000 {
        raw = sent(28, &raw);
        if raw.len() > MAX_BODY {
            break;
        }
    }
    assert_eq!(code(&body("", "", &raw), &expected), 400);
}

#[test]
fn few_bytes_cannot_mean_many() {
    let name = "io.k8s.api.rbac.v1.ClusterRoleBinding";
    let expected = expected(name, "rbac.authorization.k8s.io/v1", "ClusterRoleBinding");
    let subjects = sent(2, b"").repeat(1_000_000);
    let body = body(&expected.api_version, &expected.kind, &subjects);
    assert!(body.len() < MAX_BODY);
    assert_eq!(code(&body, &expected), 413);
}

proptest! {
    #[test]
    fn nothing_panics(raw: Vec<u8>, marked: bool) {
        let mark = if marked { MARK } else { &[] };
        let all = [mark, &raw].concat();
        let kinds = [CONFIG_MAP, SCHEMA, "io.k8s.api.core.v1.Event"];
        for name in kinds {
            let expected = expected(name, "", "");
            let _ = decode(&all, &expected);
            let _ = decode(&body("", "", &raw), &expected);
        }
    }
}

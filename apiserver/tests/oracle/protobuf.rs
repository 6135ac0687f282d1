//! Objects in protobuf compared with upstream's own encoding of them.

use std::fmt::Write as _;
use std::path::Path;

use apiserver::builtin;
use apiserver::protobuf::{self, Expected};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::{SEED, program};

/// Objects that are made up of each kind.
const OBJECTS: u64 = 40;

/// Broken bodies that are made of each object.
const BROKEN: usize = 10;

/// Kinds that are never kept, by their groups.
const REVIEWS: [(&str, &str); 6] = [
    ("authentication", "SelfSubjectReview"),
    ("authentication", "TokenReview"),
    ("authorization", "LocalSubjectAccessReview"),
    ("authorization", "SelfSubjectAccessReview"),
    ("authorization", "SelfSubjectRulesReview"),
    ("authorization", "SubjectAccessReview"),
];

/// All kinds that are sent as protobuf.
fn kinds() -> Vec<Expected> {
    let mut kinds = Vec::new();
    for resource in builtin::resources() {
        for kind in [&resource.kind, &resource.list_kind] {
            kinds.push(Expected {
                type_name: resource.type_name(&resource.storage, kind),
                api_version: resource.api_version(&resource.storage),
                kind: kind.clone(),
            });
        }
    }
    let reviews = REVIEWS.map(|(group, kind)| Expected {
        type_name: format!("io.k8s.api.{group}.v1.{kind}"),
        api_version: format!("{group}.k8s.io/v1"),
        kind: kind.into(),
    });
    let others = [
        ("io.k8s.api.autoscaling.v1", "autoscaling/v1", "Scale"),
        (
            "io.k8s.apimachinery.pkg.apis.meta.v1",
            "v1",
            "DeleteOptions",
        ),
        ("io.k8s.apimachinery.pkg.apis.meta.v1", "v1", "Status"),
    ];
    let others = others.map(|(package, api_version, kind)| Expected {
        type_name: format!("{package}.{kind}"),
        api_version: api_version.into(),
        kind: kind.into(),
    });
    kinds.into_iter().chain(reviews).chain(others).collect()
}

/// The kind of each case, and what upstream answers.
fn made_up() -> Vec<(Expected, Value)> {
    let (mut asked, mut cases) = (Vec::new(), Vec::new());
    for kind in kinds() {
        for number in 0..OBJECTS {
            cases.push(json!({"encoded": {
                "apiVersion": kind.api_version, "kind": kind.kind, "seed": SEED + number,
            }}));
            asked.push(kind.clone());
        }
    }
    let answers = program::ask(&cases).into_iter();
    let answers = answers.map(|mut answer| match answer["encoded"].take() {
        Value::Null => panic!("{answer}"),
        forms => forms,
    });
    asked.into_iter().zip(answers).collect()
}

fn bytes(forms: &Value) -> Vec<u8> {
    let text = forms["protobuf"].as_str().expect("base64");
    STANDARD.decode(text).expect("base64")
}

#[test]
fn objects_in_protobuf_are_what_they_are_in_json() {
    let cases = made_up();
    for (kind, forms) in &cases {
        let found = protobuf::decode(&bytes(forms), kind);
        let found = found.unwrap_or_else(|error| panic!("{}: {error:?}\n{forms}", kind.kind));
        assert!(
            found == forms["object"],
            "{}:\n{found:#}\nupstream:\n{:#}",
            kind.kind,
            forms["object"]
        );
    }
    assert!(cases.len() > 1000, "only {} objects", cases.len());
    eprintln!("{} objects: as upstream", cases.len());
}

#[test]
fn objects_are_written_as_upstream_writes_them() {
    let (mut cases, mut bodies) = (Vec::new(), Vec::new());
    for (kind, forms) in made_up() {
        let body = protobuf::encode(&forms["object"]).expect("a kind that has a message");
        for (form, value) in [
            ("object", forms["object"].clone()),
            ("protobuf", STANDARD.encode(&body).into()),
        ] {
            cases.push(json!({"encoded": {
                "apiVersion": kind.api_version, "kind": kind.kind, form: value,
            }}));
        }
        bodies.push(body);
    }
    let answers = program::ask(&cases);
    for (body, answers) in bodies.iter().zip(answers.chunks(2)) {
        let (json, ours) = (&answers[0]["encoded"], &answers[1]["encoded"]);
        assert!(
            ours["object"] == json["object"],
            "{:#}\nis read as {ours:#}",
            json["object"]
        );
        // Nothing more or less is written, in the same order.
        assert_eq!(*body, bytes(ours), "{}", json["object"]);
    }
}

#[test]
fn what_is_broken_is_refused_or_read_as_upstream_reads_it() {
    let mut rng = StdRng::seed_from_u64(SEED);
    let (mut asked, mut cases) = (Vec::new(), Vec::new());
    for (kind, forms) in made_up() {
        let whole = bytes(&forms);
        for _ in 0..BROKEN {
            let body = broken(&mut rng, &whole);
            cases.push(json!({"encoded": {
                "apiVersion": kind.api_version, "kind": kind.kind, "protobuf": STANDARD.encode(&body),
            }}));
            asked.push((kind.clone(), body));
        }
    }
    let (mut same, mut refused, mut refused_here) = (0, 0, 0);
    for ((kind, body), answer) in asked.iter().zip(program::ask(&cases)) {
        let theirs = answer["encoded"].get("object");
        match (protobuf::decode(body, kind), theirs) {
            (Err(_), None) if answer.is_null() => refused_here += 1,
            (Ok(ours), Some(theirs)) => {
                let shown =
                    || format!("{}: {}\n{ours:#}\n{theirs:#}", kind.kind, hex::encode(body));
                // Of other kinds only that is read.
                let other = ours["kind"] != kind.kind || ours["apiVersion"] != kind.api_version;
                assert!(other || ours == *theirs, "{}", shown());
                same += 1;
            }
            (Err(_), None) => refused += 1,
            (Err(_), Some(_)) => refused_here += 1,
            (Ok(ours), None) => {
                let other = ours["kind"] != kind.kind || ours["apiVersion"] != kind.api_version;
                assert!(
                    other,
                    "{}: {}\n{ours:#}\n{answer}",
                    kind.kind,
                    hex::encode(body)
                );
            }
        }
    }
    eprintln!("{same} read, {refused} refused by both, {refused_here} refused by us alone");
    assert!(same > 1000 && refused > 1000);
    // Times and numbers that cannot be written.
    assert!(
        refused_here * 100 < cases.len(),
        "{refused_here} refused by us alone"
    );
}

/// A body with something changed.
fn broken(rng: &mut StdRng, whole: &[u8]) -> Vec<u8> {
    let mut body = whole.to_vec();
    let at = rng.random_range(4..body.len());
    match rng.random_range(0..5) {
        0 => body.truncate(at),
        1 => body[at] ^= 1 << rng.random_range(0..8),
        2 => body[at] = rng.random(),
        3 => drop(body.remove(at)),
        _ => {
            let from = rng.random_range(4..body.len());
            let piece = body[from..body.len().min(from + 8)].to_vec();
            body.splice(at..at, piece);
        }
    }
    body
}

/// With `LARIAT_UPDATE=1` in the environment the table is written anew.
#[test]
fn the_table_of_messages_is_what_the_types_of_upstream_say() {
    let answer = program::ask(&[json!({"messages": true})]).remove(0);
    let messages = answer["messages"].as_object().expect("messages");
    // A line for each field.
    let mut text = String::from("{");
    for (at, (name, fields)) in messages.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        write!(text, "{comma}\n  \"{name}\": [").expect("a string");
        let fields = fields.as_array().expect("a list");
        for (at, field) in fields.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(text, "{comma}\n    {field}").expect("a string");
        }
        text.push_str(if fields.is_empty() { "]" } else { "\n  ]" });
    }
    text.push_str("\n}\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/upstream/messages.json");
    if std::env::var_os("LARIAT_UPDATE").is_some() {
        std::fs::write(&path, &text).expect("the table can be written");
    }
    let found = std::fs::read_to_string(&path).expect("the table can be read");
    assert!(
        found == text,
        "messages.json is not what upstream's types say: run this test with LARIAT_UPDATE=1"
    );
}

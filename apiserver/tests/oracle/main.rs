//! Server-side apply, strategic merge patches and protobuf compared with kube-apiserver's own code.
//!
//! Writes from a fixed seed are played here and by a Go program (`../oracle`) that calls upstream's
//! field managers and `strategicpatch`. Both must give the same objects, managers and errors. Objects
//! in protobuf are made by that program.

#[path = "../harness/kubernetes.rs"]
mod kubernetes;
mod openapi;
mod play;
mod program;
mod protobuf;
mod published;
mod schemas;
mod strategic;
mod values;

use serde_json::{Value, json};

use apiserver::apply::FieldSet;
use play::{Player, differs};

const SEED: u64 = 20_260_401;
const SEQUENCES: u64 = 400;

#[test]
fn writes_have_the_results_of_upstream() {
    let mut cases = Vec::new();
    let mut ours = Vec::new();
    for number in 0..SEQUENCES {
        let (case, results) = Player::new(SEED + number).play();
        cases.push(case);
        ours.push(results);
    }
    let answers = program::ask(&cases);
    let (mut writes, mut conflicts, mut refused, mut wrong) = (0, 0, 0, 0);
    for (number, ((case, ours), answer)) in cases.iter().zip(&ours).zip(&answers).enumerate() {
        let none = Vec::new();
        let theirs = answer["results"].as_array().unwrap_or(&none);
        assert!(theirs.len() == ours.len(), "sequence {number}: {answer}");
        writes += ours.len();
        let with_code = |code| ours.iter().filter(|result| result["code"] == code).count();
        conflicts += with_code(409);
        refused += with_code(400) + with_code(500);
        let mut pairs = ours.iter().zip(theirs).enumerate();
        if let Some((step, (ours, theirs))) = pairs.find(|(_, (a, b))| differs(a, b)) {
            wrong += 1;
            if wrong <= 3 {
                let write = &case["sequence"]["writes"][step];
                eprintln!("sequence {number}, write {step}:\n{write:#}");
                eprintln!("ours: {ours:#}\ntheirs: {theirs:#}");
                if step > 0 {
                    eprintln!("before: {:#}", answer["results"][step - 1]);
                }
            }
        }
    }
    assert!(wrong == 0, "{wrong} of {SEQUENCES} sequences differ");
    assert!(writes >= 500, "only {writes} writes");
    assert!(conflicts >= 100, "only {conflicts} conflicts");
    assert!(refused >= 50, "only {refused} writes were refused");
    eprintln!("{writes} writes, {conflicts} conflicts, {refused} refused: as upstream");
}

#[test]
fn field_sets_are_encoded_as_upstream_encodes_them() {
    let texts = [
        r#"{}"#,
        r#"{".":{}}"#,
        r#"{"f:spec":{"f:a":{},".":{}}}"#,
        r#"{"i:2":{},"v:true":{},"v:\"a\"":{},"v:10":{},"v:9":{},"k:{\"b\":1,\"a\":\"x\"}":{"f:q":{}},"f:z":{}}"#,
        r#"{"v:1.5":{},"v:1e21":{},"v:1e-7":{},"v:1000000":{},"v:-3":{},"v:null":{},"v:0.1":{}}"#,
        r#"{"k:{\"a\":\"<&>\\u2028\"}":{},"v:\"<\"":{},"f:<\"\\\u0001ä":{}}"#,
        r#"{"f:a":null,"x:unknown":{"f:b":{}},"f:c":{"x:y":{}}}"#,
        r#"{"k:{}":{},"v:[1,2]":{},"v:{\"b\":1,\"a\":2}":{},"f:":{}}"#,
        r#"{"f:a":{"k:{\"name\":\"n\"}":{".":{},"f:b":{}},"k:{\"name\":1}":{}}}"#,
        r#"{"i:-1":{},"i:+5":{},"i:10":{}}"#,
        r#"[]"#,
        r#""text""#,
        r#"{"f:a":1}"#,
        r#"{"a":{}}"#,
        r#"{"":{}}"#,
        r#"{"i:x":{}}"#,
        r#"{"k:1":{}}"#,
        r#"{"v:tru":{}}"#,
    ];
    let cases: Vec<Value> = texts.iter().map(|text| json!({"fields": text})).collect();
    for (text, answer) in texts.iter().zip(program::ask(&cases)) {
        let value: Value = serde_json::from_str(text).expect("a JSON text");
        let ours = FieldSet::decode(&value).map(|set| set.to_json());
        match (&ours, answer["fields"].as_str()) {
            (Ok(ours), Some(theirs)) => assert_eq!(ours, theirs, "{text}"),
            (Err(_), None) => {}
            _ => panic!("{text}: {ours:?}, upstream {answer}"),
        }
    }
}

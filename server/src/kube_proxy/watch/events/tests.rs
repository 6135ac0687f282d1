//! Events of real watches, however they are cut.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// As much as anybody may hold.
const ENOUGH: usize = 1 << 20;

fn version(version: &str) -> Start {
    Start::After(version.to_owned())
}

/// Reads pieces with so much held back at most; what was passed on, and the reader.
fn read_all(events: &mut Events, pieces: &[&[u8]], most: usize) -> (Vec<u8>, usize) {
    let (mut passed, mut count) = (Vec::new(), 0);
    for piece in pieces {
        let read = events.read(&Bytes::copy_from_slice(piece), most);
        assert!(events.holds() <= most);
        passed.extend_from_slice(&read.bytes);
        count += read.events;
    }
    (passed, count)
}

fn json_event(kind: &str, object: &Value) -> Vec<u8> {
    format!("{}\n", json!({"type": kind, "object": object})).into_bytes()
}

/// A message of fields that hold bytes.
fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, bytes) in fields {
        for mut value in [number << 3 | 2, bytes.len() as u64] {
            while value > 0x7f {
                message.push(value as u8 | 0x80);
                value >>= 7;
            }
            message.push(value as u8);
        }
        message.extend_from_slice(bytes);
    }
    message
}

/// A frame as kube-apiserver sends it: `ConfigMap` has further fields behind its metadata.
fn frame(kind: &str, version: &str, annotations: &[(&str, &str)]) -> Vec<u8> {
    let annotations: Vec<_> = annotations
        .iter()
        .map(|(key, value)| message(&[(1, key.as_bytes()), (2, value.as_bytes())]))
        .collect();
    let mut fields: Vec<(u64, &[u8])> = vec![
        (1, b"name"),
        (2, b""),
        (3, b"default"),
        (5, b"e3c5"),
        (6, version.as_bytes()),
    ];
    fields.extend(annotations.iter().map(|one| (12, one.as_slice())));
    let mut metadata = message(&fields);
    // `generation`, a number.
    metadata.extend([7 << 3, 0x96, 0x01]);
    let object = message(&[(1, &metadata), (2, &message(&[(1, b"key"), (2, b"value")]))]);
    wrapped(kind, &object, b"")
}

fn wrapped(kind: &str, object: &[u8], content_type: &[u8]) -> Vec<u8> {
    let named = message(&[(1, b"v1"), (2, b"ConfigMap")]);
    let unknown = message(&[(1, &named), (2, object), (3, b""), (4, content_type)]);
    let raw = message(&[(1, &[MAGIC, &unknown[..]].concat())]);
    let event = message(&[(1, kind.as_bytes()), (2, &raw)]);
    let length = u32::try_from(event.len()).unwrap();
    [&length.to_be_bytes()[..], &event].concat()
}

const MAGIC: &[u8] = b"k8s\0";

#[test]
fn what_is_read_is_known_by_its_media_type() {
    for (media_type, expected) in [
        ("application/json", Some(Format::Json)),
        ("Application/JSON; charset=utf-8", Some(Format::Json)),
        ("application/json;stream=watch", Some(Format::Json)),
        (
            "application/vnd.kubernetes.protobuf;stream=watch",
            Some(Format::Protobuf),
        ),
        (
            "application/vnd.kubernetes.protobuf; stream=watch",
            Some(Format::Protobuf),
        ),
        ("application/vnd.kubernetes.protobuf", None),
        ("application/cbor-seq", None),
        ("application/yaml", None),
        ("text/plain", None),
        ("", None),
    ] {
        assert_eq!(Format::of(media_type), expected, "{media_type}");
    }
}

/// As kube-apiserver 1.35 sends them.
#[test]
fn the_version_of_every_kind_of_event_is_known() {
    let marked = json!({"annotations": {"a": "b", MARK: "true"}, "resourceVersion": "9"});
    let table = |metadata: &Value| {
        json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "9"},
            "columnDefinitions": [{"name": "Name", "type": "string", "priority": 0}],
            "rows": [{"cells": ["a \"}{\" \\", 1, null], "object": {"kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1", "metadata": metadata}}]})
    };
    let plain = json!({"name": "a", "resourceVersion": "9"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": plain, "spec": {"rows": [{}], "metadata": 1}});
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 1 (9)", "reason": "Expired", "code": 410});
    let bookmark =
        |metadata: &Value| json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata});
    let unread = |value: Value| json!({"metadata": {"resourceVersion": value}});
    let long = "9".repeat(LONGEST_VERSION + 1);
    let (known, unknown) = (Next::After("9"), Next::Never);
    for (start, event, expected) in [
        (version("7"), json_event("ADDED", &pod), known),
        (version("7"), json_event("MODIFIED", &pod), known),
        (version("7"), json_event("DELETED", &pod), known),
        (
            version("7"),
            json_event("BOOKMARK", &bookmark(&plain)),
            known,
        ),
        (version("7"), json_event("MODIFIED", &table(&plain)), known),
        (version("7"), json_event("ERROR", &status), unknown),
        (version("7"), json_event("OTHER", &pod), unknown),
        (
            version("7"),
            json_event("ADDED", &json!({"metadata": {}})),
            unknown,
        ),
        (version("7"), json_event("ADDED", &json!({})), unknown),
        (
            version("7"),
            json_event("ADDED", &unread(json!(""))),
            unknown,
        ),
        (
            version("7"),
            json_event("ADDED", &unread(json!(9))),
            unknown,
        ),
        (
            version("7"),
            json_event("ADDED", &unread(json!(long))),
            unknown,
        ),
        (
            version("7"),
            b"{\"type\":\"ADDED\",\"object\":]}".to_vec(),
            unknown,
        ),
        (version("7"), b"{}".to_vec(), unknown),
        (version("7"), frame("ADDED", "9", &[]), known),
        (version("7"), frame("DELETED", "9", &[("a", "b")]), known),
        (version("7"), frame("BOOKMARK", "9", &[]), known),
        (version("7"), frame("ERROR", "", &[]), unknown),
        (version("7"), frame("ADDED", "", &[]), unknown),
        (version("7"), frame("OTHER", "9", &[]), unknown),
        (
            version("7"),
            wrapped("ADDED", b"{}", b"application/json"),
            unknown,
        ),
        (version("7"), wrapped("ADDED", b"\x0a\xff", b""), unknown),
        (version("7"), vec![0; 4], unknown),
        // The state comes in no order, so that none of its versions says what was told.
        (Start::State, json_event("ADDED", &pod), unknown),
        (Start::State, json_event("MODIFIED", &pod), known),
        (Start::State, json_event("DELETED", &table(&plain)), known),
        (
            Start::State,
            json_event("BOOKMARK", &bookmark(&plain)),
            known,
        ),
        (Start::State, frame("ADDED", "9", &[]), unknown),
        (Start::State, frame("BOOKMARK", "9", &[]), known),
        (Start::StateWithMark, json_event("ADDED", &pod), unknown),
        (Start::StateWithMark, json_event("MODIFIED", &pod), unknown),
        (
            Start::StateWithMark,
            json_event("BOOKMARK", &bookmark(&plain)),
            unknown,
        ),
        (
            Start::StateWithMark,
            json_event("BOOKMARK", &bookmark(&marked)),
            known,
        ),
        (
            Start::StateWithMark,
            json_event("ADDED", &bookmark(&marked)),
            unknown,
        ),
        (
            Start::StateWithMark,
            json_event("BOOKMARK", &table(&marked)),
            known,
        ),
        (
            Start::StateWithMark,
            json_event("BOOKMARK", &table(&plain)),
            unknown,
        ),
        (
            Start::StateWithMark,
            frame("BOOKMARK", "9", &[("a", "b"), (MARK, "true")]),
            known,
        ),
        (
            Start::StateWithMark,
            frame("BOOKMARK", "9", &[(MARK, "false")]),
            unknown,
        ),
        (
            Start::StateWithMark,
            frame("ADDED", "9", &[(MARK, "true")]),
            unknown,
        ),
    ] {
        let format = if event[0] == b'{' {
            Format::Json
        } else {
            Format::Protobuf
        };
        let mut events = Events::new(format, start.clone());
        let said = String::from_utf8_lossy(&event).into_owned();
        let at_first = match &start {
            Start::After(version) => Next::After(version),
            Start::State | Start::StateWithMark => Next::AsItWas,
        };
        assert_eq!(events.next(), at_first, "{said}");
        let read = read_all(&mut events, &[&event], ENOUGH);
        assert_eq!(read, (event, 1), "{said}");
        assert_eq!(events.next(), expected, "{start:?} {said}");
    }
}

#[test]
fn after_the_state_every_addition_counts() {
    let mut events = Events::new(Format::Json, Start::StateWithMark);
    let mark = json!({"metadata": {"annotations": {MARK: "true"}, "resourceVersion": "5"}});
    let of = |version: &str| json!({"metadata": {"resourceVersion": version}});
    for (kind, object, expected) in [
        ("ADDED", of("3"), Next::Never),
        ("BOOKMARK", mark, Next::After("5")),
        ("ADDED", of("6"), Next::After("6")),
        // One without a version is behind all that is known; the next one says where it was.
        ("MODIFIED", json!({}), Next::Never),
        ("BOOKMARK", of("8"), Next::After("8")),
        ("ERROR", json!({"code": 410}), Next::Never),
        ("ADDED", of("9"), Next::Never),
    ] {
        events.read(&json_event(kind, &object).into(), ENOUGH);
        assert_eq!(events.next(), expected);
    }
}

#[test]
fn half_an_event_is_held_back_and_dropped_when_the_watch_begins_again() {
    let mut events = Events::new(Format::Json, version("7"));
    let first = json_event("ADDED", &json!({"metadata": {"resourceVersion": "8"}}));
    let second = json_event("ADDED", &json!({"metadata": {"resourceVersion": "9"}}));
    let (half, rest) = second.split_at(30);
    let read = events.read(&[&first, half].concat().into(), ENOUGH);
    assert_eq!((&read.bytes[..], read.events), (&first[..], 1));
    assert_eq!((events.next(), events.holds()), (Next::After("8"), 30));
    assert_eq!(events.begin_again(), b"");
    assert_eq!(
        read_all(&mut events, &[&second], ENOUGH),
        (second.clone(), 1)
    );
    // In order it ends with what has come.
    events.read(&half.to_vec().into(), ENOUGH);
    assert_eq!(events.rest(), half);
    assert_eq!(events.holds(), 0);
    assert!(!rest.is_empty());
}

/// There are clients that read lines, and servers that end them late.
#[test]
fn the_end_of_a_line_is_never_held_back_and_never_missing() {
    let mut events = Events::new(Format::Json, version("7"));
    let event = json_event("ADDED", &json!({"metadata": {"resourceVersion": "8"}}));
    let (object, _) = event.split_at(event.len() - 1);
    assert_eq!(events.read(&object.to_vec().into(), ENOUGH).bytes, object);
    assert_eq!(events.begin_again(), b"\n");
    assert_eq!(events.begin_again(), b"");
    assert_eq!(events.read(&object.to_vec().into(), ENOUGH).bytes, object);
    assert_eq!(
        &events.read(&Bytes::from_static(b"\n"), ENOUGH).bytes[..],
        b"\n"
    );
    assert_eq!(events.begin_again(), b"");
    let mut frames = Events::new(Format::Protobuf, version("7"));
    frames.read(&frame("ADDED", "8", &[]).into(), ENOUGH);
    assert_eq!(frames.begin_again(), b"");
}

#[test]
fn a_long_event_is_passed_on_as_it_comes_and_the_next_one_is_read_again() {
    let long = json!({"metadata": {"resourceVersion": "8"}, "data": {"key": "x".repeat(1000)}});
    for (long, short, format) in [
        (
            json_event("ADDED", &long),
            json_event("ADDED", &json!({"metadata": {"resourceVersion": "9"}})),
            Format::Json,
        ),
        (
            frame("ADDED", "8", &[("key", &"x".repeat(1000))]),
            frame("ADDED", "9", &[]),
            Format::Protobuf,
        ),
    ] {
        let mut events = Events::new(format, version("7"));
        let (pieces, rest) = long.split_at(400);
        let (small, large) = pieces.split_at(100);
        assert_eq!(read_all(&mut events, &[small], 300), (vec![], 0));
        assert_eq!(events.next(), Next::After("7"));
        assert_eq!(read_all(&mut events, &[large], 300), (pieces.to_vec(), 0));
        assert_eq!(events.next(), Next::Never, "the client has half of it");
        assert_eq!(read_all(&mut events, &[rest], 300), (rest.to_vec(), 1));
        assert_eq!(events.next(), Next::Never, "nobody knows which it was");
        assert_eq!(read_all(&mut events, &[&short], 300), (short.clone(), 1));
        assert_eq!(events.next(), Next::After("9"));
    }
}

#[test]
fn what_is_no_event_goes_through_and_is_never_asked_for_again() {
    let mut events = Events::new(Format::Json, version("7"));
    let event = json_event("ADDED", &json!({"metadata": {"resourceVersion": "8"}}));
    let pieces: [&[u8]; 4] = [&event, b"{\"a", b"\": 1} oh", &event];
    let (passed, count) = read_all(&mut events, &pieces, ENOUGH);
    assert_eq!((passed, count), (pieces.concat(), 2));
    assert_eq!((events.next(), events.holds()), (Next::Never, 0));
    assert_eq!(events.begin_again(), b"");
}

#[test]
fn frames_of_the_management_api_are_read_as_well() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "a", "annotations": {MARK: "true"}, "resourceVersion": "9"}, "data": {"a": "b"}});
    let frame = apiserver::protobuf::watch_frame("BOOKMARK", &object).unwrap();
    let mut events = Events::new(Format::Protobuf, Start::StateWithMark);
    assert_eq!(read_all(&mut events, &[&frame], ENOUGH), (frame.clone(), 1));
    assert_eq!(events.next(), Next::After("9"));
}

fn json_watch() -> impl Strategy<Value = (Format, Vec<Vec<u8>>)> {
    let text = "[a-z{}\\[\\]\"\\\\\u{e9} \n]{0,12}";
    let space = "[ \t\r\n]{0,2}";
    let one = (text, any::<u32>(), space).prop_map(|(text, version, space)| {
        let object =
            json!({"data": {&text: [text]}, "metadata": {"resourceVersion": version.to_string()}});
        let event = json!({"object": object, "type": "MODIFIED"});
        format!("{event}{space}").into_bytes()
    });
    prop::collection::vec(one, 1..8).prop_map(|events| (Format::Json, events))
}

fn protobuf_watch() -> impl Strategy<Value = (Format, Vec<Vec<u8>>)> {
    let one = (any::<u32>(), "[a-z]{0,200}")
        .prop_map(|(version, text)| frame("MODIFIED", &version.to_string(), &[("key", &text)]));
    prop::collection::vec(one, 1..8).prop_map(|events| (Format::Protobuf, events))
}

/// Cuts at these places, of which some may be the same.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #[test]
    fn however_it_is_cut_the_same_comes_out(
        (format, events) in prop_oneof![json_watch(), protobuf_watch()],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let bytes = events.concat();
        let mut reader = Events::new(format, Start::State);
        let (mut passed, mut count) = (Vec::new(), 0);
        for piece in pieces(&bytes, &cuts) {
            let read = reader.read(&Bytes::copy_from_slice(piece), ENOUGH);
            passed.extend_from_slice(&read.bytes);
            count += read.events;
            // What was passed on ends behind the last event that has wholly come.
            let mut told = 0;
            let mut length = 0;
            for event in &events {
                let end = length + event.trim_ascii_end().len();
                if format == Format::Protobuf && length + event.len() > passed.len() || end > passed.len() {
                    break;
                }
                told += 1;
                length += event.len();
            }
            prop_assert_eq!(told, count);
            prop_assert!(passed.len() + reader.holds() <= bytes.len());
            let next = reader.next();
            match count {
                0 => prop_assert_eq!(next, Next::AsItWas),
                _ => {
                    let mut alone = Events::new(format, Start::State);
                    alone.read(&events[count - 1].clone().into(), ENOUGH);
                    prop_assert_eq!(next, alone.next());
                    prop_assert!(matches!(next, Next::After(_)));
                }
            }
        }
        prop_assert_eq!(passed, bytes);
        prop_assert_eq!((count, reader.holds()), (events.len(), 0));
    }

    #[test]
    fn with_little_room_all_the_same_bytes_come_out(
        (format, events) in prop_oneof![json_watch(), protobuf_watch()],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        most in 0_usize..200,
    ) {
        let bytes = events.concat();
        let mut reader = Events::new(format, version("7"));
        let (passed, count) = read_all(&mut reader, &pieces(&bytes, &cuts), most);
        prop_assert_eq!((passed, count), (bytes, events.len()));
    }

    #[test]
    fn whatever_comes_goes_out_and_nothing_panics(
        bytes: Vec<u8>,
        looks in "([{}\\[\\]\":, \\\\a]|\"type\":\"ADDED\"|\"object\":|\"metadata\":){0,30}",
        is_json: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        most in 0_usize..50,
    ) {
        let (format, bytes) = match is_json {
            true => (Format::Json, looks.into_bytes()),
            false => (Format::Protobuf, bytes),
        };
        let mut reader = Events::new(format, Start::StateWithMark);
        let (mut passed, _) = read_all(&mut reader, &pieces(&bytes, &cuts), most);
        passed.extend_from_slice(&reader.rest());
        prop_assert_eq!(passed, bytes);
    }

    #[test]
    fn a_broken_frame_is_no_fact(mut frame in Just(frame("BOOKMARK", "9", &[(MARK, "true")])), at: prop::sample::Index, byte: u8) {
        let at = 4 + at.index(frame.len() - 4);
        frame[at] = byte;
        let _ = protobuf::facts(&frame);
        let _ = protobuf::facts(&frame[..at]);
    }
}

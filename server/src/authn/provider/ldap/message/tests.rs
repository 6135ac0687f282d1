use proptest::prelude::*;

use super::super::ber;
use super::*;

/// An element with a length of four bytes, as Active Directory writes them.
pub(in super::super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], &length[..], content].concat()
}

pub(in super::super) fn message(id: u8, body: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[&element(INTEGER, &[id]), body].concat())
}

pub(in super::super) fn outcome(tag: u8, code: u8, text: &str) -> Vec<u8> {
    let parts = [
        element(ENUMERATED, &[code]),
        element(OCTET_STRING, b""),
        element(OCTET_STRING, text.as_bytes()),
    ];
    element(tag, &parts.concat())
}

pub(in super::super) fn entry(dn: &str, attributes: &[(&str, &[&[u8]])]) -> Vec<u8> {
    let attributes: Vec<_> = (attributes.iter())
        .map(|(name, values)| {
            let values: Vec<_> = (values.iter())
                .map(|value| element(OCTET_STRING, value))
                .collect();
            let name = element(OCTET_STRING, name.as_bytes());
            element(SEQUENCE, &[name, element(SET, &values.concat())].concat())
        })
        .collect();
    let dn = element(OCTET_STRING, dn.as_bytes());
    let list = element(SEQUENCE, &attributes.concat());
    element(SEARCH_RESULT_ENTRY, &[dn, list].concat())
}

#[test]
fn a_bind_is_written_as_the_rfc_says() {
    let bind = Request::Bind {
        name: "cn=a",
        password: "pw",
    };
    // Message 7, [APPLICATION 0]: version 3, the name, [0] the password.
    let expected = b"\x30\x12\x02\x01\x07\x60\x0d\x02\x01\x03\x04\x04cn=a\x80\x02pw";
    assert_eq!(bind.encode(7, &[])[..], expected[..]);
    let asked = bind.encode(7, &[super::super::password_policy::request()]);
    assert!(asked.ends_with(b"\xa0\x1d\x30\x1b\x04\x191.3.6.1.4.1.42.2.27.8.5.1"));
}

#[test]
fn a_search_is_written_as_the_rfc_says() {
    let search = Request::Search {
        base: "dc=x",
        scope: Scope::Subtree,
        filter: &Filter::equal("uid", "*"),
        attributes: &["cn"],
    };
    let written = search.encode(1, &[]);
    let expected = [
        b"\x30\x2a\x02\x01\x01\x63\x25\x04\x04dc=x\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x00",
        &b"\x01\x01\x00\xa3\x08\x04\x03uid\x04\x01*\x30\x04\x04\x02cn"[..],
    ]
    .concat();
    assert_eq!(written[..], expected, "{written:02x?}");
}

#[test]
fn answers_are_understood() {
    let bytes = message(
        3,
        &entry("uid=ann", &[("cn", &[b"Ann", b"A"]), ("empty", &[])]),
    );
    let answer = Answer::decode(&bytes).unwrap();
    let Body::Entry(entry) = answer.body else {
        panic!("{answer:?}");
    };
    assert_eq!((answer.id, entry.dn.as_str()), (3, "uid=ann"));
    assert_eq!(entry.text("CN"), Some("Ann"));
    assert_eq!(entry.values("cn").len(), 2);
    assert_eq!(entry.text("empty"), None);

    // Text of a refusal need not be UTF-8, and Samba ends it with NUL.
    let mut refused = message(1, &outcome(BIND_RESPONSE, 49, "no\0"));
    let answer = Answer::decode(&refused).unwrap();
    let no = Outcome {
        code: 49,
        text: "no".into(),
    };
    assert_eq!(answer.body, Body::Bind(no));
    *refused.last_mut().unwrap() = 0xff;
    assert!(Answer::decode(&refused).is_ok());

    let control = Control::page(500, b"next");
    assert_eq!(control.cookie(), Ok(&b"next"[..]));
    let encoded = bytes_of(control.encode());
    let controls = element(CONTROLS, &encoded);
    let done = [outcome(SEARCH_RESULT_DONE, 0, ""), controls].concat();
    let answer = Answer::decode(&message(9, &done)).unwrap();
    assert_eq!(answer.controls, [control]);
}

#[test]
fn a_notice_of_disconnection_may_have_any_form() {
    // Active Directory puts the name of the notice behind the response.
    let notice = [
        outcome(EXTENDED_RESPONSE, 52, ""),
        element(0x8a, b"1.3.6.1.4.1.1466.20036"),
    ];
    let answer = Answer::decode(&message(0, &notice.concat())).unwrap();
    assert_eq!(answer.id, 0);
}

#[test]
fn depth_is_of_no_use_to_an_attacker() {
    let mut deep = Vec::new();
    for _ in 0..5_000 {
        deep = element(SEQUENCE, &deep);
    }
    for body in [&deep, &element(SEARCH_RESULT_ENTRY, &deep)] {
        assert!(Answer::decode(&message(1, body)).is_err());
    }
}

fn bytes_of(tag: Tag) -> Vec<u8> {
    bytes(tag).to_vec()
}

fn answers() -> impl Strategy<Value = Vec<u8>> {
    let dn = "uid=ann,dc=example";
    let controls = element(CONTROLS, &bytes_of(Control::page(5, b"next").encode()));
    let with_controls = [outcome(SEARCH_RESULT_DONE, 0, ""), controls].concat();
    prop::sample::select(vec![
        message(1, &outcome(BIND_RESPONSE, 49, "data 52e")),
        message(1, &outcome(EXTENDED_RESPONSE, 0, "")),
        message(
            1,
            &entry(dn, &[("cn", &[b"Ann"]), ("objectSid", &[&[1, 0, 0, 0]])]),
        ),
        message(1, &with_controls),
    ])
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_none(bytes in any::<Vec<u8>>()) {
        let _ = Answer::decode(&bytes);
        let _ = ber::length(&bytes);
    }

    #[test]
    fn a_spoilt_answer_is_an_answer_or_none(
        answer in answers(),
        spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut answer = answer;
        for (place, byte) in spoilt {
            let place = place.index(answer.len());
            answer[place] = byte;
        }
        if let Ok(answer) = Answer::decode(&answer) {
            let _ = super::super::password_policy::verdict(&answer.controls);
            for control in &answer.controls {
                let _ = control.cookie();
            }
        }
        let cut = cut.index(answer.len());
        let _ = Answer::decode(&answer[..cut]);
    }
}

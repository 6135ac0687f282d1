//! Any bytes are a preamble or a refusal that survives another trip over the wire, or an error.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use tunnel_proto::stream::{
    Class, MAX_BODY, OpenV1, PREAMBLE_HEADER, REFUSAL_HEADER, Refusal, Reply, StreamError, Target,
    decode_open, decode_open_header, decode_refusal, decode_refusal_header, decode_status,
    encode_open, encode_reply,
};

/// Longest address of a dial that the reader's limit leaves room for (SPEC.md, Preamble).
const MAX_DIAL: usize = MAX_BODY - 36;

fuzz_target!(|input: &[u8]| {
    read_preamble(input);
    read_answer(input);
    write_preamble(input);
});

fn read_preamble(input: &[u8]) {
    let _ = decode_open(input);
    let Some((header, rest)) = input.split_first_chunk::<PREAMBLE_HEADER>() else {
        return;
    };
    let len = match decode_open_header(*header) {
        Ok(len) => len,
        Err(error) => {
            assert_ne!(error, StreamError::BadBody);
            return;
        }
    };
    assert!(len <= MAX_BODY);
    let body = &rest[..len.min(rest.len())];
    if let Ok(open) = decode_open(body) {
        let behind = [body, &[0]].concat();
        assert!(decode_open(&behind).is_err(), "bytes behind the body");
        let again = encode_open(&open).expect("it was short enough before");
        assert!(
            again.len() <= PREAMBLE_HEADER + body.len(),
            "ours is the shortest spelling"
        );
        check_preamble(&open, &again);
    }
}

fn check_preamble(open: &OpenV1, bytes: &[u8]) {
    let (header, body) = bytes.split_first_chunk().expect("a header");
    assert_eq!(decode_open_header(*header), Ok(body.len()));
    assert_eq!(decode_open(body).as_ref(), Ok(open));
}

fn read_answer(input: &[u8]) {
    let Some((&status, rest)) = input.split_first() else {
        return;
    };
    let Some(reason) = decode_status(status) else {
        assert_eq!(status, 0);
        return;
    };
    let _ = decode_refusal(reason, rest);
    let Some((header, rest)) = rest.split_first_chunk::<REFUSAL_HEADER>() else {
        return;
    };
    let Ok(len) = decode_refusal_header(*header) else {
        return;
    };
    assert!(len <= MAX_BODY);
    let body = &rest[..len.min(rest.len())];
    if let Ok(refusal) = decode_refusal(reason, body) {
        let behind = [body, &[0]].concat();
        assert!(
            decode_refusal(reason, &behind).is_err(),
            "bytes behind the body"
        );
        let again = encode_reply(&Reply::Refused(refusal.clone()));
        assert_eq!(again[0], status);
        let (header, body) = again[1..].split_first_chunk().expect("a header");
        assert_eq!(decode_refusal_header(*header), Ok(body.len()));
        let Refusal { message, .. } = decode_refusal(reason, body).expect("our own refusal");
        assert!(refusal.message.starts_with(&message));
        assert!(
            message == refusal.message || message.len() > MAX_BODY - 32,
            "cut only if long"
        );
    }
}

/// A preamble made up from the input: bytes for the numbers first, then the address.
fn write_preamble(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let Ok(open) = any_open(&mut input) else {
        return;
    };
    match encode_open(&open) {
        Ok(bytes) if dial_len(&open) <= MAX_DIAL => check_preamble(&open, &bytes),
        Ok(_) => {}
        Err(error) => {
            assert!(matches!(error, StreamError::TooLong(_)));
            assert!(dial_len(&open) > MAX_DIAL);
        }
    }
}

fn dial_len(open: &OpenV1) -> usize {
    match &open.target {
        Target::Dial(address) => address.len(),
        _ => 0,
    }
}

fn any_open(input: &mut Unstructured<'_>) -> arbitrary::Result<OpenV1> {
    let class = [
        Class::Control,
        Class::Interactive,
        Class::Watch,
        Class::Bulk,
    ];
    let class = *input.choose(&class)?;
    let trace = input.arbitrary()?;
    let deadline_ms = input.arbitrary()?;
    let target = match input.int_in_range(0..=4)? {
        0 => Target::KubeApi,
        1 => Target::AgentApi,
        2 => Target::ServerApi,
        3 => Target::ServerListener,
        _ => {
            let times = usize::from(input.arbitrary::<u16>()?);
            let address = String::from_utf8_lossy(input.bytes(input.len())?).into_owned();
            let times = times.min(2 * MAX_BODY / address.len().max(1));
            Target::Dial(address.repeat(times))
        }
    };
    Ok(OpenV1 {
        target,
        class,
        trace,
        deadline_ms,
    })
}

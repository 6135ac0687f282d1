//! Any message is a hello or an answer that survives another trip over the wire, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use tunnel_proto::hello::{
    Answer, HelloError, MAX_HELLO, decode_answer, decode_hello, encode_hello, encode_rejection,
    encode_welcome, payload_bytes,
};

fuzz_target!(|input: &[u8]| {
    match decode_hello(input) {
        Ok(hello) => {
            assert!(holds(input, &hello.bytes), "signed bytes are the sender's");
            let same = encode_hello(&hello.bytes, &hello.signature).expect("it was JSON before");
            if let Some(again) = within_limit(&same, decode_hello(&same)) {
                assert_eq!(again.payload, hello.payload);
                assert_eq!(again.bytes, hello.bytes);
                assert_eq!(again.signature, hello.signature);
            }
            let ours = payload_bytes(&hello.payload);
            let ours = encode_hello(&ours, &[]).unwrap_or_default();
            if let Some(again) = within_limit(&ours, decode_hello(&ours)) {
                assert_eq!(again.payload, hello.payload);
            }
        }
        Err(error) => check_error(input, &error),
    }
    match decode_answer(input) {
        Ok(Answer::Welcome(welcome)) => {
            assert!(
                holds(input, &welcome.bytes),
                "signed bytes are the sender's"
            );
            let heartbeat = welcome.payload.heartbeat();
            assert!((Duration::from_secs(1)..=Duration::from_secs(300)).contains(&heartbeat));
            let same = encode_welcome(&welcome.bytes, &welcome.signature).expect("it was JSON");
            if let Some(again) = within_limit(&same, decode_answer(&same)) {
                let Answer::Welcome(again) = again else {
                    panic!("a welcome became a rejection");
                };
                assert_eq!(again.payload, welcome.payload);
                assert_eq!(again.bytes, welcome.bytes);
            }
        }
        Ok(Answer::Rejected(rejection)) => {
            let same = encode_rejection(&rejection);
            if let Some(again) = within_limit(&same, decode_answer(&same)) {
                let Answer::Rejected(again) = again else {
                    panic!("a rejection became a welcome");
                };
                assert_eq!(again, rejection);
            }
        }
        Err(error) => check_error(input, &error),
    }
});

/// What came back, unless our spelling of the message is over the limit (a field that the sender
/// left to its default takes room).
fn within_limit<T>(message: &[u8], decoded: Result<T, HelloError>) -> Option<T> {
    match decoded {
        Ok(value) => Some(value),
        Err(error) => {
            let too_long = message.is_empty() || message.len() > MAX_HELLO;
            assert!(too_long, "own message is refused: {error}");
            None
        }
    }
}

fn check_error(input: &[u8], error: &HelloError) {
    let too_long = matches!(error, HelloError::TooLong(_));
    assert_eq!(too_long, input.len() > MAX_HELLO);
}

fn holds(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}

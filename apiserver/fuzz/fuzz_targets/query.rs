//! Any query has options, or is refused; a continue token that is read is written the same.

#![no_main]

use apiserver::request::{Continue, ListOptions, WriteOptions, Writing};
use libfuzzer_sys::fuzz_target;

const WRITES: [Writing; 5] = [
    Writing::Create,
    Writing::Update,
    Writing::Patch,
    Writing::Apply,
    Writing::Delete,
];

fuzz_target!(|input: &str| {
    if let Ok(options) = ListOptions::parse(input)
        && let Some(token) = options.continues
    {
        check(&token);
    }
    for writing in WRITES {
        let _ = WriteOptions::parse(input, writing);
    }
    if let Ok(token) = Continue::decode(input) {
        check(&token);
    }
});

fn check(token: &Continue) {
    assert_eq!(Continue::decode(&token.encode()).as_ref(), Ok(token));
    for prefix in ["/registry/core/secrets/", "/registry/core/secrets/default/"] {
        if let Ok(key) = token.after(prefix) {
            assert!(
                key.starts_with(prefix),
                "a list does not leave its resource"
            );
        }
    }
}

//! Any body is a document of bounded depth, or an error; what was read is read again the same.

#![no_main]

use apiserver::body::{Document, depth};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for document in [Document::from_json(input), Document::from_yaml(input)] {
        let Ok(document) = document else {
            continue;
        };
        assert!(depth(&document.value) <= 120);
        assert!(document.duplicates.len() <= 100);
        let text = document.value.to_string();
        let again = Document::from_json(text.as_bytes()).expect("it was a value before");
        assert_eq!(again.value, document.value);
        assert!(again.duplicates.is_empty());
    }
});

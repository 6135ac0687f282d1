//! Any text is a selector that can be asked of objects, or an error.

#![no_main]

use apiserver::selector::{FieldSelector, LabelSelector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    if let Ok(selector) = input.parse::<LabelSelector>() {
        let labels = [("a", "b"), ("n", "7"), ("empty", "")];
        let value = |key: &str| {
            labels
                .iter()
                .find(|label| label.0 == key)
                .map(|label| label.1)
        };
        let meant = selector.selects(value);
        assert!(
            meant || !selector.is_empty(),
            "no requirement means everything"
        );
    }
    if let Ok(selector) = input.parse::<FieldSelector>() {
        for field in selector.fields() {
            assert!(input.contains(field));
        }
        if let Some(name) = selector.wanted("metadata.name") {
            let other = format!("{name}x");
            assert!(
                !selector.selects(|_| other.as_str()),
                "it wants another name"
            );
        }
    }
});

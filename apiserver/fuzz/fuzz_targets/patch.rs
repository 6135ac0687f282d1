//! Any patch changes an object within bounds, or is refused. The input is an object, a zero byte, and
//! the patch; what comes before the object says which kind of patch it is.

#![no_main]

use apiserver::body::{Document, depth};
use apiserver::builtin;
use apiserver::patch::Patch;
use apiserver::schema::Schema;
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let resources = builtin::resources();
    let namespaces = resources
        .iter()
        .find(|resource| resource.plural == "namespaces");
    let version = namespaces.and_then(|namespaces| namespaces.versions.first());
    Arc::clone(&version.expect("there are namespaces").schema)
});

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let (Some(object), Some(patch)) = (parts.next(), parts.next()) else {
        return;
    };
    let media_type = match kind % 3 {
        0 => "application/json-patch+json",
        1 => "application/merge-patch+json",
        _ => "application/strategic-merge-patch+json",
    };
    let Ok(object) = Document::from_json(object) else {
        return;
    };
    let Ok(patch) = Patch::parse(media_type, patch, true) else {
        return;
    };
    let mut value = object.value;
    if patch.apply(&mut value, &SCHEMA).is_ok() {
        assert!(depth(&value) <= 120, "{}", depth(&value));
        // Copies make at most 3 MiB, the rest comes from the input.
        assert!(value.to_string().len() <= 4 * 1024 * 1024 + 8 * input.len());
    }
});

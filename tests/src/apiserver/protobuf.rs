//! Bodies in protobuf as what their JSON would be, so that the tables can say and compare them.

use anyhow::{Context as _, Result};
use apiserver::protobuf::{self, Expected};
use serde_json::{Value, json};

/// What the body of an object begins with.
const MARK: &[u8] = b"k8s\0";

/// An object, which is given as JSON, as a body.
///
/// # Errors
/// When it is no object of one of Kubernetes' own kinds.
pub fn encoded(object: &str) -> Result<Vec<u8>> {
    let object = serde_json::from_str(object)?;
    protobuf::encode(&object).context("a kind that has a message")
}

/// The object in a body, or the events of a watch; `None` if it is neither.
pub fn decoded(body: &[u8]) -> Option<Value> {
    if body.starts_with(MARK) {
        return object(body);
    }
    let (mut events, mut rest) = (Vec::new(), body);
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (frame, after) = after.split_at_checked(length)?;
        events.push(event(frame)?);
        rest = after;
    }
    let whole = rest.is_empty() && !events.is_empty();
    whole.then(|| events.into())
}

fn object(body: &[u8]) -> Option<Value> {
    let expected = |type_name, api_version: &str, kind: &str| Expected {
        type_name,
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
    };
    // Of another kind than is expected nothing but the kind is read.
    let said = protobuf::decode(body, &expected(String::new(), "-", "-")).ok()?;
    let (api_version, kind) = (said["apiVersion"].as_str()?, said["kind"].as_str()?);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let package = match (group, kind) {
        ("meta.k8s.io", _) | ("", "Status") => "apimachinery.pkg.apis.meta.v1".to_owned(),
        ("apiextensions.k8s.io", _) => {
            format!("apiextensions-apiserver.pkg.apis.apiextensions.{version}")
        }
        ("", _) => format!("api.core.{version}"),
        (group, _) => format!("api.{}.{version}", group.split('.').next()?),
    };
    let expected = expected(format!("io.k8s.{package}.{kind}"), api_version, kind);
    protobuf::decode(body, &expected).ok()
}

/// `WatchEvent`: a word, and an object to the end.
fn event(frame: &[u8]) -> Option<Value> {
    let (&[0x0a, length], rest) = frame.split_first_chunk()? else {
        return None;
    };
    let (word, rest) = rest.split_at_checked(length.into())?;
    let at = rest.windows(MARK.len()).position(|bytes| bytes == MARK)?;
    Some(json!({"type": std::str::from_utf8(word).ok()?, "object": object(&rest[at..])?}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let map =
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}"#;
        let body = encoded(map).unwrap();
        assert_eq!(decoded(&body).unwrap()["data"], json!({"k": "v"}));
        let map: Value = serde_json::from_str(map).unwrap();
        let frame = protobuf::watch_frame("ADDED", &map).unwrap();
        let events = decoded(&[&frame[..], &frame].concat()).unwrap();
        assert_eq!(events[1]["type"], "ADDED");
        assert_eq!(events[1]["object"]["metadata"]["name"], "a");
        assert_eq!(decoded(&frame[..frame.len() - 1]), None);
        assert_eq!(decoded(b"text"), None);
    }
}

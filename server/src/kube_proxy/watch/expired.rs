//! What a client is told when its watch cannot go on because the cluster remembers too little.

use bytes::Bytes;
use serde_json::{Value, json};

use super::events::Format;

/// The event that kube-apiserver sends then, upon which clients list again. `None` if it cannot be written.
pub(super) fn event(format: Format) -> Option<Bytes> {
    let status: Value = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "The resourceVersion for the provided watch is too old.",
        "reason": "Expired",
        "code": 410,
    });
    let event = match format {
        Format::Json => format!("{}\n", json!({"type": "ERROR", "object": status})).into_bytes(),
        Format::Protobuf => apiserver::protobuf::watch_frame("ERROR", &status)?,
    };
    Some(event.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_told_in_its_own_format() {
        let event_of = |format| event(format).unwrap();
        let json: Value = serde_json::from_slice(&event_of(Format::Json)).unwrap();
        assert_eq!(
            (&json["type"], &json["object"]["code"]),
            (&json!("ERROR"), &json!(410))
        );
        let frame = event_of(Format::Protobuf);
        let body = frame
            .windows(4)
            .position(|bytes| bytes == b"k8s\0")
            .unwrap();
        let status = apiserver::protobuf::read(&frame[body..]).unwrap();
        assert_eq!(
            (&status["reason"], &status["code"]),
            (&json!("Expired"), &json!(410))
        );
    }
}

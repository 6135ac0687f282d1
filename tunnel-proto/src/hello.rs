//! The first exchange on every carrier, in JSON: the agent's signed hello, and the server's signed
//! welcome or its rejection.
//!
//! Unknown fields are ignored, so either side may say more than the other knows. Every parser
//! here has the limit [`MAX_HELLO`], which the caller's read buffer shares.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::time::Duration;

/// Largest hello, welcome or rejection, in bytes.
pub const MAX_HELLO: usize = 16 * 1024;

/// Version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;

/// The multiplexer of [`crate::mux`].
pub const FAIR: &str = "lariat/1";

/// The multiplexer that every version 1 peer has.
pub const YAMUX: &str = "yamux/1";

/// The capability of a side whose sessions can have a second lane, for bulk.
pub const BULK_LANE: &str = "bulkLane";

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// Protocol versions the agent speaks.
    pub versions: Vec<u16>,
    /// Which kind of agent this is, and what it knows of its place.
    pub agent: AgentKind,
    /// Name and version of the agent's software.
    pub software: String,
    /// New at each start of the process.
    pub instance: String,
    /// Ed25519 public key, 32 bytes.
    pub public_key: Base64,
    /// 32 random bytes that the server's signature covers.
    pub nonce: Base64,
    /// TLS exporter value; equal on both ends exactly if nobody terminates TLS between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_binding: Option<Base64>,
    /// Presented by an agent whose key may not be bound yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_token: Option<String>,
    /// Which lane of the session this carrier is for.
    #[serde(default)]
    pub lane: Lane,
    /// The session to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// What the agent takes.
    #[serde(default)]
    pub limits: Limits,
    /// Multiplexers the agent has, best first.
    #[serde(default)]
    pub muxes: Vec<String>,
    /// Names of optional features.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

impl Hello {
    /// Whether the agent has an optional feature.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|has| has == capability)
    }
}

/// Which kind of agent, with the facts that kind knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum AgentKind {
    /// `cattle-cluster-agent`.
    #[serde(rename_all = "camelCase")]
    Cluster {
        /// Uid of the kube-system namespace: which cluster this really is. Absent while its API
        /// server cannot be asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster_uid: Option<String>,
        /// As `/version` says it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kubernetes_version: Option<String>,
    },
    /// `cattle-node-agent`.
    #[serde(rename_all = "camelCase")]
    Node {
        /// Name of the Kubernetes node.
        node_name: String,
    },
}

/// A lane of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lane {
    /// Opened at once, for everything while it is the only one.
    #[default]
    Interactive,
    /// Opened at first need, for streams that carry a lot.
    Bulk,
}

/// A session to go on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Its id, from the welcome.
    pub session: String,
    /// Bytes received of this lane's link.
    pub received: u64,
    /// Which of the session's bulk lanes the carrier is for: the agent counts them from 1. 0 for
    /// the interactive lane.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub number: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What one side takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Streams the other side may have open at once.
    pub streams: u32,
    /// Bytes that may be unread over all streams.
    pub window: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 512,
            window: 16 * 1024 * 1024,
        }
    }
}

/// What the server answers if it takes the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The version that is spoken from here on.
    pub version: u16,
    /// Id of the session.
    pub session: String,
    /// Which server replica this is.
    pub replica: String,
    /// Id of the cluster (and node) that the agent's key is bound to.
    pub bound_to: String,
    /// Bytes received of this session's link; 0 for a new session.
    pub received: u64,
    /// Quiet interval after which either side pings, in milliseconds.
    pub heartbeat_ms: u32,
    /// How long a session outlives its carrier, in milliseconds; 0: not at all.
    pub resume_window_ms: u32,
    /// What the server takes.
    #[serde(default)]
    pub limits: Limits,
    /// The multiplexer to use.
    pub mux: String,
    /// Ed25519 public key of the server; the agent pins it.
    pub server_key: Base64,
    /// Names of optional features that the server has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

impl Welcome {
    /// Whether the server has an optional feature.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|has| has == capability)
    }

    /// [`Welcome::resume_window_ms`], kept within an hour.
    #[must_use]
    pub fn resume_window(&self) -> Duration {
        Duration::from_millis(self.resume_window_ms.min(3_600_000).into())
    }

    /// [`Welcome::heartbeat_ms`], kept within 1 s and 5 min.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.clamp(1_000, 300_000).into())
    }
}

/// What the server answers if it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct Rejection {
    /// Why, for a program.
    pub code: RejectionCode,
    /// Why and what to do about it, for a person.
    pub message: String,
    /// When to try again, in milliseconds. Absent: as the agent's own back-off says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Rejection {
    /// A rejection that leaves the time of the next attempt to the agent.
    #[must_use]
    pub fn new(code: RejectionCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// The server's word on when to try again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

/// Why an agent was rejected, ordered by whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RejectionCode {
    /// The hello could not be read, or was too long or too late.
    Malformed,
    /// The signature does not match the key.
    BadSignature,
    /// Server and agent see different TLS connections, and the server insists on one.
    ChannelMismatch,
    /// No version, or no multiplexer, in common.
    UnsupportedVersion,
    /// The key is not bound, and no registration token was presented.
    UnknownKey,
    /// The registration token is unknown, expired or used up.
    BadToken,
    /// The cluster is bound to another key.
    KeyMismatch,
    /// The cluster was deleted, or its key revoked.
    Revoked,
    /// The session to resume, or the bulk lane of it, is not known here; start a new one.
    UnknownSession,
    /// Too many agents at once.
    Busy,
    /// This replica is leaving.
    Draining,
    /// Should not happen; please report.
    Internal,
    /// A code of a later version.
    #[serde(other)]
    Other,
}

/// What is wrong with a message of the handshake. Always the peer's fault.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// Longer than [`MAX_HELLO`].
    #[error("message of {0} bytes is over the limit of {MAX_HELLO}")]
    TooLong(usize),
    /// Not the JSON it should be.
    #[error("message cannot be read: {0}")]
    Json(String),
}

/// A payload with the signature of its sender: exactly the bytes that were signed.
#[derive(Debug)]
pub struct Signed<T> {
    /// The parsed payload.
    pub payload: T,
    /// Its bytes, as they were signed.
    pub bytes: Box<[u8]>,
    /// The signature.
    pub signature: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
    signature: Base64,
}

/// What the server answers.
#[derive(Debug)]
pub enum Answer {
    /// The agent is taken.
    Welcome(Signed<Welcome>),
    /// It is not.
    Rejected(Rejection),
}

#[derive(Serialize, Deserialize)]
struct AnswerEnvelope<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    welcome: Option<Envelope<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rejected: Option<Rejection>,
}

/// The bytes of a payload, to be signed and then passed to [`encode_hello`] or [`encode_welcome`].
#[must_use]
pub fn payload_bytes<T: Serialize>(payload: &T) -> Vec<u8> {
    // Strings, numbers and lists of them: nothing here can fail to become JSON.
    serde_json::to_vec(payload).unwrap_or_default()
}

/// The agent's first message.
///
/// # Errors
///
/// `payload` is not JSON.
pub fn encode_hello(payload: &[u8], signature: &[u8]) -> Result<Vec<u8>, HelloError> {
    Ok(payload_bytes(&envelope(payload, signature)?))
}

/// The server's answer to an agent it takes.
///
/// # Errors
///
/// `payload` is not JSON.
pub fn encode_welcome(payload: &[u8], signature: &[u8]) -> Result<Vec<u8>, HelloError> {
    Ok(payload_bytes(&AnswerEnvelope {
        welcome: Some(envelope(payload, signature)?),
        rejected: None,
    }))
}

/// The server's answer to an agent it does not take.
#[must_use]
pub fn encode_rejection(rejection: &Rejection) -> Vec<u8> {
    payload_bytes(&AnswerEnvelope {
        welcome: None,
        rejected: Some(rejection.clone()),
    })
}

/// Reads the agent's first message.
///
/// # Errors
///
/// See [`HelloError`].
pub fn decode_hello(message: &[u8]) -> Result<Signed<Hello>, HelloError> {
    signed(parse(message)?)
}

/// Reads the server's answer.
///
/// # Errors
///
/// See [`HelloError`].
pub fn decode_answer(message: &[u8]) -> Result<Answer, HelloError> {
    match parse(message)? {
        AnswerEnvelope {
            rejected: Some(rejection),
            ..
        } => Ok(Answer::Rejected(rejection)),
        AnswerEnvelope {
            welcome: Some(welcome),
            ..
        } => signed(welcome).map(Answer::Welcome),
        AnswerEnvelope { .. } => Err(HelloError::Json("neither welcome nor rejection".into())),
    }
}

fn envelope<'a>(payload: &'a [u8], signature: &[u8]) -> Result<Envelope<'a>, HelloError> {
    Ok(Envelope {
        payload: parse(payload)?,
        signature: Base64(signature.to_vec()),
    })
}

fn signed<T: DeserializeOwned>(envelope: Envelope<'_>) -> Result<Signed<T>, HelloError> {
    let bytes = envelope.payload.get().as_bytes();
    Ok(Signed {
        payload: parse(bytes)?,
        bytes: bytes.into(),
        signature: envelope.signature.0,
    })
}

fn parse<'a, T: Deserialize<'a>>(message: &'a [u8]) -> Result<T, HelloError> {
    if message.len() > MAX_HELLO {
        return Err(HelloError::TooLong(message.len()));
    }
    serde_json::from_slice(message).map_err(|error| HelloError::Json(error.to_string()))
}

/// Bytes that are base64 (with padding) in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        BASE64
            .decode(text.as_bytes())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello() -> Hello {
        Hello {
            versions: vec![VERSION],
            agent: AgentKind::Cluster {
                cluster_uid: Some("8f5c".into()),
                kubernetes_version: None,
            },
            software: "cattle-cluster-agent/0.1.0".into(),
            instance: "i-1".into(),
            public_key: Base64(vec![1, 2, 3]),
            nonce: Base64(vec![4]),
            channel_binding: None,
            registration_token: Some("t".into()),
            lane: Lane::Interactive,
            resume: None,
            limits: Limits::default(),
            muxes: vec![YAMUX.into()],
            capabilities: vec![],
        }
    }

    #[test]
    fn golden_hello() {
        let golden = r#"{"payload":{"versions":[1],"agent":{"kind":"cluster","clusterUid":"8f5c"},"software":"cattle-cluster-agent/0.1.0","instance":"i-1","publicKey":"AQID","nonce":"BA==","registrationToken":"t","lane":"interactive","limits":{"streams":512,"window":16777216},"muxes":["yamux/1"]},"signature":"CQk="}"#;
        let payload = payload_bytes(&hello());
        let message = encode_hello(&payload, &[9, 9]).unwrap();
        assert_eq!(String::from_utf8(message.clone()).unwrap(), golden);
        let signed = decode_hello(&message).unwrap();
        assert_eq!(signed.payload, hello());
        assert_eq!(&*signed.bytes, payload);
        assert_eq!(signed.signature, [9, 9]);
    }

    #[test]
    fn golden_hello_of_a_session_that_goes_on() {
        let golden = r#"{"payload":{"versions":[1],"agent":{"kind":"cluster","clusterUid":"8f5c"},"software":"cattle-cluster-agent/0.1.0","instance":"i-1","publicKey":"AQID","nonce":"BA==","lane":"interactive","resume":{"session":"s-1","received":70000},"limits":{"streams":512,"window":16777216},"muxes":["lariat/1","yamux/1"]},"signature":"CQk="}"#;
        let hello = Hello {
            registration_token: None,
            resume: Some(Resume {
                session: "s-1".into(),
                received: 70_000,
                number: 0,
            }),
            muxes: vec![FAIR.into(), YAMUX.into()],
            ..hello()
        };
        let message = encode_hello(&payload_bytes(&hello), &[9, 9]).unwrap();
        assert_eq!(String::from_utf8(message.clone()).unwrap(), golden);
        assert_eq!(decode_hello(&message).unwrap().payload, hello);
    }

    #[test]
    fn golden_hello_of_a_bulk_lane() {
        let golden = r#"{"payload":{"versions":[1],"agent":{"kind":"cluster","clusterUid":"8f5c"},"software":"cattle-cluster-agent/0.1.0","instance":"i-1","publicKey":"AQID","nonce":"BA==","lane":"bulk","resume":{"session":"s-1","received":0,"number":2},"limits":{"streams":512,"window":16777216},"muxes":["lariat/1","yamux/1"],"capabilities":["bulkLane"]},"signature":"CQk="}"#;
        let hello = Hello {
            registration_token: None,
            lane: Lane::Bulk,
            resume: Some(Resume {
                session: "s-1".into(),
                received: 0,
                number: 2,
            }),
            muxes: vec![FAIR.into(), YAMUX.into()],
            capabilities: vec![BULK_LANE.into()],
            ..hello()
        };
        let message = encode_hello(&payload_bytes(&hello), &[9, 9]).unwrap();
        assert_eq!(String::from_utf8(message.clone()).unwrap(), golden);
        let decoded = decode_hello(&message).unwrap().payload;
        assert!(decoded.can(BULK_LANE));
        assert_eq!(decoded, hello);
    }

    #[test]
    fn golden_answers() {
        let welcome = Welcome {
            version: 1,
            session: "s-1".into(),
            replica: "r-1".into(),
            bound_to: "c-abcde".into(),
            received: 0,
            heartbeat_ms: 15_000,
            resume_window_ms: 0,
            limits: Limits {
                streams: 1,
                window: 2,
            },
            mux: YAMUX.into(),
            server_key: Base64(vec![5]),
            capabilities: vec![],
        };
        let message = encode_welcome(&payload_bytes(&welcome), &[1]).unwrap();
        let golden = r#"{"welcome":{"payload":{"version":1,"session":"s-1","replica":"r-1","boundTo":"c-abcde","received":0,"heartbeatMs":15000,"resumeWindowMs":0,"limits":{"streams":1,"window":2},"mux":"yamux/1","serverKey":"BQ=="},"signature":"AQ=="}}"#;
        assert_eq!(String::from_utf8(message.clone()).unwrap(), golden);
        let Answer::Welcome(signed) = decode_answer(&message).unwrap() else {
            panic!("not a welcome");
        };
        assert_eq!(signed.payload, welcome);

        let rejection = Rejection::new(RejectionCode::KeyMismatch, "another key");
        let message = encode_rejection(&rejection);
        let golden = r#"{"rejected":{"code":"keyMismatch","message":"another key"}}"#;
        assert_eq!(String::from_utf8(message.clone()).unwrap(), golden);
        let Answer::Rejected(decoded) = decode_answer(&message).unwrap() else {
            panic!("not a rejection");
        };
        assert_eq!(decoded, rejection);
    }

    #[test]
    fn fields_and_codes_of_later_versions_are_ignored() {
        let message = br#"{"rejected":{"code":"fromTheFuture","message":"m","shade":"blue"}}"#;
        let Answer::Rejected(rejection) = decode_answer(message).unwrap() else {
            panic!("not a rejection");
        };
        assert_eq!(rejection.code, RejectionCode::Other);
    }

    #[test]
    fn a_hello_over_the_limit_is_refused_unread() {
        let message = vec![b' '; MAX_HELLO + 1];
        assert!(matches!(
            decode_hello(&message),
            Err(HelloError::TooLong(_))
        ));
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let message = "[".repeat(MAX_HELLO);
        assert!(matches!(
            decode_hello(message.as_bytes()),
            Err(HelloError::Json(_))
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_hello(&bytes);
            let _ = decode_answer(&bytes);
        }
    }
}

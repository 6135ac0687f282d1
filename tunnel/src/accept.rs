//! The server's end of the handshake: the upgrade, the agent's hello, the answer.

use crate::{
    Io, Memory,
    carrier::Carrier,
    identity::{self, KeyError, KeyPair},
    mux,
    session::{self, Driver, Halted, NotHalted, Session},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use std::{io, sync::Arc, time::Duration};
use tokio_tungstenite::tungstenite::{handshake::derive_accept_key, protocol::Role};
use tunnel_proto::{
    NONCE_HEADER, NONCE_LEN, SUBPROTOCOL,
    frame::Offset,
    hello::{
        self, BULK_LANE, Base64, Hello, HelloError, Limits, Rejection, RejectionCode, Signed,
        VERSION, Welcome, YAMUX,
    },
    mux::Side,
    transcript,
};

/// What all sessions of a server share.
#[derive(Clone, Debug)]
pub struct Acceptor {
    /// The server's identity, which agents pin.
    pub key: Arc<KeyPair>,
    /// Id of this replica.
    pub replica: String,
    /// Quiet interval after which either side pings.
    pub heartbeat: Duration,
    /// How long an agent may take for its hello.
    pub patience: Duration,
    /// How long a session outlives its carrier.
    pub resume_window: Duration,
    /// What this server takes.
    pub limits: Limits,
    /// What all its sessions may keep in memory.
    pub memory: Memory,
    /// Refuse agents that see another TLS connection than the server does. Off where a balancer
    /// terminates TLS.
    pub require_channel_binding: bool,
}

/// An upgrade that was answered: what the handshake on the connection needs to know of it.
#[derive(Debug)]
pub struct Upgrade {
    nonce: [u8; NONCE_LEN],
    server_name: String,
}

/// Why a request to the tunnel endpoint is not upgraded. Always the peer's fault, but for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// Not a WebSocket upgrade (RFC 6455).
    #[error("this is the tunnel endpoint for agents: a WebSocket upgrade (RFC 6455) is needed")]
    NotWebSocket,
    /// The agent offers no subprotocol that is spoken here.
    #[error(
        "no common tunnel protocol; this server speaks {SUBPROTOCOL}: update the agent or the server"
    )]
    Subprotocol,
    /// No randomness for the nonce.
    #[error("cannot make a nonce")]
    Nonce(#[from] KeyError),
}

impl UpgradeError {
    /// The status to answer with; a 426 also carries [`UpgradeError::headers`].
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotWebSocket | Self::Subprotocol => StatusCode::UPGRADE_REQUIRED,
            Self::Nonce(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What this server speaks.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            ),
            (
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(SUBPROTOCOL),
            ),
        ])
    }
}

/// Whom the server takes the agent for.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Id of the cluster (and node) that the agent's key is bound to.
    pub bound_to: String,
    /// Id of the new session, if there is to be one.
    pub session: String,
    /// The session that the agent asked to go on with ([`Hello::resume`]), if it is this agent's
    /// and still there.
    pub resume: Option<Session>,
}

/// A hello that was checked: the key it names has signed it, for this server and this connection.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What the agent said.
    pub hello: Hello,
    /// Whether both ends see one TLS connection; `None` if that is not known.
    pub channel_bound: Option<bool>,
}

/// An agent that was taken.
pub struct Accepted {
    /// What it said.
    pub verified: Verified,
    /// Whom the server took it for.
    pub bound_to: String,
    /// Its session.
    pub session: Session,
    /// What runs the session; `None` if it is one that goes on, or gets its bulk lane
    /// ([`Hello::lane`]), and has its driver.
    pub driver: Option<Driver>,
}

/// Why an agent was not taken. It has been told.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The hello broke the rules.
    #[error("malformed hello")]
    Hello(#[source] HelloError),
    /// The agent was rejected.
    #[error("agent rejected")]
    Rejected(#[source] Rejection),
    /// The hello did not come in time.
    #[error("no hello within {0:?}")]
    Late(Duration),
    /// The connection broke.
    #[error("connection lost in the handshake")]
    Lost(#[source] io::Error),
}

impl Acceptor {
    /// Answers the upgrade request: the response to send, and what [`Acceptor::accept`] needs on
    /// the connection that comes out of it.
    ///
    /// # Errors
    ///
    /// See [`UpgradeError`].
    pub fn upgrade<B>(
        &self,
        request: &Request<B>,
    ) -> Result<(Response<()>, Upgrade), UpgradeError> {
        let headers = request.headers();
        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .filter(|_| request.method() == http::Method::GET)
            .filter(|_| has_token(headers, header::CONNECTION, "upgrade"))
            .filter(|_| has_token(headers, header::UPGRADE, "websocket"))
            .filter(|_| has_token(headers, header::SEC_WEBSOCKET_VERSION, "13"))
            .ok_or(UpgradeError::NotWebSocket)?;
        if !has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
            return Err(UpgradeError::Subprotocol);
        }
        let nonce = identity::random()?;
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().extend([
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (
                header::SEC_WEBSOCKET_ACCEPT,
                ascii(&derive_accept_key(key.as_bytes())),
            ),
            (
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(SUBPROTOCOL),
            ),
            (
                header::HeaderName::from_static(NONCE_HEADER),
                ascii(&BASE64.encode(nonce)),
            ),
        ]);
        let upgrade = Upgrade {
            nonce,
            server_name: dialled_name(request),
        };
        Ok((response, upgrade))
    }

    /// Runs the handshake on an upgraded connection. `channel` is this end's TLS exporter value
    /// ([`crate::CHANNEL_BINDING_LABEL`]), if TLS ends in this process. `admit` decides over an
    /// agent whose signature was checked.
    ///
    /// # Errors
    ///
    /// See [`AcceptError`].
    pub async fn accept<F: Future<Output = Result<Admission, Rejection>>>(
        &self,
        io: impl Io,
        upgrade: &Upgrade,
        channel: Option<&[u8]>,
        admit: impl FnOnce(Verified) -> F,
    ) -> Result<Accepted, AcceptError> {
        let mut carrier = Carrier::new(Box::new(io), Role::Server);
        let admitted = tokio::time::timeout(self.patience, async {
            let message = carrier.receive().await;
            let (verified, signed_bytes) = self.verify(message, upgrade, channel)?;
            let admission = admit(verified.clone())
                .await
                .map_err(AcceptError::Rejected)?;
            let resumed = resumed(&verified.hello, admission.resume.as_ref()).await?;
            let welcome = self.welcome(&verified.hello, &signed_bytes, &admission, &resumed);
            carrier.send(welcome).await.map_err(AcceptError::Lost)?;
            Ok((verified, admission, resumed))
        })
        .await
        .unwrap_or(Err(AcceptError::Late(self.patience)));
        let (verified, admission, resumed) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                self.reject(carrier, &error).await;
                return Err(error);
            }
        };
        let (session, driver) = match resumed {
            Some(Resumed {
                session,
                halted: Halted { control, frozen },
                peer_received,
            }) => {
                // Of two carriers the newer one wins, and the agent finds out by this one's end.
                let _ = control.attach(frozen, carrier, peer_received);
                (session, None)
            }
            None => {
                let agreement = session::Agreement {
                    id: admission.session,
                    side: Side::Server,
                    mux: chosen_mux(&verified.hello).to_owned(),
                    heartbeat: self.heartbeat,
                    resume_window: self.resume_window,
                    peer_streams: verified.hello.limits.streams,
                    own_streams: self.limits.streams,
                    memory: self.memory.clone(),
                    bulk_lane: verified.hello.can(BULK_LANE),
                };
                let (session, driver) = session::start(agreement, carrier, None);
                (session, Some(driver))
            }
        };
        Ok(Accepted {
            verified,
            bound_to: admission.bound_to,
            session,
            driver,
        })
    }

    fn verify(
        &self,
        message: io::Result<bytes::Bytes>,
        upgrade: &Upgrade,
        channel: Option<&[u8]>,
    ) -> Result<(Verified, Box<[u8]>), AcceptError> {
        let message = message.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => AcceptError::Hello(HelloError::Json(error.to_string())),
            _ => AcceptError::Lost(error),
        })?;
        let Signed {
            payload: hello,
            bytes,
            signature,
        } = hello::decode_hello(&message).map_err(AcceptError::Hello)?;
        let rejected = |code, message: &str| AcceptError::Rejected(Rejection::new(code, message));
        let transcript = transcript::agent(&upgrade.nonce, &upgrade.server_name, &bytes);
        if !identity::verify(&hello.public_key.0, &transcript, &signature) {
            let message = format!(
                "the hello's signature does not match its key and this server's nonce and name \
                 ({}); a proxy that changes the Host header would do that",
                upgrade.server_name
            );
            return Err(rejected(RejectionCode::BadSignature, &message));
        }
        let common_mux = mux::SPOKEN.iter().any(|mux| has_mux(&hello, mux));
        if !hello.versions.contains(&VERSION) || !common_mux {
            let muxes = mux::SPOKEN.join(" or ");
            let message =
                format!("this server speaks version {VERSION} over {muxes}: update the agent");
            return Err(rejected(RejectionCode::UnsupportedVersion, &message));
        }
        let channel_bound = match (channel, &hello.channel_binding) {
            (Some(ours), Some(theirs)) => Some(ours == theirs.0),
            _ => None,
        };
        if self.require_channel_binding && channel_bound != Some(true) {
            let message = "agent and server see different TLS connections: something between them \
                           terminates TLS, and this server does not allow that";
            return Err(rejected(RejectionCode::ChannelMismatch, message));
        }
        Ok((
            Verified {
                hello,
                channel_bound,
            },
            bytes,
        ))
    }

    fn welcome(
        &self,
        hello: &Hello,
        signed: &[u8],
        admission: &Admission,
        resumed: &Option<Resumed>,
    ) -> Vec<u8> {
        let (session, received, mux) = match resumed {
            Some(resumed) => {
                let session = &resumed.session;
                (session.id(), resumed.halted.frozen.received, session.mux())
            }
            None => (&*admission.session, Offset(0), chosen_mux(hello)),
        };
        let welcome = Welcome {
            version: VERSION,
            session: session.to_owned(),
            replica: self.replica.clone(),
            bound_to: admission.bound_to.clone(),
            received: received.0,
            heartbeat_ms: millis(self.heartbeat),
            resume_window_ms: millis(self.resume_window),
            limits: self.limits,
            mux: mux.to_owned(),
            server_key: Base64(self.key.public_key().to_vec()),
            capabilities: match self.resume_window.is_zero() {
                true => Vec::new(),
                false => vec![BULK_LANE.to_owned()],
            },
        };
        let payload = hello::payload_bytes(&welcome);
        let signature = self.key.sign(&transcript::server(signed, &payload));
        // What `payload_bytes` made is JSON.
        hello::encode_welcome(&payload, &signature).unwrap_or_default()
    }

    async fn reject(&self, mut carrier: Carrier, error: &AcceptError) {
        let rejection = match error {
            AcceptError::Rejected(rejection) => rejection.clone(),
            AcceptError::Hello(error) => {
                Rejection::new(RejectionCode::Malformed, error.to_string())
            }
            AcceptError::Late(_) => Rejection::new(RejectionCode::Malformed, error.to_string()),
            AcceptError::Lost(_) => return,
        };
        let told = async {
            carrier.send(hello::encode_rejection(&rejection)).await?;
            carrier.close().await;
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(self.patience, told).await;
    }
}

/// A session one of whose lanes goes on, or begins, and takes nothing in until it has the carrier
/// of this handshake.
struct Resumed {
    session: Session,
    halted: Halted,
    peer_received: Offset,
}

async fn resumed(hello: &Hello, session: Option<&Session>) -> Result<Option<Resumed>, AcceptError> {
    let rejected = |code, message| Err(AcceptError::Rejected(Rejection::new(code, message)));
    let forgotten = |number| match number {
        0 => Ok(None),
        _ => {
            let message = "the session of this bulk lane, or the lane itself, is over";
            rejected(RejectionCode::UnknownSession, message)
        }
    };
    // A bulk lane is none of the interactive ones, whatever else its hello says.
    let number = match (hello.lane, &hello.resume) {
        (hello::Lane::Interactive, _) => 0,
        (hello::Lane::Bulk, Some(resume)) if resume.number > 0 => resume.number,
        (hello::Lane::Bulk, _) => return forgotten(1),
    };
    let (Some(resume), Some(session)) = (&hello.resume, session) else {
        return forgotten(number);
    };
    match session.halt(number).await {
        Ok(halted) => Ok(Some(Resumed {
            session: session.clone(),
            halted,
            peer_received: Offset(resume.received),
        })),
        Err(NotHalted::Over) => forgotten(number),
        // The agent has given this handshake up: it must not cost the session.
        Err(NotHalted::Overtaken) => {
            let message = "a newer connection of the session is coming";
            rejected(RejectionCode::Busy, message)
        }
    }
}

fn has_mux(hello: &Hello, mux: &str) -> bool {
    hello.muxes.iter().any(|offered| offered == mux)
}

/// The best multiplexer that both ends have.
fn chosen_mux(hello: &Hello) -> &'static str {
    let common = mux::SPOKEN.into_iter().find(|mux| has_mux(hello, mux));
    // A hello without one was refused.
    common.unwrap_or(YAMUX)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// The name the agent dialled, as its transcript has it: the authority without a port.
fn dialled_name<B>(request: &Request<B>) -> String {
    let authority = request
        .uri()
        .authority()
        .map(http::uri::Authority::as_str)
        .or_else(|| request.headers().get(header::HOST)?.to_str().ok())
        .unwrap_or_default();
    authority
        .parse::<http::uri::Authority>()
        .map(|authority| authority.host().to_ascii_lowercase())
        .unwrap_or_default()
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(token))
}

/// A header value of base64, which is ASCII.
fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

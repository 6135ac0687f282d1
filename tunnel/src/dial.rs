//! The agent's end of the handshake: TCP (through a proxy where there is one), TLS, the upgrade,
//! the hello.

mod network;
mod proxy;
mod resume;
mod trust;

pub use network::{Connect, Network};
pub use proxy::{Proxies, ProxyError};
pub use trust::{PinError, Trust, fetch_ca, fetch_pinned};

use crate::{
    CHANNEL_BINDING_LABEL, Io, Memory,
    carrier::Carrier,
    identity::{self, KeyError, KeyPair},
    mux,
    session::{self, Driver, Keeper, Session},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, Request, StatusCode, header};
use resume::Redialer;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::{io, sync::Arc, time::Duration};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::tungstenite::{
    self,
    handshake::client::generate_key,
    protocol::{Role, WebSocketConfig},
};
use tunnel_proto::{
    CONNECT_PATH, NONCE_HEADER, NONCE_LEN, SUBPROTOCOL,
    hello::{
        self, AgentKind, Answer, BULK_LANE, Base64, Hello, HelloError, Lane, Limits, Rejection,
        Resume, Signed, VERSION, Welcome,
    },
    mux::Side,
    transcript,
};
use url::Url;

/// How long each step may take: name and TCP, TLS, upgrade, hello.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much is read at a time of the answer to an upgrade, in bytes.
const RESPONSE: usize = 4 * 1024;

/// Where to dial and whom to trust.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// The server's address; only host and port matter.
    pub server: Url,
    /// Who vouches for the server's certificate.
    pub trust: Trust,
    /// Which proxy to go through.
    pub proxies: Proxies,
    /// The server's own key, once it was learnt: another one is refused.
    pub server_key: Option<Vec<u8>>,
    /// What all sessions of this process may keep in memory.
    pub memory: Memory,
    /// Multiplexers to offer, best first. Empty: all that are spoken here.
    pub muxes: Vec<String>,
    /// Whether sessions may have a second connection, for what carries a lot. Default: yes.
    pub bulk_lane: bool,
    /// How to reach hosts; [`Network::default`] is TCP.
    pub network: Network,
}

/// What the agent says of itself.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// Kind and facts.
    pub agent: AgentKind,
    /// Name and version of the software.
    pub software: String,
    /// New at each start of the process.
    pub instance: String,
    /// Presented by an agent whose key may not be bound yet.
    pub registration_token: Option<String>,
}

/// A session with a server that took the agent.
#[derive(Debug)]
pub struct Connected {
    /// What the server said.
    pub welcome: Welcome,
    /// The session.
    pub session: Session,
    /// What runs it.
    pub driver: Driver,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The server took the connection and said no.
    #[error("server rejected the agent: {0}")]
    Rejected(Rejection),
    /// The server's welcome is not signed by its key, or the key is not the one that was pinned.
    #[error(
        "server did not prove the identity that this agent has pinned; if the server was moved on purpose, delete the agent's Secret and register it again"
    )]
    ServerIdentity,
    /// The server's answer to the hello cannot be read.
    #[error("malformed answer to the hello")]
    Answer(#[source] HelloError),
    /// The server did not upgrade the connection.
    #[error("server answered the tunnel request with {status}: {body}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// The beginning of its body.
        body: String,
        /// When to try again, if it said so.
        retry_after: Option<Duration>,
    },
    /// What answered does not speak the protocol.
    #[error("not a Lariat server: {0}")]
    NotLariat(String),
    /// The server's address cannot be dialled.
    #[error("{0} is not an https address")]
    Address(Url),
    /// The way through the proxy failed.
    #[error("proxy failed")]
    Proxy(#[from] ProxyError),
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// No trusted TLS connection.
    #[error("TLS with {address} failed; is the right CA pinned (CATTLE_CA_CHECKSUM)?")]
    Tls {
        /// Host and port.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A step took too long.
    #[error("{step} took more than {} s", PATIENCE.as_secs())]
    Late {
        /// Which.
        step: &'static str,
    },
    /// The connection broke in the handshake.
    #[error("connection lost in the handshake")]
    Lost(#[source] io::Error),
    /// No randomness.
    #[error("cannot make a nonce")]
    Key(#[from] KeyError),
}

impl DialError {
    /// The server's word on when to try again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejection) => rejection.retry_after(),
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Dialer {
    /// Dials `server` directly, with what is usual for all else.
    #[must_use]
    pub fn new(server: Url, trust: Trust) -> Self {
        Self {
            server,
            trust,
            proxies: Proxies::default(),
            server_key: None,
            memory: Memory::default(),
            muxes: Vec::new(),
            bulk_lane: true,
            network: Network::default(),
        }
    }

    /// Makes one attempt. The session that comes of it dials again by itself when it loses its
    /// carrier.
    ///
    /// Cancel safe: dropping the future closes what was opened.
    ///
    /// # Errors
    ///
    /// See [`DialError`].
    pub async fn dial(
        &self,
        key: &KeyPair,
        introduction: &Introduction,
    ) -> Result<Connected, DialError> {
        let tls = self.tls()?;
        let line = Line::connect(self, &tls).await?;
        let (welcome, carrier) = line.introduce(self, key, introduction, None).await?;
        let redialer = Redialer::new(self, tls, key, introduction, &welcome);
        Ok(self.begin(welcome, carrier, redialer))
    }

    /// The settings of TLS. Connections that share them share session tickets.
    fn tls(&self) -> Result<Arc<ClientConfig>, DialError> {
        let config = self.trust.client_config().map_err(|error| DialError::Tls {
            address: self.server.to_string(),
            source: io::Error::other(error),
        })?;
        Ok(Arc::new(config))
    }

    /// The session of a welcome that was checked.
    fn begin(&self, welcome: Welcome, carrier: Carrier, redialer: Redialer) -> Connected {
        let agreement = session::Agreement {
            id: welcome.session.clone(),
            side: Side::Agent,
            mux: welcome.mux.clone(),
            heartbeat: welcome.heartbeat(),
            resume_window: welcome.resume_window(),
            peer_streams: welcome.limits.streams,
            own_streams: Limits::default().streams,
            memory: self.memory.clone(),
            bulk_lane: self.bulk_lane && welcome.can(BULK_LANE),
        };
        let resumes = !agreement.resume_window.is_zero();
        let randomness = self.network.randomness();
        let keeper = resumes.then(|| Keeper::new(Arc::new(redialer), randomness));
        let (session, driver) = session::start(agreement, carrier, keeper);
        Connected {
            welcome,
            session,
            driver,
        }
    }

    fn muxes(&self) -> Vec<String> {
        match self.muxes.is_empty() {
            true => mux::SPOKEN.map(str::to_owned).to_vec(),
            false => self.muxes.clone(),
        }
    }

    fn host(&self) -> Result<String, DialError> {
        self.server
            .host_str()
            .filter(|_| self.server.scheme() == "https")
            .map(str::to_ascii_lowercase)
            .ok_or_else(|| DialError::Address(self.server.clone()))
    }

    fn place(&self) -> Result<(String, u16), DialError> {
        let port = self.server.port_or_known_default().unwrap_or(443);
        Ok((self.host()?, port))
    }

    fn check(&self, hello: &[u8], answer: &[u8]) -> Result<Welcome, DialError> {
        let Signed {
            payload: welcome,
            bytes,
            signature,
        } = match hello::decode_answer(answer).map_err(DialError::Answer)? {
            Answer::Welcome(signed) => signed,
            Answer::Rejected(rejection) => return Err(DialError::Rejected(rejection)),
        };
        let key = &welcome.server_key.0;
        let pinned = self.server_key.as_ref().is_none_or(|pinned| pinned == key);
        if !pinned || !identity::verify(key, &transcript::server(hello, &bytes), &signature) {
            return Err(DialError::ServerIdentity);
        }
        if welcome.version != VERSION || !self.muxes().contains(&welcome.mux) {
            let message = format!("it chose version {} over {}", welcome.version, welcome.mux);
            return Err(DialError::NotLariat(message));
        }
        Ok(welcome)
    }
}

/// A connection to the server whose upgrade was answered.
struct Line {
    carrier: Carrier,
    nonce: Vec<u8>,
    channel_binding: Option<Base64>,
}

impl Line {
    async fn connect(dialer: &Dialer, tls: &Arc<ClientConfig>) -> Result<Self, DialError> {
        let connection = reach(dialer).await?;
        Self::over(dialer, tls, connection).await
    }

    /// Over a connection that reaches the server.
    async fn over(
        dialer: &Dialer,
        tls: &Arc<ClientConfig>,
        connection: Box<dyn Io>,
    ) -> Result<Self, DialError> {
        let stream = Box::pin(secure(dialer, Arc::clone(tls), connection)).await?;
        let channel_binding = channel_binding(&stream);
        let (carrier, nonce) = Box::pin(upgrade(&dialer.server, stream)).await?;
        Ok(Self {
            carrier,
            nonce,
            channel_binding,
        })
    }

    /// Says who the agent is, and which session it wants to go on with, and checks the answer.
    async fn introduce(
        mut self,
        dialer: &Dialer,
        key: &KeyPair,
        introduction: &Introduction,
        resume: Option<Resume>,
    ) -> Result<(Welcome, Carrier), DialError> {
        let lane = match resume {
            Some(Resume { number: 1.., .. }) => Lane::Bulk,
            _ => Lane::Interactive,
        };
        let capabilities: &[&str] = if dialer.bulk_lane { &[BULK_LANE] } else { &[] };
        let payload = hello::payload_bytes(&Hello {
            versions: vec![VERSION],
            agent: introduction.agent.clone(),
            software: introduction.software.clone(),
            instance: introduction.instance.clone(),
            public_key: Base64(key.public_key().to_vec()),
            nonce: Base64(identity::random::<NONCE_LEN>()?.to_vec()),
            channel_binding: self.channel_binding,
            registration_token: introduction.registration_token.clone(),
            lane,
            resume,
            limits: Limits::default(),
            muxes: dialer.muxes(),
            capabilities: capabilities.iter().copied().map(str::to_owned).collect(),
        });
        let transcript = transcript::agent(&self.nonce, &dialer.host()?, &payload);
        let message =
            hello::encode_hello(&payload, &key.sign(&transcript)).map_err(DialError::Answer)?;
        let exchange = async {
            self.carrier.send(message).await?;
            self.carrier.receive().await
        };
        let answer = limited("hello", exchange).await?.map_err(DialError::Lost)?;
        Ok((dialer.check(&payload, &answer)?, self.carrier))
    }
}

/// A connection to the dialer's server, through its proxy if there is one.
async fn reach(dialer: &Dialer) -> Result<Box<dyn Io>, DialError> {
    let (host, port) = dialer.place()?;
    match dialer.proxies.for_host(&host, port) {
        Some(proxy) => {
            let connecting = proxy.connect(&dialer.network, &host, port);
            Ok(limited("proxy", connecting).await??)
        }
        None => {
            let connected = limited("connect", dialer.network.connect(&host, port)).await?;
            connected.map_err(|source| DialError::Connect {
                address: format!("{host}:{port}"),
                source,
            })
        }
    }
}

/// TLS with the dialer's server over a connection to it.
async fn secure(
    dialer: &Dialer,
    config: Arc<ClientConfig>,
    connection: Box<dyn Io>,
) -> Result<TlsStream<Box<dyn Io>>, DialError> {
    let (host, port) = dialer.place()?;
    let address = format!("{host}:{port}");
    let failed = |source| DialError::Tls {
        address: address.clone(),
        source,
    };
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| failed(io::Error::other(error)))?;
    let connector = TlsConnector::from(config);
    limited("TLS", connector.connect(name, connection))
        .await?
        .map_err(failed)
}

fn channel_binding(stream: &TlsStream<Box<dyn Io>>) -> Option<Base64> {
    let (_, connection) = stream.get_ref();
    connection
        .export_keying_material([0; 32], CHANNEL_BINDING_LABEL, None)
        .ok()
        .map(|value| Base64(value.to_vec()))
}

async fn upgrade(
    server: &Url,
    stream: TlsStream<Box<dyn Io>>,
) -> Result<(Carrier, Vec<u8>), DialError> {
    let authority = match (server.host_str().unwrap_or_default(), server.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let request = Request::get(format!("wss://{authority}{CONNECT_PATH}"))
        .header(header::HOST, authority)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key())
        .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        .body(())
        .map_err(|error| DialError::NotLariat(error.to_string()))?;
    let stream: Box<dyn Io> = Box::new(stream);
    let handshake = Box::pin(tokio_tungstenite::client_async_with_config(
        request,
        stream,
        Some(WebSocketConfig::default().read_buffer_size(RESPONSE)),
    ));
    let (socket, response) = limited("upgrade", handshake)
        .await?
        .map_err(refused_upgrade)?;
    let nonce = response
        .headers()
        .get(NONCE_HEADER)
        .and_then(|value| BASE64.decode(value.as_bytes()).ok())
        .filter(|nonce| nonce.len() == NONCE_LEN)
        .ok_or_else(|| DialError::NotLariat("no nonce in its upgrade response".into()))?;
    // A server says nothing before it has heard the hello.
    let carrier = Carrier::new(socket.into_inner(), Role::Client);
    Ok((carrier, nonce))
}

fn refused_upgrade(error: tungstenite::Error) -> DialError {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(&body[..body.len().min(512)]).into_owned();
            DialError::Refused {
                status: response.status(),
                retry_after: retry_after(response.headers()),
                body,
            }
        }
        tungstenite::Error::Io(error) => DialError::Lost(error),
        other => DialError::NotLariat(other.to_string()),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

async fn limited<T>(step: &'static str, future: impl Future<Output = T>) -> Result<T, DialError> {
    tokio::time::timeout(PATIENCE, future)
        .await
        .map_err(|_| DialError::Late { step })
}

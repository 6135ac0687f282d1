//! A peer whose every message is made by hand, on a carrier that the acceptor has taken; and an
//! honest one beside it.

use crate::{
    support::{acceptor, echo, open_to, pair_in_memory, serve_streams, within},
    wire::{self, link, link_data, link_frame},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, header};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};
use tunnel::{
    Io, Memory,
    accept::{AcceptError, Accepted, Acceptor, Admission},
    identity::KeyPair,
    session::{Driver, End, Incoming, Session, Stream},
};
use tunnel_proto::{
    NONCE_HEADER, SUBPROTOCOL,
    frame::{self, CloseCode, Frame},
    hello::{self, AgentKind, Base64, FAIR, Hello, Lane, Limits, VERSION},
    stream::Target,
    transcript,
};

/// What a session keeps for replay from the start.
pub const REPLAY: usize = 512 * 1024;

/// What a pipe holds of one direction.
pub const PIPE: usize = 16 * 1024;

/// Streams that the server of these tests takes; it bears twice as many.
pub const STREAMS: u32 = 16;

/// What its windows may grow by, and its replay.
pub const GROWTH: usize = 1024 * 1024;

/// A server with little memory.
pub fn frugal() -> Acceptor {
    let mut acceptor = acceptor();
    acceptor.require_channel_binding = false;
    acceptor.limits.streams = STREAMS;
    acceptor.memory = Memory::of(GROWTH);
    acceptor
}

/// A session that keeps to the rules, with a stream on which the agent gives back what it gets.
pub struct Honest {
    _ends: (Session, Session),
    stream: Stream,
}

impl Honest {
    pub async fn beside(acceptor: &Acceptor) -> Self {
        let mut acceptor = acceptor.clone();
        acceptor.require_channel_binding = true;
        let (near, far) = pair_in_memory(acceptor, FAIR).await;
        serve_streams(&far, echo);
        let mut stream = near.open(&open_to(Target::KubeApi)).await.unwrap();
        within(stream.confirmed()).await.unwrap();
        Self {
            _ends: (near, far),
            stream,
        }
    }

    /// One question and its answer.
    pub async fn is_served(&mut self) {
        let mut answer = [0; 8];
        self.stream.write_all(b"question").await.unwrap();
        within(self.stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"question");
    }
}

/// What the upgrade of a connection left behind: the peer's end, what it must sign, and what the
/// acceptor makes of it.
pub struct Upgraded {
    pub pipe: DuplexStream,
    pub nonce: Vec<u8>,
    pub accepting: JoinHandle<Result<Accepted, AcceptError>>,
}

/// An upgraded connection on which nothing was said yet.
pub fn upgraded(acceptor: &Acceptor) -> Upgraded {
    let request = Request::get("https://localhost/v3/connect")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
        .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        .body(())
        .unwrap();
    let (response, upgrade) = acceptor.upgrade(&request).unwrap();
    let nonce = BASE64.decode(&response.headers()[NONCE_HEADER]).unwrap();
    let (pipe, far) = tokio::io::duplex(PIPE);
    let acceptor = acceptor.clone();
    let accepting = tokio::spawn(async move {
        let admit = |_| async {
            Ok(Admission {
                bound_to: "c-hostile".into(),
                session: "s-hostile".into(),
                resume: None,
            })
        };
        acceptor.accept(far, &upgrade, None, admit).await
    });
    Upgraded {
        pipe,
        nonce,
        accepting,
    }
}

/// A peer's end of a carrier.
pub type Socket = WebSocketStream<Box<dyn Io>>;

/// A WebSocket that bounds nothing.
pub async fn socket(pipe: impl Io, role: Role) -> Socket {
    let pipe: Box<dyn Io> = Box::new(pipe);
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_message_size(None)
        .max_frame_size(None);
    WebSocketStream::from_raw_socket(pipe, role, Some(config)).await
}

/// What an honest agent says, for a multiplexer.
pub fn payload(key: &KeyPair, mux: &str) -> Hello {
    Hello {
        versions: vec![VERSION],
        agent: AgentKind::Cluster {
            cluster_uid: None,
            kubernetes_version: None,
        },
        software: "hostile/0".into(),
        instance: "i-1".into(),
        public_key: Base64(key.public_key().to_vec()),
        nonce: Base64(vec![7; 32]),
        channel_binding: None,
        registration_token: None,
        lane: Lane::Interactive,
        resume: None,
        limits: Limits {
            streams: STREAMS,
            ..Limits::default()
        },
        muxes: vec![mux.into()],
        capabilities: vec![],
    }
}

/// The message of a hello, signed.
pub fn signed(key: &KeyPair, nonce: &[u8], payload: &[u8]) -> Vec<u8> {
    let transcript = transcript::agent(nonce, "localhost", payload);
    hello::encode_hello(payload, &key.sign(&transcript)).unwrap()
}

/// See the [module](self).
pub struct Peer {
    socket: Socket,
    /// The other end of its session.
    pub session: Session,
    driver: JoinHandle<End>,
    /// The first number of its streams.
    pub first: u32,
    /// Bytes that it has sent on the link, and received.
    pub sent: u64,
    pub received: u64,
    told: u64,
    /// Whether it acknowledges.
    pub acknowledges: bool,
    /// Messages since it did last.
    untold: usize,
    pings: u64,
}

impl Peer {
    /// Shakes hands as it should.
    pub async fn connect(acceptor: &Acceptor, mux: &str) -> Self {
        let Upgraded {
            pipe,
            nonce,
            accepting,
        } = upgraded(acceptor);
        let mut socket = socket(pipe, Role::Client).await;
        let key = KeyPair::generate().unwrap();
        let payload = hello::payload_bytes(&payload(&key, mux));
        let hello = Message::Binary(signed(&key, &nonce, &payload).into());
        socket.send(hello).await.unwrap();
        let welcome = within(socket.next()).await.unwrap().unwrap().into_data();
        hello::decode_answer(&welcome).unwrap();
        let accepted = accepting.await.unwrap().unwrap();
        Self::of(socket, accepted.session, accepted.driver.unwrap(), 1)
    }

    /// What a handshake came to.
    pub fn of(socket: Socket, session: Session, driver: Driver, first: u32) -> Self {
        Self {
            socket,
            session,
            driver: tokio::spawn(driver),
            first,
            sent: 0,
            received: 0,
            told: 0,
            acknowledges: false,
            untold: 0,
            pings: 0,
        }
    }

    /// Lets the other end do this with each stream that the peer opens, until the session is over.
    pub fn served<F, Fut>(self, each: F) -> Self
    where
        F: Fn(Incoming) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let over = self.session.over().clone();
        serve_streams(&self.session, move |incoming| {
            let (serving, over) = (each(incoming), over.clone());
            async move {
                tokio::select! {
                    () = serving => {}
                    () = over.cancelled() => {}
                }
            }
        });
        self
    }

    /// Sends a message. `false`: nobody is there any more.
    pub async fn raw(&mut self, message: impl Into<Bytes>) -> bool {
        self.message(Message::Binary(message.into())).await
    }

    /// Sends a message of any kind.
    pub async fn message(&mut self, message: Message) -> bool {
        within(self.socket.send(message)).await.is_ok()
    }

    pub async fn frame(&mut self, kind: u8, body: &[u8]) -> bool {
        self.raw(link_frame(kind, body)).await
    }

    /// Sends bytes of the multiplexer, in messages that are as long as they may be.
    pub async fn mux(&mut self, bytes: &[u8]) -> bool {
        for payload in bytes.chunks(wire::MOST) {
            let message = link_data(self.sent, self.told, payload);
            if !self.raw(message).await {
                return false;
            }
            self.sent += payload.len() as u64;
        }
        true
    }

    /// What the other end says next: the frames of one message.
    pub async fn receive(&mut self) -> Option<Vec<Frame>> {
        let mut message = loop {
            match within(self.socket.next()).await?.ok()? {
                Message::Binary(message) => break message,
                Message::Close(_) => return None,
                _ => {}
            }
        };
        let mut frames = Vec::new();
        while let Some(frame) = frame::decode(&mut message).unwrap() {
            if let Frame::Data { payload, .. } = &frame {
                self.received += payload.len() as u64;
            }
            frames.push(frame);
        }
        self.untold += 1;
        let due = self.received - self.told >= 128 * 1024 || self.untold >= 512;
        if self.acknowledges && due {
            (self.told, self.untold) = (self.received, 0);
            self.frame(link::ACK, &self.told.to_be_bytes()).await;
        }
        Some(frames)
    }

    /// Waits until the other end has taken in all that was sent. Why the session is over, if it is.
    pub async fn settled(&mut self) -> Option<End> {
        self.pings += 1;
        let id = 1_000_000 + self.pings;
        if self.frame(link::PING, &id.to_be_bytes()).await {
            while let Some(frames) = self.receive().await {
                if frames.contains(&Frame::Pong(id)) {
                    // The link answers before the multiplexer has had what came before.
                    for _ in 0..3 {
                        tokio::task::yield_now().await;
                    }
                    match self.session.over().is_cancelled() {
                        true => break,
                        false => return None,
                    }
                }
            }
        }
        Some(self.end().await)
    }

    /// Says that it is there, and no more, for so long.
    pub async fn linger(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            assert_eq!(self.settled().await, None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    /// The end of the session, which has come or is about to.
    pub async fn end(&mut self) -> End {
        within(&mut self.driver).await.expect("the driver panicked")
    }

    /// Ends the session in order, on the other end, and leaves nothing of it.
    pub async fn finish(mut self) {
        self.session.close(CloseCode::Normal, "done");
        self.end().await;
    }
}

/// Takes a stream and reads nothing.
pub async fn hold(incoming: Incoming) {
    if let Ok(inbound) = incoming.preamble().await
        && let Ok(_stream) = inbound.accept().await
    {
        std::future::pending::<()>().await;
    }
}

/// Takes a stream, and writes for as long as anything is taken.
pub async fn pour(incoming: Incoming) {
    if let Ok(inbound) = incoming.preamble().await
        && let Ok(mut stream) = inbound.accept().await
    {
        let block = [7; 16 * 1024];
        while stream.write_all(&block).await.is_ok() {}
    }
}

/// Tasks that wait for the peer see the end of its session some polls later.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(holds(), "{what}");
}

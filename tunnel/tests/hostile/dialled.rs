//! Servers that keep to no rule, which an honest agent has dialled.

use crate::{
    Heap, alone,
    peer::{PIPE, Peer, Socket, socket},
    support::{certificates, dial, within},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::{SinkExt as _, StreamExt as _, future::BoxFuture};
use std::{
    io,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::{Message, handshake::derive_accept_key, protocol::Role};
use tunnel::{
    Io, Memory,
    dial::{Connect, Connected, DialError, Dialer, Network, Trust},
    identity::KeyPair,
};
use tunnel_proto::{
    MAX_MESSAGE, NONCE_HEADER, SUBPROTOCOL,
    hello::{self, Base64, FAIR, Limits, MAX_HELLO, VERSION, Welcome},
    transcript,
};

/// One connection, and no other.
struct Once(Mutex<Option<DuplexStream>>);

impl Connect for Once {
    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let pipe = self.0.lock().unwrap().take();
        Box::pin(async {
            let pipe: Box<dyn Io> = Box::new(pipe.ok_or(io::ErrorKind::ConnectionRefused)?);
            Ok(pipe)
        })
    }
}

/// An agent that has said its hello and waits for the answer.
struct Waiting {
    socket: Socket,
    hello: Box<[u8]>,
    dialling: JoinHandle<Result<Connected, DialError>>,
}

async fn waiting(memory: &Memory, mux: &str) -> Waiting {
    let (ca_pem, tls) = certificates();
    let (near, far) = tokio::io::duplex(PIPE);
    let trust = Trust::pem(ca_pem.as_bytes()).unwrap();
    let mut dialer = Dialer::new("https://localhost".parse().unwrap(), trust);
    dialer.network = Network::new(Arc::new(Once(Mutex::new(Some(near)))), 1);
    dialer.muxes = vec![mux.to_owned()];
    dialer.memory = memory.clone();
    let dialling = tokio::spawn(async move { dial(&dialer).await });
    let mut stream = TlsAcceptor::from(tls).accept(far).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let key = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let accept = derive_accept_key(key.unwrap().1.as_bytes());
    let nonce = BASE64.encode([7; 32]);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\
         {NONCE_HEADER}: {nonce}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    let mut socket = socket(stream, Role::Server).await;
    let hello = within(socket.next()).await.unwrap().unwrap().into_data();
    Waiting {
        socket,
        hello: hello::decode_hello(&hello).unwrap().bytes,
        dialling,
    }
}

/// The server's end of a session that an agent with this memory has taken for one of its server.
pub async fn dialled(memory: &Memory, mux: &str) -> Peer {
    let mut waiting = waiting(memory, mux).await;
    let key = KeyPair::generate().unwrap();
    let payload = hello::payload_bytes(&Welcome {
        version: VERSION,
        session: "s-hostile".into(),
        replica: "r-1".into(),
        bound_to: "c-test".into(),
        received: 0,
        heartbeat_ms: 15_000,
        resume_window_ms: 0,
        capabilities: Vec::new(),
        limits: Limits::default(),
        mux: mux.into(),
        server_key: Base64(key.public_key().to_vec()),
    });
    let signature = key.sign(&transcript::server(&waiting.hello, &payload));
    let welcome = hello::encode_welcome(&payload, &signature).unwrap();
    waiting.socket.send(Message::binary(welcome)).await.unwrap();
    let connected = waiting.dialling.await.unwrap().unwrap();
    Peer::of(waiting.socket, connected.session, connected.driver, 2)
}

#[test]
fn an_answer_that_is_too_long_too_deep_or_none_costs_the_connection() {
    alone(async {
        let memory = Memory::of(0);
        let deep = r#"{"welcome":{"payload":"#.to_owned() + &"[".repeat(8_000);
        let many = format!(r#"{{"rejected":[{}]}}"#, vec!["[]"; 5_000].join(","));
        for message in [
            Message::binary(vec![b' '; MAX_HELLO + 1]),
            Message::binary(vec![b'['; MAX_MESSAGE]),
            Message::binary(vec![0; MAX_MESSAGE + 1]),
            Message::binary(deep),
            Message::binary(many),
            Message::binary("{}"),
            Message::binary(vec![]),
            Message::text("{}"),
        ] {
            let mut waiting = waiting(&memory, FAIR).await;
            let heap = Heap::from_now_on();
            let _ = waiting.socket.send(message).await;
            let error = within(waiting.dialling).await.unwrap().err().unwrap();
            assert!(
                matches!(error, DialError::Answer(_) | DialError::Lost(_)),
                "{error:?}"
            );
            heap.is_below(768 * 1024, "an answer that is none");
        }
    });
}

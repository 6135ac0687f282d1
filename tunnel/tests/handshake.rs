//! The first exchange: who is taken, who is told what.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::sync::Arc;
use support::{Server, acceptor, dial, introduction, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tunnel::{
    accept::AcceptError,
    dial::{DialError, PinError, Proxies, Trust, fetch_pinned},
    identity::KeyPair,
};
use tunnel_proto::hello::{Rejection, RejectionCode};

#[tokio::test]
async fn an_agent_is_taken_and_both_ends_see_one_tls_connection() {
    let mut server = Server::start(acceptor(), |_| Ok(())).await;
    let connected = dial(&server.dialer()).await.unwrap();
    assert_eq!(connected.welcome.bound_to, "c-test");
    let accepted = server.accepted().await.unwrap();
    assert_eq!(accepted.verified.channel_bound, Some(true));
}

#[tokio::test]
async fn a_rejection_reaches_the_agent_with_sentence_and_delay() {
    let admit = |_: &_| {
        let mut rejection = Rejection::new(RejectionCode::KeyMismatch, "another key is bound");
        rejection.retry_after_ms = Some(7_000);
        Err(rejection)
    };
    let mut server = Server::start(acceptor(), admit).await;
    let error = dial(&server.dialer()).await.err().unwrap();
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(7)));
    assert!(error.to_string().contains("another key is bound"));
    assert!(matches!(
        server.accepted().await,
        Err(AcceptError::Rejected(_))
    ));
}

#[tokio::test]
async fn another_server_key_than_the_pinned_one_is_refused() {
    let server = Server::start(acceptor(), |_| Ok(())).await;
    let mut dialer = server.dialer();
    dialer.server_key = Some(KeyPair::generate().unwrap().public_key().to_vec());
    assert!(matches!(
        dial(&dialer).await.err(),
        Some(DialError::ServerIdentity)
    ));
}

#[tokio::test]
async fn the_name_that_was_dialled_is_signed_and_every_upgrade_has_its_own_nonce() {
    let mut server = Server::start(acceptor(), |_| Ok(())).await;
    // 127.0.0.1 is the same listener; the transcript names what was dialled, so both work …
    let mut dialer = server.dialer();
    dialer.server = format!("https://127.0.0.1:{}", server.address.port())
        .parse()
        .unwrap();
    dial(&dialer).await.unwrap();
    server.accepted().await.unwrap();
    // … and a replayed hello does not, because the nonce is new each time.
    let first = raw_upgrade(&server).await;
    let second = raw_upgrade(&server).await;
    assert_ne!(first, second);
}

async fn raw_upgrade(server: &Server) -> String {
    let mut stream = raw_tls(server).await;
    let request = "GET /v3/connect HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: lariat.v1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // RFC 6455, section 1.3: the answer to exactly this key.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    let nonce = head
        .lines()
        .find_map(|line| line.strip_prefix("x-lariat-nonce: "))
        .unwrap();
    nonce.to_owned()
}

async fn raw_tls(server: &Server) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls_pki_types::CertificateDer::from_pem_slice(server.ca_pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let name = "localhost".try_into().unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap()
}

#[tokio::test]
async fn garbage_after_the_upgrade_and_silence_end_the_connection() {
    for garbage in [&b"\xff\xff\xff\xff not a frame"[..], b"", &[0x82; 100]] {
        let mut server = Server::start(acceptor(), |_| Ok(())).await;
        let mut stream = raw_tls(&server).await;
        let request = "GET /v3/connect HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: lariat.v0, lariat.v1\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let error = server.accepted().await.err().unwrap();
        let expected = matches!(
            error,
            AcceptError::Hello(_) | AcceptError::Late(_) | AcceptError::Lost(_)
        );
        assert!(expected, "{error:?}");
    }
}

#[tokio::test]
async fn an_old_protocol_gets_426() {
    let server = Server::start(acceptor(), |_| Ok(())).await;
    let mut stream = raw_tls(&server).await;
    let request = "GET /v3/connect HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: lariat.v0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    within(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 426");
}

#[tokio::test]
async fn a_pinned_ca_is_fetched_and_a_wrong_pin_named() {
    let server = Server::start(acceptor(), |_| Ok(())).await;
    let mut dialer = server.dialer();
    dialer.trust = Trust::Platform;
    assert!(matches!(
        dial(&dialer).await.err(),
        Some(DialError::Tls { .. })
    ));
    let Err(PinError::Mismatch { found, .. }) = within(fetch_pinned(&dialer, "00ff")).await else {
        panic!("a wrong pin was taken");
    };
    dialer.trust = within(fetch_pinned(&dialer, &found.to_uppercase()))
        .await
        .unwrap();
    dial(&dialer).await.unwrap();
}

#[tokio::test]
async fn the_tunnel_goes_through_a_proxy_that_wants_a_password() {
    // A proxy of our own logic's wishes only; the end-to-end tests use squid.
    let server = Server::start(acceptor(), |_| Ok(())).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let upstream = server.address;
    tokio::spawn(async move {
        while let Ok((mut inbound, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(inbound.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                assert!(
                    head.starts_with("CONNECT lariat.example:443 HTTP/1.1\r\n"),
                    "{head}"
                );
                if !head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
                    inbound
                        .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                        .await
                        .unwrap();
                    return;
                }
                inbound
                    .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    .await
                    .unwrap();
                let mut outbound = tokio::net::TcpStream::connect(upstream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await;
            });
        }
    });
    let mut dialer = server.dialer();
    dialer.server = "https://lariat.example".parse().unwrap();
    dialer.proxies = Proxies::parse(&format!("http://{proxy}"), "").unwrap();
    let error = dial(&dialer).await.err().unwrap();
    assert!(matches!(&error, DialError::Proxy(_)), "{error:?}");
    dialer.proxies = Proxies::parse(&format!("http://me:secret@{proxy}"), "").unwrap();
    // Through the proxy as far as TLS, where the test server's certificate has another name.
    let error = within(dialer.dial(&KeyPair::generate().unwrap(), &introduction()))
        .await
        .err()
        .unwrap();
    assert!(matches!(&error, DialError::Tls { .. }), "{error:?}");
}

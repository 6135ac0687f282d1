//! The accepting end of a tunnel with no server around it: what one tunnel adds to bare TLS.

use crate::backend::Tls;
use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tunnel::{
    Memory, ReadAhead,
    accept::{Acceptor, Admission, Upgrade},
    dial::{Dialer, Trust},
    identity::KeyPair,
    session::Session,
};
use tunnel_proto::hello::Limits;

/// Listens on loopback; returns how to dial in, and where the sessions come out.
///
/// # Errors
/// When there is no port.
pub async fn listen(tls: &Tls) -> anyhow::Result<(Dialer, mpsc::Receiver<Session>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let dialer = dialer(listener.local_addr()?.port(), &tls.ca_pem)?;
    let (sessions, out) = mpsc::channel(1);
    tokio::spawn(accept(listener, Arc::clone(&tls.server), sessions)?);
    Ok((dialer, out))
}

/// How to dial in at a port of loopback.
///
/// # Errors
/// When the authority's certificate is none.
pub fn dialer(port: u16, ca_pem: &str) -> anyhow::Result<Dialer> {
    Ok(Dialer::new(
        format!("https://localhost:{port}").parse()?,
        Trust::pem(ca_pem.as_bytes())?,
    ))
}

/// Takes agents in, for ever; their sessions go to `sessions`.
///
/// # Errors
/// When there is no randomness for a key.
pub fn accept(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    sessions: mpsc::Sender<Session>,
) -> anyhow::Result<impl Future<Output = ()>> {
    let acceptor = Acceptor {
        key: Arc::new(KeyPair::generate()?),
        replica: "bench".into(),
        heartbeat: Duration::from_secs(15),
        patience: Duration::from_secs(10),
        resume_window: Duration::from_secs(180),
        memory: Memory::default(),
        limits: Limits::default(),
        require_channel_binding: false,
    };
    let tls = TlsAcceptor::from(tls);
    Ok(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp, tls.clone(), acceptor.clone(), sessions.clone()));
        }
    })
}

async fn serve(
    tcp: TcpStream,
    tls: TlsAcceptor,
    acceptor: Acceptor,
    sessions: mpsc::Sender<Session>,
) -> anyhow::Result<()> {
    tcp.set_nodelay(true)?;
    let stream = tls.accept(ReadAhead::new(tcp)).await?;
    let service = service_fn(|mut request: Request<Incoming>| {
        let (acceptor, sessions) = (acceptor.clone(), sessions.clone());
        async move {
            let (response, upgrade) = acceptor.upgrade(&request)?;
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let io = TokioIo::new(upgraded.await?);
                run(io, &acceptor, &upgrade, sessions).await
            });
            anyhow::Ok(response.map(|()| Empty::<Bytes>::new()))
        }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
        .context("connection of the agent")
}

/// The handshake is large, and over soon: the task that lives as long as the session does not hold it.
async fn run(
    io: TokioIo<hyper::upgrade::Upgraded>,
    acceptor: &Acceptor,
    upgrade: &Upgrade,
    sessions: mpsc::Sender<Session>,
) -> anyhow::Result<()> {
    let admission = async |_| {
        Ok(Admission {
            bound_to: "c-bench".into(),
            session: "s-bench".into(),
            resume: None,
        })
    };
    let accepted = acceptor.accept(io, upgrade, None, admission).await?;
    tokio::spawn(accepted.driver.context("a new session has its driver")?);
    sessions.send(accepted.session).await?;
    Ok(())
}

//! The thread that serves, and what its requests share.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::{oauth, oauth::Grants, reply, reply::Reply, rest, unusable, world::World};
use crate::{Result, pki::Identity};

const LONGEST_BODY: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) url: String,
    pub(super) paused: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) world: World,
    pub(super) grants: Grants,
    pub(super) requests: u64,
}

/// A request that has been read.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: Bytes,
}

impl Shared {
    pub(super) fn new(world: World, url: String) -> Self {
        let state = State {
            world,
            ..State::default()
        };
        Self {
            url,
            paused: watch::Sender::new(false),
            state: Mutex::new(state),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// A header, if it is text.
    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        (self.headers.get(name))
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// A parameter of the query.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let mut pairs = self.url.query_pairs();
        (pairs.find(|(key, _)| key == name)).map(|(_, value)| value.into_owned())
    }

    /// A field of the form that it brings.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(&self.body)
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

#[derive(Debug)]
pub(super) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(
        port: u16,
        tls: Option<Arc<ServerConfig>>,
        shared: &Arc<Shared>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new()
            .name("github".into())
            .spawn(move || {
                // Connections are tasks of the runtime, and end with it.
                runtime.block_on(async {
                    tokio::select! {
                        result = accept(listener, tls.map(TlsAcceptor::from), &shared) => {
                            let Err(error) = result;
                            tracing::error!(%error, "the stand-in for GitHub cannot go on");
                        }
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// TLS with this certificate.
pub(super) fn tls(identity: &Identity) -> Result<Arc<ServerConfig>> {
    let certificate =
        CertificateDer::from_pem_slice(identity.certificate.as_bytes()).map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(unusable)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(unusable)?;
    Ok(Arc::new(config))
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: &Arc<Shared>,
) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (tls, shared) = (tls.clone(), Arc::clone(shared));
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let served = match tls {
                None => serve(TokioIo::new(stream), service).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(TokioIo::new(stream), service).await,
                    Err(error) => Err(error.to_string()),
                },
            };
            if let Err(error) = served {
                tracing::debug!(error, "a connection to the stand-in for GitHub ended");
            }
        });
    }
}

async fn serve<I, S>(stream: I, service: S) -> Result<(), String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = Full<Bytes>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    (http1::Builder::new()
        .serve_connection(stream, service)
        .await)
        .map_err(|error| error.to_string())
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(reply_to(&shared, request).await.into_response())
}

async fn reply_to(shared: &Shared, request: Request<Incoming>) -> Reply {
    // The sender is in what is shared, so this ends with a value.
    let _ = (shared.paused.subscribe())
        .wait_for(|is_paused| !is_paused)
        .await;
    let (head, body) = request.into_parts();
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let Ok(url) = Url::parse(&format!("{}{target}", shared.url)) else {
        return reply::page(400, "this is no URL");
    };
    let body = match Limited::new(body, LONGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return reply::page(400, &error.to_string()),
    };
    let call = Call {
        method: head.method,
        url,
        headers: head.headers,
        body,
    };
    match oauth::answer(shared, &call) {
        Some(reply) => reply,
        None => rest::answer(shared, &call),
    }
}

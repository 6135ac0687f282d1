//! An HTTP server that does as little as possible, over TLS or a stream of a tunnel: what is
//! measured with it is the way to it.

use crate::cluster::Cluster;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{convert::Infallible, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tunnel::http::Asker;

/// `/bulk/N` answers N MiB in pieces of this size.
const PIECE: usize = 64 * 1024;

/// TLS of both sides of a server for `localhost`.
#[derive(Clone)]
pub struct Tls {
    /// Of the server.
    pub server: Arc<rustls::ServerConfig>,
    /// Of its clients.
    pub client: Arc<rustls::ClientConfig>,
    /// What the clients trust.
    pub ca_pem: String,
    /// The same, in DER.
    pub ca_der: Vec<u8>,
}

/// New certificates with ECDSA P-256 keys.
///
/// # Errors
/// When a certificate cannot be made.
pub fn tls() -> anyhow::Result<Tls> {
    Certificates::generate()?.tls()
}

/// A certificate for `localhost` with an ECDSA P-256 key, and the authority that vouches for it, in PEM.
pub struct Certificates {
    /// Of the authority.
    pub ca: String,
    /// Of the server.
    pub certificate: String,
    /// The server's key.
    pub key: String,
}

impl Certificates {
    /// New ones.
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub fn generate() -> anyhow::Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(Vec::new())?;
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "bench CA");
        let ca = params.self_signed(&key)?;
        let issuer = rcgen::Issuer::from_params(&params, &key);
        let leaf_key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
        // OpenSSL takes a certificate for its own authority's that has the same name.
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "localhost");
        let leaf = params.signed_by(&leaf_key, &issuer)?;
        Ok(Self {
            ca: ca.pem(),
            certificate: leaf.pem(),
            key: leaf_key.serialize_pem(),
        })
    }

    /// TLS of both sides.
    ///
    /// # Errors
    /// When they are not certificates.
    pub fn tls(&self) -> anyhow::Result<Tls> {
        let ca = CertificateDer::from_pem_slice(self.ca.as_bytes())?;
        let leaf = CertificateDer::from_pem_slice(self.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let server = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.clone())?;
        let client = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls {
            server: Arc::new(server),
            client: Arc::new(client),
            ca_pem: self.ca.clone(),
            ca_der: ca.to_vec(),
        })
    }
}

/// Serves over TLS on a port of loopback, which is returned, until the runtime ends.
///
/// # Errors
/// When there is no port.
pub async fn listen(tls: Arc<rustls::ServerConfig>) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let acceptor = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                tcp.set_nodelay(true)?;
                serve(acceptor.accept(tcp).await?, None).await?;
                anyhow::Ok(())
            });
        }
    });
    Ok(port)
}

/// Serves one connection: the objects of `cluster`, if there are any, under `/api` and `/apis`.
///
/// # Errors
/// When it breaks.
pub async fn serve(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    cluster: Option<Arc<Cluster>>,
) -> Result<(), hyper::Error> {
    let service = service_fn(move |mut request| {
        let cluster = cluster.clone();
        async move {
            let asker = Asker::of(&mut request);
            let response = answer(request, cluster.as_ref()).await;
            Ok::<_, Infallible>(asker.answer(response, &TaskTracker::new()))
        }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades()
        .await
}

/// Answers one request.
pub(crate) async fn answer(
    request: Request<Incoming>,
    cluster: Option<&Arc<Cluster>>,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let path = request.uri().path();
    if let Some(cluster) = cluster
        && (path.starts_with("/apis/") || path.starts_with("/api/"))
    {
        return cluster.answer(request).await;
    }
    if let Some(size) = path
        .strip_prefix("/bulk/")
        .and_then(|size| size.parse::<usize>().ok())
    {
        let piece = Bytes::from(vec![0x5a; PIECE]);
        let pieces = (0..size * (1 << 20) / PIECE).map(move |_| Ok(Frame::data(piece.clone())));
        return Response::new(StreamBody::new(futures::stream::iter(pieces)).boxed_unsync());
    }
    let body = match path {
        "/1k" => Bytes::from_static(&[b'x'; 1024]),
        "/readyz" | "/version" => Bytes::from_static(b"ok"),
        _ => {
            let mut missing = Response::new(Full::default().boxed_unsync());
            *missing.status_mut() = StatusCode::NOT_FOUND;
            return missing;
        }
    };
    Response::new(Full::new(body).boxed_unsync())
}

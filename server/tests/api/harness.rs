//! A server and a client of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use lariat_server::Server;
use lariat_server::clock::Clock;
use lariat_server::config::{Config, Sources};
use lariat_server::state::App;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "correct horse battery";

/// Longest wait for anything in these tests.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A server in a folder of its own, ended when this is dropped.
pub struct TestServer {
    pub address: SocketAddr,
    pub authority: String,
    pub app: Arc<App>,
    pub shutdown: CancellationToken,
    pub running: tokio::task::JoinHandle<usize>,
    pub folder: tempfile::TempDir,
    ahead: Arc<AtomicI64>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with more settings.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("audit");
        let given = |name: &str| match name {
            "LARIAT_DATA_DIR" => Some(folder.path().join("data").display().to_string()),
            "LARIAT_LISTEN" => Some("127.0.0.1:0".to_owned()),
            "LARIAT_BOOTSTRAP_PASSWORD" => Some(PASSWORD.to_owned()),
            "LARIAT_AUDIT_LOG" => Some(audit.display().to_string()),
            _ => {
                let found = settings.iter().find(|(setting, _)| *setting == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        let nothing = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let config = Config::new(&Sources::collect([], given, nothing)).unwrap();
        let ahead = Arc::new(AtomicI64::new(0));
        let clock = Clock::new({
            let ahead = Arc::clone(&ahead);
            move || Timestamp::now() + SignedDuration::from_secs(ahead.load(Ordering::SeqCst))
        });
        let shutdown = CancellationToken::new();
        let server = Server::bind(config, clock, shutdown.clone()).await.unwrap();
        let address = server.address().unwrap();
        let authority = server.app().certificates.trusted().to_string();
        let app = Arc::clone(server.app());
        let running = tokio::spawn(server.run());
        Self {
            address,
            authority,
            app,
            shutdown,
            running,
            folder,
            ahead,
        }
    }

    /// Moves the server's clock.
    pub fn advance(&self, by: Duration) {
        self.ahead
            .fetch_add(by.as_secs().cast_signed(), Ordering::SeqCst);
    }

    pub fn audit_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("audit")).unwrap()
    }

    /// A client that has not logged in.
    pub fn stranger(&self) -> Client {
        Client::new(self.address, &self.authority)
    }

    /// A client of the first administrator.
    pub async fn admin(&self) -> Client {
        self.login("admin", PASSWORD).await
    }

    pub async fn login(&self, username: &str, password: &str) -> Client {
        let stranger = self.stranger();
        let answer = stranger.log_in(username, password).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        stranger.with_token(answer.json()["token"].as_str().unwrap())
    }

    /// A new user, logged in. Returns the id as well.
    pub async fn user(&self, admin: &Client, username: &str) -> (Client, String) {
        let user = object(
            "User",
            "",
            json!({"username": username, "password": PASSWORD}),
        );
        let made = admin.post(&users(), &user).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.json());
        let id = made.json()["metadata"]["name"].as_str().unwrap().to_owned();
        (self.login(username, PASSWORD).await, id)
    }
}

/// Asks a server, each request on a connection of its own.
#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub tls: Arc<rustls::ClientConfig>,
    pub token: Option<String>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The message of a Status, after checking that it is one with that code.
    pub fn refusal(&self, status: u16) -> String {
        let value = self.json();
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(value["kind"], "Status");
        assert_eq!(value["code"], status);
        value["message"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn new(address: SocketAddr, authority: &str) -> Self {
        Self {
            address,
            tls: tls(authority),
            token: None,
        }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// Changes fields of an object, as a merge patch says.
    pub async fn patch(&self, path: &str, patch: &Value) -> Answer {
        let request = Request::patch(path).header("content-type", "application/merge-patch+json");
        let body = Full::new(patch.to_string().into());
        self.answer(request.body(body).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub async fn log_in(&self, username: &str, password: &str) -> Answer {
        let input = json!({"username": username, "password": password});
        self.post("/v3-public/localProviders/local?action=login", &input)
            .await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = match body {
            Some(_) => request.header("content-type", "application/json"),
            None => request,
        };
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        self.answer(request.body(Full::new(bytes)).unwrap()).await
    }

    pub async fn answer(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.request(request).await;
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Sends a request, with the token, and returns the answer as soon as it begins.
    pub async fn request<B>(&self, mut request: Request<B>) -> http::Response<Incoming>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        request
            .headers_mut()
            .insert("host", "localhost".parse().unwrap());
        let stream = self.connect("localhost").await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let answered = tokio::time::timeout(LIMIT, sender.send_request(request)).await;
        answered.expect("an answer in time").unwrap()
    }

    pub async fn connect(&self, server_name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(server_name.to_owned()).unwrap();
        TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await
    }
}

fn tls(authority: &str) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// An object of the management API, without a name if that is empty.
pub fn object(kind: &str, name: &str, rest: Value) -> Value {
    let mut object = rest;
    object["apiVersion"] = json!("management.cattle.io/v3");
    object["kind"] = json!(kind);
    if !name.is_empty() {
        object["metadata"]["name"] = json!(name);
    }
    object
}

pub fn clusters() -> String {
    "/apis/management.cattle.io/v3/clusters".to_owned()
}

pub fn cluster(name: &str) -> String {
    format!("{}/{name}", clusters())
}

pub fn users() -> String {
    "/apis/management.cattle.io/v3/users".to_owned()
}

pub fn tokens() -> String {
    "/apis/management.cattle.io/v3/tokens".to_owned()
}

pub fn registration_tokens(cluster: &str) -> String {
    format!("/apis/management.cattle.io/v3/namespaces/{cluster}/clusterregistrationtokens")
}

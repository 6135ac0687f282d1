//! The server, asked.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use futures::Stream;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use kube::api::{Api, ListParams};
use kube::client::{Body, ConfigExt};
use lariat_api::{Cluster, Kind};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use tower::ServiceBuilder;

use crate::profiles::Profile;

/// How long a connection, and the answer to a short question, may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A server and a token for it.
#[derive(Clone)]
pub struct Server {
    profile: Profile,
    client: kube::Client,
}

impl Server {
    /// A client of a server. Does not connect yet.
    pub fn connect(profile: &Profile) -> anyhow::Result<Self> {
        let url = &profile.url;
        let address = url
            .parse()
            .with_context(|| format!("{url:?} is not a URL"))?;
        let mut config = kube::Config::new(address);
        config.connect_timeout = Some(TIMEOUT);
        if let Some(pem) = &profile.authority {
            config.root_cert = Some(certificates(pem)?);
        }
        if !profile.token.is_empty() {
            config.auth_info.token = Some(profile.token.clone().into());
        }
        // Not kube's own stack: that one asks again for minutes where a person wants to be told.
        let connector = config.rustls_https_connector()?;
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer()?)
            .map_err(|error| Box::new(error) as tower::BoxError)
            .service(HyperClient::builder(TokioExecutor::new()).build(connector));
        Ok(Self {
            profile: profile.clone(),
            client: kube::Client::new(service, "default"),
        })
    }

    /// URL without a slash at its end.
    pub fn url(&self) -> &str {
        &self.profile.url
    }

    /// Name of the token.
    pub fn token_name(&self) -> &str {
        self.profile.token.split(':').next().unwrap_or_default()
    }

    /// Typed access to a kind without namespaces.
    pub fn all<K: Kind<Scope = kube::core::ClusterResourceScope>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// Typed access to a kind in a namespace.
    pub fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Kind<Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Typed access to a kind in all namespaces.
    pub fn everywhere<K: Kind>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// Fetches what is long, piece by piece. Each piece must come in time.
    pub async fn download(
        &self,
        path: &str,
    ) -> anyhow::Result<impl Stream<Item = anyhow::Result<Bytes>> + use<>> {
        let request = Request::get(path).body(Body::empty())?;
        let sent = tokio::time::timeout(TIMEOUT, self.client.send(request)).await;
        let response = sent.with_context(|| self.silent())?;
        let response = response.map_err(|error| self.explain(error))?;
        let (status, body) = (response.status(), response.into_body());
        if !status.is_success() {
            let body = tokio::time::timeout(TIMEOUT, body.collect()).await;
            let body = body.with_context(|| self.silent())??.to_bytes();
            let value: Value = serde_json::from_slice(&body).unwrap_or_default();
            let message = value["message"].as_str().unwrap_or("no reason was given");
            return Err(self.refused(status, message));
        }
        let silent = self.silent();
        Ok(futures::stream::try_unfold(body, move |mut body| {
            let silent = silent.clone();
            async move {
                loop {
                    let frame = tokio::time::timeout(TIMEOUT, body.frame()).await;
                    let Some(frame) = frame.context(silent.clone())? else {
                        return Ok(None);
                    };
                    if let Ok(data) = frame?.into_data() {
                        return Ok(Some((data, body)));
                    }
                }
            }
        }))
    }

    /// The cluster with that id, or the only one with that name.
    pub async fn cluster(&self, wanted: &str) -> anyhow::Result<Cluster> {
        let clusters = self.clusters().await?;
        if let Some(cluster) = clusters.iter().find(|cluster| cluster.name() == wanted) {
            return Ok(cluster.clone());
        }
        let mut named = clusters
            .into_iter()
            .filter(|cluster| cluster.display_name() == wanted);
        let Some(first) = named.next() else {
            bail!("there is no cluster {wanted:?}; list them with: lariat cluster list");
        };
        let others: Vec<_> = named.map(|cluster| cluster.name().to_owned()).collect();
        if !others.is_empty() {
            let (first, others) = (first.name(), others.join(", "));
            bail!("several clusters are called {wanted:?}; name one by its id: {first}, {others}");
        }
        Ok(first)
    }

    /// All clusters that you may see, by name.
    pub async fn clusters(&self) -> anyhow::Result<Vec<Cluster>> {
        let api = self.all::<Cluster>();
        let listed = api.list(&ListParams::default()).await;
        let mut clusters = listed.map_err(|error| self.explain(error))?.items;
        clusters.sort_by(|one, other| one.display_name().cmp(other.display_name()));
        Ok(clusters)
    }

    /// Sends a request and parses the JSON of its answer (null when there is none).
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, value) = self.ask(method, path, body).await?;
        if status.is_success() {
            return Ok(value);
        }
        let message = value["message"].as_str().unwrap_or("no reason was given");
        Err(self.refused(status, message))
    }

    /// The same, whatever the status of the answer.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let request = Request::builder().method(method).uri(path);
        let request = if body.is_null() {
            request.body(Body::empty())
        } else {
            let request = request.header("content-type", "application/json");
            request.body(Body::from(body.to_string().into_bytes()))
        };
        let exchange = async {
            let response = self.client.send(request?).await;
            let response = response.map_err(|error| self.explain(error))?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, body))
        };
        let answered = tokio::time::timeout(TIMEOUT, exchange).await;
        let (status, body) = answered.with_context(|| self.silent())??;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Asks whether the server is there.
    pub async fn ping(&self) -> Result<(), kube::Error> {
        let request = Request::get("/ping")
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        self.client.request_text(request).await.map(drop)
    }

    /// Whether nobody answers at its address, or only something that cannot reach it.
    pub async fn is_away(&self) -> bool {
        let asked = tokio::time::timeout(TIMEOUT, self.ping()).await;
        match asked {
            Ok(Ok(())) => false,
            Ok(Err(kube::Error::Api(status))) => status.code >= 500,
            Ok(Err(_)) | Err(_) => true,
        }
    }

    /// An error as a sentence with what to do about it.
    pub fn explain(&self, error: kube::Error) -> anyhow::Error {
        match error {
            kube::Error::Api(status) => {
                let code = StatusCode::from_u16(status.code).unwrap_or_default();
                self.refused(code, &status.message)
            }
            error => {
                let mut cause = String::new();
                let mut next: Option<&dyn std::error::Error> = Some(&error);
                while let Some(error) = next {
                    cause = error.to_string();
                    next = error.source();
                }
                let url = self.url();
                anyhow!("cannot reach {url} ({cause}); check the address and the network")
            }
        }
    }

    fn refused(&self, status: StatusCode, message: &str) -> anyhow::Error {
        match status {
            StatusCode::UNAUTHORIZED => {
                anyhow!("{message}; log in with: lariat login {}", self.url())
            }
            _ => anyhow!("{message}"),
        }
    }

    fn silent(&self) -> String {
        let (url, seconds) = (self.url(), TIMEOUT.as_secs());
        format!("{url} did not answer within {seconds} s")
    }
}

/// Certificates (DER) in a PEM text.
pub fn certificates(pem: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|certificate| Ok(certificate?.to_vec()))
        .collect::<Result<Vec<_>, rustls_pki_types::pem::Error>>()
        .map_err(|error| anyhow!("the server's CA is not PEM: {error}"))?;
    if certificates.is_empty() {
        bail!("the server's CA holds no certificate");
    }
    Ok(certificates)
}

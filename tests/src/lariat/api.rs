//! The management API as a script uses it.

use anyhow::{Context as _, bail};
use http::{Method, Request, header};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tunnel::dial::{Dialer, Trust};

/// A logged-in user.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    /// The bearer token.
    pub token: String,
}

/// What connects a cluster.
#[derive(Clone, Debug)]
pub struct Import {
    /// The registration token.
    pub token: String,
    /// Where the manifest is.
    pub manifest_url: String,
}

impl Api {
    /// Logs in with a password.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn login(url: &str, username: &str, password: &str) -> anyhow::Result<Self> {
        let path = "/v3-public/localProviders/local?action=login";
        Self::login_at(url, path, username, password).await
    }

    /// Logs in by another login provider.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn login_at(
        url: &str,
        path: &str,
        username: &str,
        password: &str,
    ) -> anyhow::Result<Self> {
        let ca = Self::fetch_ca(url).await?;
        let anonymous = Self {
            client: client(url, Some(&ca), None)?,
            token: String::new(),
        };
        let body = json!({"username": username, "password": password});
        let answer = anonymous.call(Method::POST, path, Some(&body)).await?;
        let token = answer["token"]
            .as_str()
            .context("no token in the answer to the login")?;
        Self::with_token(url, token).await
    }

    /// Who has this token.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn with_token(url: &str, token: &str) -> anyhow::Result<Self> {
        let ca = Self::fetch_ca(url).await?;
        Ok(Self {
            client: client(url, Some(&ca), Some(token))?,
            token: token.to_owned(),
        })
    }

    /// Who has this token, at a server that is trusted by its CA, or by the machine's where none is given.
    ///
    /// # Errors
    /// When the address or the CA makes no sense.
    pub fn trusting(url: &str, ca: Option<&str>, token: &str) -> anyhow::Result<Self> {
        Ok(Self {
            client: client(url, ca, Some(token))?,
            token: token.to_owned(),
        })
    }

    /// Ends the token.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn log_out(&self) -> anyhow::Result<()> {
        let request = Request::post("/v3/tokens?action=logout").body(Vec::new())?;
        self.client.request_text(request).await?;
        Ok(())
    }

    /// The server's CA. It is taken as it comes: server and test are on one machine.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn fetch_ca(url: &str) -> anyhow::Result<String> {
        let dialer = Dialer::new(url.parse()?, Trust::Platform);
        Ok(String::from_utf8(
            tunnel::dial::fetch_ca(&dialer).await?.to_vec(),
        )?)
    }

    /// Sends a request and returns the answer's JSON.
    ///
    /// # Errors
    /// When the answer is no success.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let text = self.send(&method, path, body).await?;
        serde_json::from_str(&text).with_context(|| format!("{method} {path} answered {text:?}"))
    }

    /// Fetches text.
    ///
    /// # Errors
    /// When the answer is no success.
    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        self.send(&Method::GET, path, None).await
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<String> {
        let bytes = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(bytes)?;
        let answered = self.client.request_text(request).await;
        answered.with_context(|| format!("{method} {path}"))
    }

    /// Creates a cluster and returns its id.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_cluster(&self, name: &str) -> anyhow::Result<String> {
        self.create_cluster_as(json!({"displayName": name})).await
    }

    /// Creates a cluster for which that is asked, and returns its id.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_cluster_as(&self, spec: Value) -> anyhow::Result<String> {
        let body = json!({
            "apiVersion": "management.cattle.io/v3",
            "kind": "Cluster",
            "metadata": {},
            "spec": spec,
        });
        let path = "/apis/management.cattle.io/v3/clusters";
        let made = self.call(Method::POST, path, Some(&body)).await?;
        Ok(made["metadata"]["name"]
            .as_str()
            .context("the cluster has no id")?
            .to_owned())
    }

    /// A new registration token of a cluster.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn import(&self, cluster: &str) -> anyhow::Result<Import> {
        let body = json!({
            "apiVersion": "management.cattle.io/v3",
            "kind": "ClusterRegistrationToken",
            "metadata": {"namespace": cluster},
        });
        let path =
            format!("/apis/management.cattle.io/v3/namespaces/{cluster}/clusterregistrationtokens");
        let made = self.call(Method::POST, &path, Some(&body)).await?;
        let text = |field: &str| {
            let value = made["status"][field].as_str();
            value
                .map(str::to_owned)
                .with_context(|| format!("the registration token has no {field}"))
        };
        Ok(Import {
            token: text("token")?,
            manifest_url: text("manifestUrl")?,
        })
    }

    /// The import manifest, with this image of the agent.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn manifest(&self, import: &Import, image: &str) -> anyhow::Result<String> {
        let path = format!("/v3/import/{}.yaml?image={image}", import.token);
        let request = Request::get(&path).body(Vec::new())?;
        self.client
            .request_text(request)
            .await
            .context("cannot fetch the import manifest")
    }

    /// A kubeconfig for a cluster; by server name where the path may be dropped.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn kubeconfig(&self, cluster: &str, by_server_name: bool) -> anyhow::Result<String> {
        let path = format!("/v3/clusters/{cluster}?action=generateKubeconfig");
        let body = json!({"serverName": by_server_name});
        let answer = self.call(Method::POST, &path, Some(&body)).await?;
        Ok(answer["config"]
            .as_str()
            .context("no kubeconfig in the answer")?
            .to_owned())
    }

    /// Waits until a cluster can be used.
    ///
    /// # Errors
    /// When it cannot within `limit`; says what the server knows.
    pub async fn wait_ready(&self, cluster: &str, limit: Duration) -> anyhow::Result<()> {
        let path = format!("/apis/management.cattle.io/v3/clusters/{cluster}");
        let started = Instant::now();
        loop {
            let found = self.call(Method::GET, &path, None).await?;
            let conditions = found["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            if conditions
                .iter()
                .any(|one| one["type"] == "Ready" && one["status"] == "True")
            {
                return Ok(());
            }
            if started.elapsed() > limit {
                bail!(
                    "cluster {cluster} is not ready after {} s: {}",
                    limit.as_secs(),
                    found["status"]
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn client(url: &str, ca: Option<&str>, token: Option<&str>) -> anyhow::Result<kube::Client> {
    use base64::Engine as _;
    let mut cluster = json!({"server": url});
    if let Some(ca) = ca {
        let ca = base64::engine::general_purpose::STANDARD.encode(ca);
        cluster["certificate-authority-data"] = json!(ca);
    }
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lariat", "cluster": cluster}],
        "users": [{"name": "lariat", "user": token.map_or(json!({}), |token| json!({"token": token}))}],
        "contexts": [{"name": "lariat", "context": {"cluster": "lariat", "user": "lariat"}}],
        "current-context": "lariat",
    }))?;
    let config = futures::executor::block_on(kube::Config::from_custom_kubeconfig(
        kubeconfig,
        &KubeConfigOptions::default(),
    ))?;
    Ok(kube::Client::try_from(config)?)
}

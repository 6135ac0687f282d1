//! One of the two servers.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use http::{HeaderMap, Request as HttpRequest, header};
use http_body_util::BodyExt as _;
use kube::{
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;

use super::{
    cases::{self, Invocation, Request},
    normalise::Normaliser,
    protobuf,
};
use crate::table::{Client, LIMIT, Outcome, invoke};

/// How long an answer may take. kube-apiserver needs half a minute for 100,000 labels.
const ANSWER: Duration = Duration::from_secs(90);

/// How many labels are too many.
const LABELS: usize = 100_000;

/// Headers of answers that clients act upon.
const HEADERS: &[&str] = &[
    "allow",
    "cache-control",
    "content-type",
    "retry-after",
    "warning",
];

/// Short names of content types.
const TYPES: &[(&str, &str)] = &[
    ("json", "application/json"),
    ("yaml", "application/yaml"),
    ("json-patch", "application/json-patch+json"),
    ("merge", "application/merge-patch+json"),
    ("strategic", "application/strategic-merge-patch+json"),
    ("apply", "application/apply-patch+yaml"),
    ("protobuf", "application/vnd.kubernetes.protobuf"),
    ("table", "application/json;as=Table;v=v1;g=meta.k8s.io"),
    (
        "metadata",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ),
    (
        "metadata-list",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    ),
    (
        "aggregated",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    ),
];

/// Where policies of admission are.
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

/// One of the two servers, as a logged-in administrator sees it.
pub struct Side {
    client: kube::Client,
    kubeconfig: PathBuf,
    /// Where its kubectl keeps what it learns.
    home: PathBuf,
    normaliser: Normaliser,
    /// What earlier answers gave.
    known: BTreeMap<String, String>,
}

/// An answer, ready to be compared.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// Code and headers.
    pub head: Value,
    /// The body; that of a watch is a list of its events.
    pub body: Value,
}

impl Side {
    /// The server of a kubeconfig.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn new(kubeconfig: PathBuf, home: PathBuf) -> Result<Self> {
        let config = Kubeconfig::read_from(&kubeconfig)?;
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(config, &options).await?;
        // Each answer is looked at.
        config.default_retry = false;
        fs::create_dir_all(&home)?;
        let known = [
            // As much as a body may have; what is around it makes it too much. What a server does
            // not read of it still fits into the sockets' buffers.
            ("large", "x".repeat(3 << 20)),
            ("labels", labels()),
            ("word", "x".repeat(2000)),
            ("core", "/api/v1/namespaces/$ns".to_owned()),
            (
                "widgets",
                "/apis/example.org/v1/namespaces/$ns/widgets".to_owned(),
            ),
            ("gizmos", "/apis/example.org/v1/gizmos".to_owned()),
            ("rbac", "/apis/rbac.authorization.k8s.io/v1".to_owned()),
            ("own", "/apis/management.cattle.io/v3".to_owned()),
            (
                "policies",
                format!("{ADMISSION}/validatingadmissionpolicies"),
            ),
            (
                "bindings",
                format!("{ADMISSION}/validatingadmissionpolicybindings"),
            ),
            (
                "crds",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned(),
            ),
        ];
        Ok(Self {
            client: kube::Client::try_from(config)?,
            kubeconfig,
            home,
            normaliser: Normaliser::new()?,
            known: known.map(|(name, value)| (name.to_owned(), value)).into(),
        })
    }

    /// Gives a name to a text.
    pub fn know(&mut self, name: &str, value: &str) {
        self.known.insert(name.to_owned(), value.to_owned());
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // The longest first: a name may begin with another, and `ns` stands in some of them.
        let mut names: Vec<_> = self.known.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, value) in names {
            text = text.replace(&format!("${name}"), value);
        }
        text
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&mut self, case: &Request) -> Result<Answer> {
        let (method, path) = case.send.split_once(' ').context("method and path")?;
        let mut request = HttpRequest::builder()
            .method(method)
            .uri(self.fill(path))
            .header(header::USER_AGENT, "suite/1.0");
        let content_type = case.r#as.as_deref();
        let body = self.fill(&case.body());
        let body = match (content_type, &case.body) {
            // A text is sent as it is.
            (Some("protobuf"), Some(Value::Object(_))) => protobuf::encoded(&body)?,
            _ => body.into_bytes(),
        };
        if let Some(content_type) = content_type.or((!body.is_empty()).then_some("json")) {
            request = request.header(header::CONTENT_TYPE, full(content_type));
        }
        if let Some(accept) = &case.accept {
            request = request.header(header::ACCEPT, full(accept));
        }
        let request = request.body(Body::from(body))?;
        let answer = tokio::time::timeout(ANSWER, self.client.send(request))
            .await
            .context("no answer")??;
        let (parts, body) = answer.into_parts();
        let body = tokio::time::timeout(ANSWER, body.collect());
        let bytes = body.await.context("no end of the answer")??.to_bytes();
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        let is_yaml = content_type.is_some_and(|one| one == "application/yaml");
        let body = if is_yaml {
            serde_saphyr::from_slice(&bytes).context("an answer in YAML")?
        } else {
            parse(&bytes)
        };
        for (name, at) in &case.save {
            let value = body.pointer(at).map(|value| match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            });
            let value = value.with_context(|| format!("{at} of {body}"))?;
            self.known.insert(name.clone(), value);
        }
        let mut body = body;
        self.normaliser.value(&mut body);
        let code = parts.status.as_u16();
        Ok(Answer {
            code,
            head: self.head(code, &parts.headers),
            body,
        })
    }

    fn head(&self, code: u16, headers: &HeaderMap) -> Value {
        let mut head = serde_json::Map::new();
        head.insert("code".into(), code.into());
        for name in HEADERS {
            let values = headers.get_all(*name).iter();
            let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
            if !values.is_empty() {
                let text = self.normaliser.text(&values.join("\n"));
                head.insert((*name).to_owned(), text.into());
            }
        }
        Value::Object(head)
    }

    /// Runs kubectl.
    ///
    /// # Errors
    /// When it cannot be run or takes too long.
    pub fn kubectl(&self, client: &Client, namespace: &str, case: &Invocation) -> Result<Outcome> {
        let input = self.fill(&cases::text(case.stdin.as_ref()));
        let mut invocation = invoke::Invocation::new(&self.fill(&case.run)).stdin(input);
        let home = self.home.join(client.minor.to_string());
        let home = home.to_str().context("a path")?.to_owned();
        invocation.env.push(("HOME".into(), home));
        if let Some(script) = &case.edit {
            let editor = format!("sed -i '{script}'");
            invocation.env.push(("KUBE_EDITOR".into(), editor));
        }
        invocation.run(&client.program, &self.kubeconfig, namespace, LIMIT)
    }

    /// JSON without what differs between any two servers; a text if it is none.
    #[must_use]
    pub fn value(&self, printed: &[u8]) -> Value {
        let mut value = parse(printed);
        self.normaliser.value(&mut value);
        value
    }

    /// Its kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }
}

/// Members of a JSON object.
fn labels() -> String {
    let labels = (0..LABELS).map(|number| format!(r#""label{number}":"x""#));
    labels.collect::<Vec<_>>().join(",")
}

fn full(media_type: &str) -> String {
    let known = TYPES.iter().find(|(short, _)| *short == media_type);
    known.map_or(media_type, |(_, full)| full).to_owned()
}

/// What is in protobuf; JSON, a list if it is a stream of values; or else the text.
fn parse(bytes: &[u8]) -> Value {
    if let Some(value) = protobuf::decoded(bytes) {
        return value;
    }
    let stream = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let values: Result<Vec<_>, _> = stream.collect();
    match values {
        Ok(mut values) if values.len() == 1 => values.remove(0),
        Ok(values) if !values.is_empty() => Value::Array(values),
        _ => Value::from(String::from_utf8_lossy(bytes)),
    }
}

//! The agent's key and the server's identity, kept in a Secret of the agent's own namespace.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use std::collections::BTreeMap;
use tracing::info;
use tunnel::identity::{KeyError, KeyPair};

/// Name of the Secret.
pub const SECRET: &str = "cattle-credentials";

const AGENT_KEY: &str = "agent.key";
const SERVER_KEY: &str = "server.pub";

/// What the agent proves itself by, and whom it trusts.
#[derive(Debug)]
pub struct Credentials {
    secrets: Api<Secret>,
    /// The agent's key.
    pub key: KeyPair,
    /// The server's public key, once it was learnt.
    pub server_key: Option<Vec<u8>>,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The cluster refuses or does not answer.
    #[error("cannot {doing} Secret {SECRET}")]
    Kube {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The Secret holds something else.
    #[error(
        "Secret {SECRET} holds no usable {AGENT_KEY}; delete it, and let an administrator allow the agent to register again"
    )]
    Malformed(#[source] KeyError),
}

impl Credentials {
    /// Reads the key, or makes one where there is none. Of two agents that make one at the same
    /// time, the first wins and the other uses its key.
    pub async fn load(kube: Client, namespace: &str) -> Result<Self, CredentialsError> {
        let secrets: Api<Secret> = Api::namespaced(kube, namespace);
        let failed = |doing| {
            move |source| CredentialsError::Kube {
                doing,
                source: Box::new(source),
            }
        };
        loop {
            let found = secrets.get_opt(SECRET).await.map_err(failed("read"))?;
            if let Some(data) = found.and_then(|secret| secret.data)
                && let Some(ByteString(pkcs8)) = data.get(AGENT_KEY)
            {
                return Ok(Self {
                    secrets,
                    key: KeyPair::from_pkcs8(pkcs8).map_err(CredentialsError::Malformed)?,
                    server_key: data.get(SERVER_KEY).map(|key| key.0.clone()),
                });
            }
            let key = KeyPair::generate().map_err(CredentialsError::Malformed)?;
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(SECRET.into()),
                    ..ObjectMeta::default()
                },
                type_: Some("Opaque".into()),
                data: Some(BTreeMap::from([(
                    AGENT_KEY.to_owned(),
                    ByteString(key.to_pkcs8().to_vec()),
                )])),
                ..Secret::default()
            };
            match secrets.create(&PostParams::default(), &secret).await {
                Ok(_) => info!(secret = SECRET, "made a key"),
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
                Err(error) => return Err(failed("create")(error)),
            }
        }
    }

    /// Pins the server's identity: from now on no other server is taken.
    pub async fn pin_server(&mut self, key: &[u8]) -> Result<(), CredentialsError> {
        if self.server_key.as_deref() == Some(key) {
            return Ok(());
        }
        let data = BTreeMap::from([(SERVER_KEY, ByteString(key.to_vec()))]);
        let patch = Patch::Merge(serde_json::json!({ "data": data }));
        self.secrets
            .patch(SECRET, &PatchParams::default(), &patch)
            .await
            .map_err(|source| CredentialsError::Kube {
                doing: "update",
                source: Box::new(source),
            })?;
        self.server_key = Some(key.to_vec());
        info!("pinned the server's identity");
        Ok(())
    }
}

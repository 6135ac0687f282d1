//! Login providers: their settings are complete, and their secrets are kept apart from what is read.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::keys;
use apiserver::object::{Object, random_uid};
use apiserver::schema::FieldError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use lariat_api::{AuthConfig, Kind as _};
use secrecy::SecretString;
use serde_json::json;
use store::{Op, Revision, Store, Txn};

use super::applied::hide;
use super::{Context, Managed, forbidden, namespace};

/// Where secrets of providers are kept.
const NAMESPACE: &str = "cattle-global-data";

impl Managed for AuthConfig {
    const HAS_STATUS: bool = true;
    const ADMINISTRATORS_ONLY: bool = true;

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        self.fill_in();
        let mut txn = Txn::default();
        let (name, owner) = (self.name().to_owned(), namespace::owned_by(self));
        let before = old.map(Self::secrets).unwrap_or_default();
        let mut hidden = Vec::new();
        for ((field, value), (_, before)) in self.secrets_mut().into_iter().zip(before) {
            let kept = Kept::new(&name, field);
            let place = kept.place();
            match value.as_str() {
                "" if before.is_empty() => {}
                "" => txn.ops.push(kept.forget()),
                same if same == place && before == place => {}
                same if same == place => {
                    let rule = "names the place of a secret, where none is kept";
                    let error = FieldError::invalid(field, place, rule);
                    return Err(write.invalid(&name, &[error]));
                }
                secret => {
                    let store = &*context.store;
                    txn.ops
                        .push(kept.keep(store, secret, &owner, write.now).await?);
                    value.clone_from(&place);
                    hidden.push((field, place));
                }
            }
        }
        for (field, place) in hidden {
            hide(&mut self.metadata, field, Some(place));
        }
        Ok(Effects {
            txn,
            ..Effects::default()
        })
    }

    async fn admit_deletion(&self, _context: &Context, write: &Write<'_>) -> Result<(), ApiError> {
        if self.name() == "local" && !write.user.is_master() {
            let why = "accounts of the server itself are always there";
            return Err(forbidden::<Self>(self.name(), why));
        }
        Ok(())
    }

    async fn release(&self, _context: &Context) -> Result<Txn, ApiError> {
        let kept = self
            .secrets()
            .into_iter()
            .filter(|(_, value)| !value.is_empty());
        let ops = kept.map(|(field, _)| Kept::new(self.name(), field).forget());
        Ok(Txn {
            compares: Vec::new(),
            ops: ops.collect(),
        })
    }
}

/// A secret of a provider and the revision at which it was written, if there is one.
///
/// # Errors
/// When the store fails, or what is kept is not text.
pub(crate) async fn kept_secret(
    store: &dyn Store,
    provider: &str,
    field: &str,
) -> Result<Option<(SecretString, Revision)>, ApiError> {
    let kept = Kept::new(provider, field);
    let Some(entry) = store.get(kept.key().as_bytes()).await? else {
        return Ok(None);
    };
    let object = Object::decode(&entry.value, entry.modified.0).map_err(ApiError::internal)?;
    let encoded = &object.as_value()["data"][&kept.field];
    let decoded = STANDARD.decode(encoded.as_str().unwrap_or_default());
    let text = String::from_utf8(decoded.map_err(ApiError::internal)?);
    let text = text.map_err(|_| ApiError::internal(format!("{} is not text", kept.place())))?;
    Ok(Some((text.into(), entry.modified)))
}

/// A Secret with one secret of a provider.
struct Kept {
    name: String,
    field: String,
}

impl Kept {
    fn new(provider: &str, field: &str) -> Self {
        let field = field.to_lowercase();
        Self {
            name: format!("{provider}config-{field}"),
            field,
        }
    }

    /// What the provider's object shows.
    fn place(&self) -> String {
        format!("{NAMESPACE}:{}", self.name)
    }

    fn key(&self) -> String {
        keys::resource("", "secrets") + &keys::below(NAMESPACE, &self.name)
    }

    async fn keep(
        &self,
        store: &dyn Store,
        secret: &str,
        owner: &OwnerReference,
        now: Timestamp,
    ) -> Result<Op, ApiError> {
        let key = self.key();
        let mut kept = match store.get(key.as_bytes()).await? {
            Some(entry) => Object::decode(&entry.value, entry.modified.0),
            None => Object::new(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "metadata": {
                    "name": self.name,
                    "namespace": NAMESPACE,
                    "uid": random_uid(),
                    "creationTimestamp": Time(now),
                    "ownerReferences": [owner],
                },
            })),
        }
        .map_err(ApiError::internal)?;
        let data = json!({&self.field: STANDARD.encode(secret)});
        kept.fields_mut().insert("data".into(), data);
        Ok(Op::Put {
            key: key.into(),
            value: kept.encode(),
        })
    }

    fn forget(&self) -> Op {
        Op::Delete {
            key: Bytes::from(self.key()),
        }
    }
}

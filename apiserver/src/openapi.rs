//! What a client can learn of the kinds: OpenAPI v2 and v3, written from the registry.
//!
//! The documents are those that kube-apiserver publishes for CustomResourceDefinitions. `kubectl
//! explain` and `kubectl apply` read version 3 as JSON since 1.27; earlier ones, and helm, read
//! version 2, which they only take as protobuf. No kubectl reads version 3 as protobuf, so that it
//! is not offered.

mod names;
mod operations;
mod protobuf;
mod schemas;
mod v2;
mod v3;

use crate::registry::Registry;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

/// What is published of a registry. Each document is written when it is asked for first.
#[derive(Debug)]
pub struct Documents {
    registry: Arc<Registry>,
    versions: OnceLock<BTreeMap<String, Document>>,
    index: OnceLock<Document>,
    v2: OnceLock<Document>,
    v2_protobuf: OnceLock<Document>,
}

/// A document as it is sent.
#[derive(Debug)]
pub struct Document {
    /// What is sent.
    pub bytes: Bytes,
    /// Tells it from any other document.
    pub hash: String,
}

impl Documents {
    /// The documents of a registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            versions: OnceLock::new(),
            index: OnceLock::new(),
            v2: OnceLock::new(),
            v2_protobuf: OnceLock::new(),
        }
    }

    /// Whether they are of that very registry.
    #[must_use]
    pub fn are_of(&self, registry: &Arc<Registry>) -> bool {
        Arc::ptr_eq(&self.registry, registry)
    }

    /// `/openapi/v3`: where the document of each version of a group is.
    pub fn index(&self) -> &Document {
        self.index.get_or_init(|| {
            let paths = self.versions().iter().map(|(path, document)| {
                let url = format!("/openapi/v3/{path}?hash={}", document.hash);
                (path.clone(), json!({"serverRelativeURL": url}))
            });
            let paths: serde_json::Map<_, _> = paths.collect();
            Document::of_json(&json!({"paths": paths}))
        })
    }

    /// `/openapi/v3/PATH`, for example of `apis/example.org/v1`.
    pub fn version(&self, path: &str) -> Option<&Document> {
        self.versions().get(path)
    }

    /// `/openapi/v2` as JSON.
    pub fn v2(&self) -> &Document {
        self.v2
            .get_or_init(|| Document::of_json(&v2::document(&self.registry)))
    }

    /// `/openapi/v2` as protobuf.
    pub fn v2_protobuf(&self) -> &Document {
        self.v2_protobuf.get_or_init(|| Document {
            bytes: protobuf::document(&v2::document(&self.registry)).into(),
            // Who asks for the other form says so: `Vary` keeps them apart.
            hash: self.v2().hash.clone(),
        })
    }

    fn versions(&self) -> &BTreeMap<String, Document> {
        self.versions.get_or_init(|| {
            let documents = v3::documents(&self.registry).into_iter();
            documents
                .map(|(path, document)| (path, Document::of_json(&document)))
                .collect()
        })
    }
}

impl Document {
    fn of_json(value: &Value) -> Self {
        let bytes = Bytes::from(value.to_string());
        let hash = hex::encode_upper(Sha512::digest(&bytes));
        Self { bytes, hash }
    }
}

/// What every document says of the server.
static INFO: LazyLock<Value> =
    LazyLock::new(|| json!({"title": "Kubernetes", "version": "unversioned"}));

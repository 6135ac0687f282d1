//! What is asked for that changes from request to request.

use super::{
    Side,
    objects::{after, body, collection, name, object},
};
use crate::{endpoint::Endpoint, load::Work};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Lists in pages, one after the other, and then from the start.
pub(super) struct Pages {
    endpoint: Endpoint,
    path: String,
    token: Option<String>,
}

impl Pages {
    /// Pages of a list; the path has the limit.
    pub(super) fn new(side: &Side<'_>, path: &str) -> Self {
        Self {
            endpoint: side.user.clone(),
            path: path.to_owned(),
            token: None,
        }
    }
}

impl Work for Pages {
    fn next(&mut self) -> anyhow::Result<Request<Full<Bytes>>> {
        match &self.token {
            Some(token) => self
                .endpoint
                .get(&format!("{}&continue={token}", self.path)),
            None => self.endpoint.get(&self.path),
        }
    }

    fn take(&mut self, answer: Bytes) -> anyhow::Result<()> {
        let token = after(std::str::from_utf8(&answer)?, "\"continue\":\"");
        self.token = token.filter(|token| !token.is_empty()).map(str::to_owned);
        Ok(())
    }
}

/// Makes objects.
pub(super) struct Create {
    endpoint: Endpoint,
    namespace: &'static str,
    /// How many there are, of all who make some.
    made: Arc<AtomicUsize>,
}

impl Create {
    pub(super) fn new(side: &Side<'_>, namespace: &'static str, made: &Arc<AtomicUsize>) -> Self {
        Self {
            endpoint: side.user.clone(),
            namespace,
            made: Arc::clone(made),
        }
    }
}

impl Work for Create {
    fn next(&mut self) -> anyhow::Result<Request<Full<Bytes>>> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let object = body(&object(self.namespace, number));
        let path = collection(self.namespace);
        self.endpoint.request(Method::POST, &path, object)
    }
}

/// Changes one object again and again, as it was answered last.
pub(super) struct Update {
    endpoint: Endpoint,
    path: String,
    object: Value,
}

impl Update {
    pub(super) async fn new(
        side: &Side<'_>,
        namespace: &str,
        number: usize,
    ) -> anyhow::Result<Self> {
        Self::with(&side.user, namespace, number).await
    }

    pub(super) async fn with(
        endpoint: &Endpoint,
        namespace: &str,
        number: usize,
    ) -> anyhow::Result<Self> {
        let path = format!("{}/{}", collection(namespace), name(number));
        let object = endpoint.ask(Method::GET, &path, Bytes::new()).await?;
        Ok(Self {
            endpoint: endpoint.clone(),
            path,
            object: serde_json::from_slice(&object)?,
        })
    }

    /// A change that carries this number.
    pub(super) fn stamped(&mut self, stamp: u64) -> anyhow::Result<Request<Full<Bytes>>> {
        self.object["spec"]["stamp"] = stamp.into();
        let object = body(&self.object);
        self.endpoint.request(Method::PUT, &self.path, object)
    }
}

impl Work for Update {
    fn next(&mut self) -> anyhow::Result<Request<Full<Bytes>>> {
        let stamp = self.object["spec"]["stamp"].as_u64().unwrap_or_default();
        self.stamped(stamp + 1)
    }

    fn take(&mut self, answer: Bytes) -> anyhow::Result<()> {
        self.object = serde_json::from_slice(&answer)?;
        Ok(())
    }
}

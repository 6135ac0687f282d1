//! Who asks, and the APIs that are asked in their name.

use std::sync::{Arc, OnceLock};

use apiserver::error::ApiError;
use apiserver::serve::{Attributes, Decision, ResourceAttributes, Trail, User};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use lariat_api::ClusterId;
use serde_json::Value;

use super::access::Reached;
use super::kinds::{Home, Type};
use super::links::Links;
use crate::authn::Identity;
use crate::edge::RequestContext;
use crate::state::App;
use crate::{kube_proxy, management};

/// Who asks. What is done is done in their name, so that their rights decide.
pub(super) struct Caller {
    pub(super) app: Arc<App>,
    pub(super) who: Identity,
    pub(super) user: User,
    pub(super) context: RequestContext,
    pub(super) links: Links,
    user_agent: HeaderValue,
    reached: OnceLock<Reached>,
}

impl Caller {
    pub(super) fn new(
        app: &Arc<App>,
        who: Identity,
        context: &RequestContext,
        links: Links,
        user_agent: Option<&HeaderValue>,
    ) -> Self {
        Self {
            app: Arc::clone(app),
            user: management::user(&who),
            who,
            context: context.clone(),
            links,
            user_agent: user_agent
                .cloned()
                .unwrap_or_else(|| HeaderValue::from_static("rancher-api")),
            reached: OnceLock::new(),
        }
    }

    /// The clusters and projects that the caller sees.
    pub(super) fn reached(&self) -> &Reached {
        self.reached.get_or_init(|| Reached::by(self))
    }

    /// Asks the management API.
    ///
    /// # Errors
    /// What it refuses.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let answer = self.request(method, path, body).await?;
        let Ok(body) = answer.collect().await;
        serde_json::from_slice(&body.to_bytes()).map_err(ApiError::internal)
    }

    /// Watches in the management API.
    ///
    /// # Errors
    /// What it refuses.
    pub(super) async fn watch(&self, path: &str) -> Result<apiserver::serve::Body, ApiError> {
        self.request(Method::GET, path, None).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<apiserver::serve::Body, ApiError> {
        let media_type = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, media_type)
            .header(USER_AGENT, &self.user_agent)
            .body(Full::new(body))
            .map_err(ApiError::internal)?;
        let mut answer = self.app.api.answer(self.user.clone(), request).await;
        if let Some(trail) = answer.extensions_mut().remove::<Trail>() {
            management::record(&trail, &self.context.audit);
        }
        match answer.extensions_mut().remove::<ApiError>() {
            Some(error) => Err(error),
            None => Ok(answer.into_body()),
        }
    }

    /// The namespace of the objects of a type that everybody has for themselves; empty for others.
    pub(super) fn namespace_of_own(&self, of: &Type) -> String {
        match of.home {
            Home::Own => self.who.user.to_string(),
            _ => String::new(),
        }
    }

    /// Asks the API of a cluster.
    ///
    /// # Errors
    /// What it refuses; 503 if the cluster is not connected.
    pub(super) async fn ask_cluster(
        &self,
        cluster: &ClusterId,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        self.context.audit.set_cluster(cluster);
        let body = body.map(|body| Bytes::from(body.to_string()));
        let asked = kube_proxy::Asked {
            cluster,
            method,
            path_and_query: path,
            body,
        };
        let answered = kube_proxy::ask(&self.app, &self.who, &self.context, asked).await;
        let (status, body) = answered.map_err(|error| match error.code() {
            code @ StatusCode::SERVICE_UNAVAILABLE => error.said_as(code, "ClusterUnavailable"),
            _ => error,
        })?;
        let value: Value = serde_json::from_slice(&body).map_err(|error| {
            let message = "the cluster answered something that is not JSON";
            ApiError::new(StatusCode::BAD_GATEWAY, "BadGateway", message).with_log(error)
        })?;
        match status.is_success() {
            true => Ok(value),
            false => Err(refused(status, &value)),
        }
    }

    /// Asks whichever API has the type.
    ///
    /// # Errors
    /// What it refuses.
    pub(super) async fn ask_of(
        &self,
        of: &Type,
        cluster: Option<&ClusterId>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        match (of.is_inside(), cluster) {
            (false, _) => self.ask(method, path, body).await,
            (true, Some(cluster)) => self.ask_cluster(cluster, method, path, body).await,
            (true, None) => Err(ApiError::no_such_path()),
        }
    }

    /// Whether the caller may do that with objects of a type: with one, with all of a namespace, or with all.
    /// What is in a cluster is decided there, and only when it is done.
    pub(super) fn may(&self, verb: &str, of: &Type, namespace: &str, name: &str) -> bool {
        of.is_inside() || self.is_allowed(verb, &of.resource, namespace, name)
    }

    /// Whether the caller sees some objects of a type, and not all.
    pub(super) fn sees_some(&self, of: &Type) -> bool {
        let decided = self.decide("list", &of.resource, &self.namespace_of_own(of), "");
        matches!(decided, Decision::AllowSome(_))
    }

    /// Whether the caller may do that in the management API.
    pub(super) fn is_allowed(
        &self,
        verb: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> bool {
        let decided = self.decide(verb, resource, namespace, name);
        !matches!(decided, Decision::Deny(_))
    }

    fn decide(&self, verb: &str, resource: &str, namespace: &str, name: &str) -> Decision {
        let what = Attributes::Resource(ResourceAttributes {
            verb,
            group: lariat_api::GROUP,
            resource,
            subresource: "",
            namespace,
            name,
        });
        self.app.authorizer.authorize(&self.user, &what)
    }
}

/// What a cluster refuses, for whoever asked.
fn refused(status: StatusCode, value: &Value) -> ApiError {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let message = match text("message") {
        message if message.is_empty() => format!("the cluster answered {status}"),
        message => message,
    };
    let error = ApiError::new(status, text("reason"), message);
    match value["details"].get("causes") {
        Some(causes) => error.with_causes(causes.clone()),
        None => error,
    }
}

//! What acts in a cluster although its method only reads: exec, attach and port-forward over WebSocket, and whatever a
//! kubelet is asked.
//!
//! kube-apiserver takes the verb of these from the method, so `get` would be enough for a shell. (From 1.35 on it asks
//! for `create` of pods as well, but not of nodes, where `get` opens all that a kubelet answers.) So the cluster is asked
//! first, in the user's name, whether the user may create. Nothing acts unless it says yes.

use std::time::Duration;

use apiserver::error::ApiError;
use apiserver::request::Target;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use lariat_api::{Cluster, Kind as _};
use telemetry::Span;
use tunnel::http::StreamClient;

use super::ask::whole;
use super::bodies::RequestBody;
use super::errors;
use crate::authn::Identity;
use crate::authz::Denied;

/// The answer is a line; a cluster that takes longer than this does not answer.
const LONGEST: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes.
const MOST: usize = 64 * 1024;

/// What the user has to be allowed to create for such a request, if the cluster would not ask by itself.
pub(super) fn needed(method: &Method, target: &Target) -> Option<Needed> {
    let Target::Resource {
        group,
        namespace,
        resource,
        name,
        subresource: Some(subresource),
        ..
    } = target
    else {
        return None;
    };
    if method == Method::POST || !group.is_empty() {
        return None;
    }
    let acts = matches!(
        (resource.as_str(), subresource.as_str()),
        ("pods", "exec" | "attach" | "portforward") | ("nodes", "proxy")
    );
    acts.then(|| {
        Needed(ResourceAttributes {
            verb: Some("create".to_owned()),
            resource: Some(resource.clone()),
            subresource: Some(subresource.clone()),
            namespace: namespace.clone(),
            name: name.clone(),
            ..ResourceAttributes::default()
        })
    })
}

/// What a user has to be allowed to create.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Needed(ResourceAttributes);

impl Needed {
    /// Asks the cluster, as a part of that trace. `headers` name the user to it.
    ///
    /// # Errors
    /// 403 if the user may not; 502 to 504 if the cluster does not say.
    pub(super) async fn check(
        self,
        client: &StreamClient<RequestBody>,
        cluster: &Cluster,
        who: &Identity,
        headers: HeaderMap,
        trace: &Span,
    ) -> Result<(), ApiError> {
        let allowed = self.ask(client, cluster, headers, trace).await?;
        if allowed {
            Ok(())
        } else {
            Err(self.refused(who))
        }
    }

    async fn ask(
        &self,
        client: &StreamClient<RequestBody>,
        cluster: &Cluster,
        headers: HeaderMap,
        trace: &Span,
    ) -> Result<bool, ApiError> {
        let part = trace.child("access review");
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(self.0.clone()),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let body = serde_json::to_vec(&review).map_err(ApiError::internal)?;
        let uri = format!(
            "http://{}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            cluster.name()
        );
        let mut request = Request::post(uri)
            .body(Full::new(Bytes::from(body)))
            .map_err(ApiError::internal)?
            .map(|body| body.map_err(|never| match never {}).boxed_unsync());
        *request.headers_mut() = headers;
        let json = HeaderValue::from_static("application/json");
        for name in [header::CONTENT_TYPE, header::ACCEPT] {
            request.headers_mut().insert(name, json.clone());
        }
        let (status, body) = whole(client, cluster, request, (MOST, LONGEST), &part).await?;
        if status != StatusCode::CREATED {
            return Err(unsaid(cluster, &format!("it answered {status}")));
        }
        let answer = serde_json::from_slice::<SelfSubjectAccessReview>(&body);
        let answer = answer.map_err(|error| unsaid(cluster, &error.to_string()))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// In the words of Kubernetes, so that tools that look for them find them.
    fn refused(&self, who: &Identity) -> ApiError {
        let field = |field: &Option<String>| field.clone().unwrap_or_default();
        let (resource, subresource) = (field(&self.0.resource), field(&self.0.subresource));
        let place = match &self.0.namespace {
            Some(namespace) => format!("in the namespace {namespace:?}"),
            None => "at the cluster scope".to_owned(),
        };
        let message = format!(
            "{resource} {:?} is forbidden: User {:?} cannot create resource \"{resource}/{subresource}\" in API \
             group \"\" {place}",
            field(&self.0.name),
            who.user.as_str(),
        );
        Denied(message).into()
    }
}

fn unsaid(cluster: &Cluster, why: &str) -> ApiError {
    let name = cluster.display_name();
    let message = format!("cluster {name:?} did not say whether the user may do that: {why}");
    errors::bad_gateway(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(method: &str, path: &str) -> bool {
        let method = method.parse().unwrap();
        needed(&method, &Target::parse(path)).is_some()
    }

    #[test]
    fn what_acts_by_reading_is_asked_about() {
        for path in [
            "/api/v1/namespaces/a/pods/b/exec",
            "/api/v1/namespaces/a/pods/b/attach",
            "/api/v1/namespaces/a/pods/b/portforward",
            "/api/v1/namespaces/a/pods/b/ex%65c",
            "/api/v1/nodes/n/proxy/exec/a/b/c",
            "/api/v1/nodes/n:10250/proxy/attach/a/b/c",
            "/api/v1/nodes/n/proxy/metrics",
        ] {
            for method in ["GET", "HEAD", "PUT"] {
                assert!(asks(method, path), "{method} {path}");
            }
            assert!(!asks("POST", path), "{path}");
        }
    }

    #[test]
    fn what_only_reads_is_not() {
        for path in [
            "/api/v1/namespaces/a/pods/b/log",
            "/api/v1/namespaces/a/services/b/proxy/socket",
            "/apis/subresources.kubevirt.io/v1/namespaces/a/pods/b/exec",
            "/api/v1/pods?watch=true",
            "/exec",
        ] {
            assert!(!asks("GET", path), "{path}");
        }
    }
}

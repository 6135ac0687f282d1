//! Whether a request may go to a cluster, and in whose name: the one way for what people send and for what the
//! server asks in their name.

use std::sync::Arc;

use apiserver::error::ApiError;
use apiserver::request::Target;
use http::HeaderMap;
use lariat_api::{Cluster, ClusterId};

use super::impersonation;
use crate::authn::Identity;
use crate::authz::{self, Action, Denied};
use crate::edge::RequestContext;
use crate::state::App;

/// A request that may go to its cluster.
pub(super) struct Admitted {
    pub(super) cluster: Arc<Cluster>,
    /// The groups that the user has there by roles.
    pub(super) groups: Vec<&'static str>,
    /// Headers that name the user to the cluster.
    pub(super) names: HeaderMap,
}

/// Admits a request, or says why not. It counts against the limits until its audit event is complete.
///
/// # Errors
/// 403 for who may not reach the cluster, 404 if there is none, 429 when there is too much.
pub(super) fn admit(
    app: &App,
    who: &Identity,
    id: &ClusterId,
    action: &Action,
    context: &RequestContext,
) -> Result<Admitted, ApiError> {
    let cluster = authz::find_cluster(app, id)?;
    let decided = authz::groups_in_cluster(app, who, &cluster, action);
    let refused = decided.as_ref().err().map(|Denied(why)| why.as_str());
    let audit = &context.audit;
    audit.set_decision(refused.is_none(), refused.unwrap_or_default());
    let groups = decided?;
    let limits = &app.proxy_limits;
    let project = match &action.target {
        Target::Resource {
            namespace: Some(namespace),
            ..
        } if limits.limit_projects() => app.controllers.project_of(id, namespace),
        _ => None,
    };
    let (user, stays) = (who.user.as_str(), action.is_long_running());
    audit.hold(limits.admit(user, id.as_str(), project.as_deref(), stays)?);
    let names = impersonation::headers(who, &groups.all)?;
    Ok(Admitted {
        cluster,
        groups: groups.by_role,
        names,
    })
}

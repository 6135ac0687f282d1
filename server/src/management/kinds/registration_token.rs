//! Registration tokens: their secret is in the answer to the create request and nowhere else.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::object::Object;
use apiserver::schema::FieldError;
use lariat_api::{ClusterId, ClusterRegistrationToken, Kind as _};

use super::{Context, Managed};
use crate::authz::no_such_cluster;
use crate::random;
use crate::registration;

impl Managed for ClusterRegistrationToken {
    const HAS_STATUS: bool = true;

    fn made_up_name() -> Option<String> {
        Some(format!("crt-{:012x}", random::bits() & 0xffff_ffff_ffff))
    }

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if old.is_some() {
            return Ok(Effects::default());
        }
        let invalid = |field: &str, value: &str, rule: &str| {
            write.invalid(self.name(), &[FieldError::invalid(field, value, rule)])
        };
        let (namespace, named) = (self.namespace(), self.spec.cluster_name.as_str());
        // A rule of a schema does not see the namespace.
        if !named.is_empty() && named != namespace {
            let rule = "must be the namespace of the object";
            return Err(invalid("spec.clusterName", named, rule));
        }
        let cluster: ClusterId = namespace.parse().map_err(|_| {
            invalid(
                "metadata.namespace",
                namespace,
                "must be the id of a cluster",
            )
        })?;
        if context.directory.cluster(&cluster).is_none() {
            return Err(no_such_cluster(cluster.as_str()));
        }
        self.spec.cluster_name = cluster.to_string();
        let secret = registration::issue(self, write.now);
        let shown = registration::shown(context, self, secret);
        let shown = serde_json::to_value(shown).map_err(ApiError::internal)?;
        let show = move |object: &mut Object| {
            object.fields_mut().insert("status".into(), shown);
        };
        Ok(Effects {
            answer: Some(Box::new(show)),
            ..Effects::default()
        })
    }
}

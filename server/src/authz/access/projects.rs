//! Projects, as far as they say what is in clusters.

use std::sync::Arc;

use lariat_api::{ContainerResourceLimit, Project, ResourceQuotaLimit};

/// A project.
#[derive(Clone, Debug)]
pub(crate) struct InCluster {
    pub(super) cluster: String,
    /// Which namespaces it is for.
    pub(crate) purpose: Purpose,
    /// What its namespaces may take, if that is limited.
    pub(crate) limited: Option<Arc<Limited>>,
}

/// Which namespaces a project is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Those that are in no other.
    Default,
    /// What the cluster itself needs.
    System,
    /// Those that somebody puts there.
    Other,
}

/// What namespaces of a project may take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    /// All of them together.
    pub(crate) limit: Option<ResourceQuotaLimit>,
    /// How much of that they have been given.
    pub(crate) used: Option<ResourceQuotaLimit>,
    /// Each that says nothing itself.
    pub(crate) each: Option<ResourceQuotaLimit>,
    /// Each container that says nothing itself.
    pub(crate) container: Option<ContainerResourceLimit>,
}

impl InCluster {
    #[cfg(test)]
    pub(crate) fn of(purpose: Purpose) -> Self {
        Self {
            cluster: "c-1".to_owned(),
            purpose,
            limited: None,
        }
    }

    pub(super) fn new(project: Project) -> Option<Self> {
        let labels = project.metadata.labels.as_ref();
        let has = |label: &str| labels.is_some_and(|labels| labels.contains_key(label));
        let purpose = match (has(Project::SYSTEM_LABEL), has(Project::DEFAULT_LABEL)) {
            (true, _) => Purpose::System,
            (false, true) => Purpose::Default,
            (false, false) => Purpose::Other,
        };
        let spec = project.spec;
        let (limit, used) = match spec.resource_quota {
            Some(quota) => (Some(quota.limit), quota.used_limit),
            None => (None, None),
        };
        let limited = Limited {
            limit,
            used,
            each: spec
                .namespace_default_resource_quota
                .map(|quota| quota.limit),
            container: spec.container_default_resource_limit,
        };
        let is_limited = limited.limit.is_some() || limited.container.is_some();
        Some(Self {
            purpose,
            limited: is_limited.then(|| Arc::new(limited)),
            cluster: project.metadata.namespace?,
        })
    }
}

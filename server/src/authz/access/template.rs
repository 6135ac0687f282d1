//! What role templates give: their rules with those that they inherit, and what of these concerns the
//! management API.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, OnceLock};

use apiserver::rbac::{Rule, usual_rules};
use apiserver::serve::{Attributes, ResourceAttributes};
use kube::core::ObjectMeta;
use lariat_api::{
    Cluster, ClusterRegistrationToken, ClusterRoleTemplateBinding, GROUP, Kind, PolicyRule,
    Project, ProjectRoleTemplateBinding, RoleContext, RoleTemplate,
};

use super::Change;

/// Stands for everything in a list of a rule.
const ALL: &str = "*";

/// The kinds of the namespace of a cluster that a template gives rights to. No rule of a template
/// opens anything else there: Secrets of the namespace are the server's own.
const IN_CLUSTER: [&str; 6] = [
    Project::PLURAL,
    ClusterRoleTemplateBinding::PLURAL,
    ClusterRegistrationToken::PLURAL,
    "nodes",
    "etcdbackups",
    "nodeoperations",
];

/// The same for the namespace of a project.
const IN_PROJECT: [&str; 1] = [ProjectRoleTemplateBinding::PLURAL];

/// The ClusterRoles that every cluster has and that are given to people.
static USUAL: LazyLock<HashMap<&str, Vec<Rule>>> = LazyLock::new(|| {
    let names = ["cluster-admin", "admin", "edit", "view"].into_iter();
    names
        .filter_map(|name| Some((name, usual_rules(name)?)))
        .collect()
});

/// Role templates. What one gives is put together when somebody asks, and again after a change of any.
#[derive(Debug, Default)]
pub(super) struct Templates(HashMap<String, Written>);

#[derive(Debug)]
struct Written {
    template: RoleTemplate,
    given: OnceLock<Template>,
}

/// What a role template gives, all that it inherits included.
#[derive(Debug)]
pub(crate) struct Template {
    /// Where it can be given.
    pub(crate) context: RoleContext,
    /// What it allows in clusters.
    pub(crate) rules: Arc<[Rule]>,
    /// What of that concerns the namespace of a cluster in the management API.
    pub(super) in_cluster: Vec<Rule>,
    /// What of it concerns that of a project.
    pub(super) in_project: Vec<Rule>,
    /// Whether the sessions of who has it must be recorded.
    pub(super) recorded: bool,
    /// Whether who has it owns the cluster.
    pub(super) owns_cluster: bool,
    /// Whether who has it owns the project.
    pub(super) owns_project: bool,
}

impl Templates {
    pub(super) fn set(&mut self, name: &str, mut template: Option<RoleTemplate>) -> Change {
        if let Some(template) = &mut template {
            template.metadata = ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            };
        }
        let before = self.0.get(name).map(|written| &written.template);
        let change = Change::between(before, template.as_ref());
        if change == Change::None {
            return change;
        }
        match template {
            Some(template) => {
                let given = OnceLock::new();
                self.0.insert(name.to_owned(), Written { template, given });
            }
            None => drop(self.0.remove(name)),
        }
        for written in self.0.values_mut() {
            written.given = OnceLock::new();
        }
        change
    }

    pub(super) fn get(&self, name: &str) -> Option<&Template> {
        let Written { template, given } = self.0.get(name)?;
        let put_together = || {
            let (rules, recorded) = self.flattened(template);
            Template::new(template.context, rules, recorded)
        };
        Some(given.get_or_init(put_together))
    }

    /// The rules of a template with those of all that it inherits, and whether one of them demands that
    /// sessions are recorded.
    fn flattened(&self, template: &RoleTemplate) -> (Vec<Rule>, bool) {
        let all = self.inherited_by(template);
        let mut each = all.iter();
        let recorded = each.any(|template| !template.session_recording.is_none());
        (all.into_iter().flat_map(own_rules).collect(), recorded)
    }

    /// A template and all that it inherits, itself first; nothing if it is not there.
    pub(super) fn with_inherited(&self, name: &str) -> Vec<&RoleTemplate> {
        let written = self.0.get(name);
        written.map_or_else(Vec::new, |written| self.inherited_by(&written.template))
    }

    fn inherited_by<'a>(&'a self, template: &'a RoleTemplate) -> Vec<&'a RoleTemplate> {
        let mut all = Vec::new();
        let mut seen = HashSet::from([template.name()]);
        let mut open = vec![template];
        while let Some(template) = open.pop() {
            all.push(template);
            for name in &template.role_template_names {
                if let Some(inherited) = self.0.get(name)
                    && seen.insert(name)
                {
                    open.push(&inherited.template);
                }
            }
        }
        all
    }
}

impl Template {
    fn new(context: RoleContext, rules: Vec<Rule>, recorded: bool) -> Self {
        Self {
            context,
            in_cluster: concerning(&rules, &IN_CLUSTER),
            in_project: concerning(&rules, &IN_PROJECT),
            recorded,
            owns_cluster: owns(&rules, Cluster::PLURAL),
            owns_project: owns(&rules, Project::PLURAL),
            rules: rules.into(),
        }
    }
}

/// What a template allows without what it inherits.
pub(crate) fn own_rules(template: &RoleTemplate) -> Vec<Rule> {
    if !template.external {
        return rules(&template.rules);
    }
    let mut known = USUAL.get(template.name()).cloned().unwrap_or_default();
    known.extend(rules(&template.external_rules));
    known
}

/// Rules as they are evaluated.
pub(crate) fn rules(written: &[PolicyRule]) -> Vec<Rule> {
    let read = |rule: &PolicyRule| Rule {
        verbs: rule.verbs.clone(),
        api_groups: rule.api_groups.clone(),
        resources: rule.resources.clone(),
        resource_names: rule.resource_names.clone(),
        non_resource_urls: rule.non_resource_urls.clone(),
    };
    written.iter().map(read).collect()
}

/// What of some rules concerns some kinds of this server, and nothing else.
fn concerning(rules: &[Rule], kinds: &[&str]) -> Vec<Rule> {
    let has = |list: &[String], text: &str| list.iter().any(|one| one == text || one == ALL);
    let ours = rules.iter().filter(|rule| has(&rule.api_groups, GROUP));
    let narrowed = ours.map(|rule| {
        let meant = kinds.iter().filter(|kind| has(&rule.resources, kind));
        Rule {
            verbs: rule.verbs.clone(),
            api_groups: vec![GROUP.to_owned()],
            resources: meant.map(ToString::to_string).collect(),
            resource_names: rule.resource_names.clone(),
            non_resource_urls: Vec::new(),
        }
    });
    narrowed.filter(|rule| !rule.resources.is_empty()).collect()
}

/// Whether rules make somebody the owner of the object of that kind where they are given.
fn owns(rules: &[Rule], resource: &str) -> bool {
    let own = Attributes::Resource(ResourceAttributes {
        verb: "own",
        group: GROUP,
        resource,
        ..ResourceAttributes::default()
    });
    rules.iter().any(|rule| rule.allows(&own))
}

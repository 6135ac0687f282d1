//! Nobody hands on more than they hold, unless they may `escalate` roles or `bind` them.
//!
//! What a GlobalRole allows in the management API is held there; what a RoleTemplate allows is held in
//! clusters and projects. One says nothing about the other: who may read Secrets of the management API
//! holds no Secret of a cluster.

use std::sync::Arc;

use apiserver::admission::Write;
use apiserver::error::{About, ApiError};
use apiserver::rbac::{Rbac, Rule, missing};
use apiserver::serve::{Attributes, Authorizer, Decision, ResourceAttributes, User};
use lariat_api::{
    Cluster, ClusterRoleTemplateBinding, GROUP, GROUP_AUTHENTICATED, GlobalRole, GlobalRoleBinding,
    Kind, ProjectRoleTemplateBinding, RoleTemplate,
};

use super::access::{ADMIN, Access, Place, Standing, own_rules, rules};
use super::{AUTHENTICATED, is_administrator};
use crate::authn::Directory;

/// Checks who writes roles and bindings.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    directory: Arc<Directory>,
    rbac: Rbac,
    authorizer: Arc<dyn Authorizer>,
}

impl Guard {
    /// What is held is what the directory and the authoriser know, which asks RBAC.
    pub(crate) fn new(
        directory: Arc<Directory>,
        rbac: Rbac,
        authorizer: Arc<dyn Authorizer>,
    ) -> Self {
        Self {
            directory,
            rbac,
            authorizer,
        }
    }

    /// It is changed how somebody logs in, and whether they may: whoever does could act as them.
    pub(crate) fn login(&self, write: &Write<'_>, name: &str) -> Result<(), ApiError> {
        let check = Check::new::<lariat_api::User>(self, write, name);
        let verb = "manage-users";
        if name == write.user.name || check.may(verb, lariat_api::User::PLURAL, name) {
            return Ok(());
        }
        let provided = check.access(|access| access.groups_of(name));
        let common = [AUTHENTICATED, GROUP_AUTHENTICATED].map(str::to_owned);
        let other = User {
            name: name.to_owned(),
            groups: common.into_iter().chain(provided.iter().cloned()).collect(),
            ..User::default()
        };
        let namespaces = self.rbac.namespaces(&other).into_iter();
        let elsewhere = namespaces.filter(|namespace| namespace != name);
        for namespace in [String::new()].into_iter().chain(elsewhere) {
            let held = self.authorizer.rules(write.user, &namespace).rules;
            let mut wanted = self.authorizer.rules(&other, &namespace).rules;
            // Everybody may do something with themselves.
            wanted.retain(|rule| rule.resource_names != [name]);
            check.covered(&held, &wanted, &namespace)?;
        }
        check.access(|access| {
            let mut places = access.places(&other).into_iter();
            places.try_for_each(|place| {
                let held = access.held(write.user, place);
                check.covered(&held, &access.held(&other, place), place.shown())
            })
        })
    }

    /// A GlobalRole is written.
    pub(crate) fn global_role(
        &self,
        write: &Write<'_>,
        role: &GlobalRole,
        old: Option<&GlobalRole>,
    ) -> Result<(), ApiError> {
        let check = Check::new::<GlobalRole>(self, write, role.name());
        if check.may("escalate", GlobalRole::PLURAL, old.map_or("", Kind::name)) {
            return Ok(());
        }
        if role.new_user_default && !old.is_some_and(|old| old.new_user_default) {
            return Err(check.refused("newUserDefault gives the role to others: set it with the verb \"escalate\" on globalroles"));
        }
        let same = |old: &GlobalRole| {
            role.rules == old.rules
                && role.namespaced_rules == old.namespaced_rules
                && role.inherited_cluster_roles == old.inherited_cluster_roles
        };
        if old.is_some_and(same) {
            return Ok(());
        }
        check.holds_global(role)
    }

    /// Somebody is given a GlobalRole.
    pub(crate) fn global_binding(
        &self,
        write: &Write<'_>,
        binding: &GlobalRoleBinding,
        role: &GlobalRole,
    ) -> Result<(), ApiError> {
        let check = Check::new::<GlobalRoleBinding>(self, write, binding.name());
        if check.may("bind", GlobalRole::PLURAL, role.name()) {
            return Ok(());
        }
        check.holds_global(role)
    }

    /// A GlobalRole is taken from somebody.
    pub(crate) fn global_unbinding(
        &self,
        write: &Write<'_>,
        binding: &GlobalRoleBinding,
    ) -> Result<(), ApiError> {
        let check = Check::new::<GlobalRoleBinding>(self, write, binding.name());
        if binding.global_role_name == ADMIN && !check.trusted {
            return Err(check.refused("only administrators change administrators"));
        }
        Ok(())
    }

    /// A RoleTemplate is written. Who is bound to it may be so anywhere: what is in it, and in the templates
    /// that it inherits anew, must be held in every cluster.
    pub(crate) fn role_template(
        &self,
        write: &Write<'_>,
        template: &RoleTemplate,
        inherited: &[RoleTemplate],
        old: Option<&RoleTemplate>,
    ) -> Result<(), ApiError> {
        let check = Check::new::<RoleTemplate>(self, write, template.name());
        if check.may("escalate", RoleTemplate::PLURAL, old.map_or("", Kind::name)) {
            return Ok(());
        }
        let before = |is: fn(&RoleTemplate) -> bool| old.is_some_and(is);
        let given_to_creators = template.cluster_creator_default
            && !before(|old| old.cluster_creator_default)
            || template.project_creator_default && !before(|old| old.project_creator_default);
        let unrecorded =
            template.session_recording.is_none() && before(|old| !old.session_recording.is_none());
        let external = |old: &RoleTemplate| {
            template.external == old.external && template.external_rules == old.external_rules
        };
        let reason = if given_to_creators {
            "clusterCreatorDefault and projectCreatorDefault give the template to others"
        } else if unrecorded {
            "sessionRecording is demanded of others"
        } else if template.external && !old.is_some_and(external) {
            "nobody knows what an external ClusterRole allows in each cluster"
        } else {
            let same = |old: &RoleTemplate| {
                template.rules == old.rules
                    && template.role_template_names == old.role_template_names
                    && external(old)
            };
            if old.is_some_and(same) {
                return Ok(());
            }
            let wanted = [template].into_iter().chain(inherited);
            let wanted: Vec<Rule> = wanted.flat_map(own_rules).collect();
            return check.holds_in(Place::EveryCluster, &wanted);
        };
        let how = "that needs the verb \"escalate\" on roletemplates";
        Err(check.refused(&format!("{reason}: {how}")))
    }

    /// Somebody is given a RoleTemplate in a cluster.
    pub(crate) fn cluster_binding(
        &self,
        write: &Write<'_>,
        binding: &ClusterRoleTemplateBinding,
    ) -> Result<(), ApiError> {
        let check = Check::new::<ClusterRoleTemplateBinding>(self, write, binding.name());
        let place = Place::Cluster(binding.namespace());
        check.may_give(place, &binding.role_template_name)
    }

    /// Who gets a role in a project of a cluster gets that template in the cluster as well.
    pub(crate) fn default_role(
        &self,
        write: &Write<'_>,
        cluster: &Cluster,
        template: &str,
    ) -> Result<(), ApiError> {
        let check = Check::new::<Cluster>(self, write, cluster.name());
        check.may_give(Place::Cluster(cluster.name()), template)
    }

    /// Somebody is given a RoleTemplate in a project.
    pub(crate) fn project_binding(
        &self,
        write: &Write<'_>,
        binding: &ProjectRoleTemplateBinding,
    ) -> Result<(), ApiError> {
        let check = Check::new::<ProjectRoleTemplateBinding>(self, write, binding.name());
        let project = binding.namespace();
        // There is the agent's key, which may act as anybody.
        let owned = check.access(|access| {
            let cluster = access.cluster_of(project);
            !access.is_system(project)
                || cluster.and_then(|cluster| access.standing(write.user, cluster))
                    == Some(Standing::Owner)
        });
        if !owned && !check.trusted {
            let why = "only owners of the cluster give others roles in its system project";
            return Err(check.refused(why));
        }
        check.may_give(Place::Project(project), &binding.role_template_name)
    }
}

/// A write that is checked.
struct Check<'a> {
    guard: &'a Guard,
    write: &'a Write<'a>,
    about: About<'a>,
    /// Whether it may be anything.
    trusted: bool,
}

impl<'a> Check<'a> {
    fn new<K: Kind>(guard: &'a Guard, write: &'a Write<'_>, name: &'a str) -> Self {
        Self {
            guard,
            write,
            about: About {
                group: GROUP,
                what: K::PLURAL,
                name,
            },
            trusted: write.user.is_master() || is_administrator(write.user),
        }
    }

    fn access<T>(&self, ask: impl FnOnce(&Access) -> T) -> T {
        self.guard.directory.access(ask)
    }

    /// Whether the writer may do more than they hold.
    fn may(&self, verb: &str, resource: &str, name: &str) -> bool {
        let what = Attributes::Resource(ResourceAttributes {
            verb,
            group: GROUP,
            resource,
            subresource: "",
            namespace: "",
            name,
        });
        let decided = || self.guard.authorizer.authorize(self.write.user, &what);
        self.trusted || matches!(decided(), Decision::Allow | Decision::AllowAs(_))
    }

    fn may_give(&self, place: Place<'_>, template: &str) -> Result<(), ApiError> {
        if self.may("bind", RoleTemplate::PLURAL, template) {
            return Ok(());
        }
        let wanted = self.access(|access| Some(access.template(template)?.rules.to_vec()));
        // What is not known gives everything, for all that is known.
        let wanted = wanted.unwrap_or_else(Rule::everything);
        self.holds_in(place, &wanted)
    }

    /// Whether the writer holds all that a GlobalRole gives.
    fn holds_global(&self, role: &GlobalRole) -> Result<(), ApiError> {
        let here = |namespace: &str, wanted: &[Rule]| {
            let held = self.guard.authorizer.rules(self.write.user, namespace);
            self.covered(&held.rules, wanted, namespace)
        };
        here("", &rules(&role.rules))?;
        for (namespace, wanted) in &role.namespaced_rules {
            here(namespace, &rules(wanted))?;
        }
        for template in &role.inherited_cluster_roles {
            let wanted = self.access(|access| Some(access.template(template)?.rules.to_vec()));
            let wanted = wanted.unwrap_or_else(Rule::everything);
            self.holds_in(Place::EveryCluster, &wanted)?;
        }
        Ok(())
    }

    /// Whether the writer holds all of that in clusters or a project.
    fn holds_in(&self, place: Place<'_>, wanted: &[Rule]) -> Result<(), ApiError> {
        let held = self.access(|access| access.held(self.write.user, place));
        self.covered(&held, wanted, place.shown())
    }

    fn covered(&self, held: &[Rule], wanted: &[Rule], place: &str) -> Result<(), ApiError> {
        let Some(missing) = missing(held, wanted) else {
            return Ok(());
        };
        let place = match place {
            "" => String::new(),
            place => format!(" in {place}"),
        };
        let user = &self.write.user.name;
        let why = format!(
            "user {user:?} is attempting to grant permissions not currently held{place}:\n{missing}"
        );
        Err(self.refused(&why))
    }

    fn refused(&self, why: &str) -> ApiError {
        ApiError::forbidden(self.about, why)
    }
}

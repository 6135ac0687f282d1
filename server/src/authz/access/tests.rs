//! What the index says is what the objects say, in whatever order they came and went.

use std::collections::BTreeMap;

use apiserver::serve::ResourceAttributes;
use lariat_api::{RoleContext, Subject, Who};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::Revision;

use super::*;
use crate::stored::prefix;

mod rights;

const LDAP_ANN: &str = "openldap_user://ann";
const LDAP_OPS: &str = "openldap_group://ops";
const PLACES: [(&str, &str); 2] = [("c-0", "p-0"), ("c-1", "p-1")];
/// How many objects there can be.
const OBJECTS: usize = 23;

/// Objects by their keys.
type World = BTreeMap<String, Value>;

fn entry(key: &str, value: &Value) -> Entry {
    Entry {
        key: key.to_owned().into(),
        value: value.to_string().into(),
        created: Revision(1),
        modified: Revision(1),
        version: 1,
    }
}

fn object<K: Kind>(namespace: &str, name: &str, mut rest: Value) -> (String, Value) {
    rest["apiVersion"] = json!(format!("{GROUP}/{VERSION}"));
    rest["kind"] = json!(K::KIND);
    rest["metadata"]["name"] = json!(name);
    if !namespace.is_empty() {
        rest["metadata"]["namespace"] = json!(namespace);
    }
    (prefix::<K>() + &keys::below(namespace, name), rest)
}

/// Draws what is decided by chance from a number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        let rolled = self.0 % sides;
        self.0 /= sides;
        rolled
    }

    fn some<'a>(&mut self, of: &[&'a str]) -> Vec<&'a str> {
        let chosen = of.iter().filter(|_| self.roll(2) == 0);
        chosen.copied().collect()
    }

    fn rules(&mut self) -> Value {
        let ours = |verbs: Value, kinds: Value| json!({"verbs": verbs, "apiGroups": [GROUP], "resources": kinds});
        let all = [
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}),
            json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}),
            ours(json!(["own"]), json!(["clusters"])),
            ours(json!(["own", "get"]), json!(["projects"])),
            ours(
                json!(["*"]),
                json!(["projectroletemplatebindings", "clusters"]),
            ),
            json!({"verbs": ["update"], "apiGroups": ["*"], "resources": ["projects"],
                "resourceNames": ["p-0"]}),
        ];
        let chosen = all.into_iter().filter(|_| self.roll(4) == 0);
        chosen.collect()
    }

    fn subject(&mut self) -> Value {
        let id = ["u-0", "u-1"][self.roll(2) as usize];
        match self.roll(5) {
            0 => json!({"userPrincipalName": LDAP_ANN}),
            1 => json!({"groupPrincipalName": LDAP_OPS}),
            2 => json!({"userName": id}),
            _ => json!({"userName": id, "metadata": {"ownerReferences": [self.owner(id)]}}),
        }
    }

    fn owner(&mut self, id: &str) -> Value {
        json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": "User", "name": id,
            "uid": format!("{id}-{}", self.roll(2))})
    }
}

/// One of the objects that there can be, as chance makes it.
fn chosen(which: usize, chance: u64) -> (String, Value) {
    const TEMPLATES: [&str; 3] = ["t-0", "t-1", "t-2"];
    let dice = &mut Dice(chance);
    let place = |at: usize| PLACES[at % 2];
    let within = |mut fields: Value, more: Value| {
        for (field, value) in more.as_object().unwrap() {
            fields[field] = value.clone();
        }
        fields
    };
    match which {
        0 | 1 => {
            let id = format!("u-{which}");
            let principals = dice.some(&[LDAP_ANN]);
            let uid = format!("{id}-{}", dice.roll(2));
            let fields = json!({"metadata": {"uid": uid}, "principalIds": principals});
            object::<lariat_api::User>("", &id, fields)
        }
        2 => {
            let groups = json!({"openldap": {"items": [
                {"id": LDAP_OPS, "principalType": "group"},
                {"id": "system:masters", "principalType": "group"}]}});
            let fields = json!({"metadata": {"ownerReferences": [dice.owner("u-0")]},
                "groupPrincipals": groups});
            object::<UserAttribute>("", "u-0", fields)
        }
        3 | 4 => {
            let role = ["", "t-0"][dice.roll(2) as usize];
            let fields = json!({"spec": {"defaultClusterRoleForProjectMembers": role}});
            object::<Cluster>("", place(which - 3).0, fields)
        }
        5 | 6 => {
            let (cluster, project) = place(which - 5);
            let labels = match dice.roll(2) {
                0 => json!({}),
                _ => json!({Project::SYSTEM_LABEL: "true"}),
            };
            let fields = json!({"metadata": {"labels": labels}, "spec": {"displayName": "x"}});
            object::<Project>(cluster, project, fields)
        }
        7..=9 => {
            let name = TEMPLATES[which - 7];
            let context = ["", "cluster", "cluster", "project"][dice.roll(4) as usize];
            let mut fields =
                json!({"context": context, "roleTemplateNames": dice.some(&TEMPLATES)});
            if dice.roll(5) == 0 {
                fields["external"] = json!(true);
                fields["externalRules"] = dice.rules();
            } else {
                fields["rules"] = dice.rules();
            }
            object::<RoleTemplate>("", name, fields)
        }
        10 | 11 => {
            let name = ["support", ADMIN][which - 10];
            let fields = json!({"rules": dice.rules(), "builtin": dice.roll(2) == 0,
                "inheritedClusterRoles": dice.some(&TEMPLATES),
                "namespacedRules": {"c-0": dice.rules(), "elsewhere": dice.rules(), "": dice.rules()}});
            object::<GlobalRole>("", name, fields)
        }
        12..=14 => {
            let role = ["support", ADMIN][dice.roll(2) as usize];
            let fields = within(dice.subject(), json!({"globalRoleName": role}));
            object::<GlobalRoleBinding>("", &format!("b-{which}"), fields)
        }
        15..=18 => {
            let (cluster, _) = place(which);
            let named = place(dice.roll(8).div_ceil(7) as usize + which).0;
            let role = TEMPLATES[dice.roll(3) as usize];
            let more = json!({"clusterName": named, "roleTemplateName": role});
            let fields = within(dice.subject(), more);
            object::<ClusterRoleTemplateBinding>(cluster, &format!("b-{which}"), fields)
        }
        _ => {
            let (_, project) = place(which);
            let other = usize::from(dice.roll(8) == 0);
            let (cluster, _) = place(which + other);
            let role = TEMPLATES[dice.roll(3) as usize];
            let more =
                json!({"projectName": format!("{cluster}:{project}"), "roleTemplateName": role});
            let mut fields = within(dice.subject(), more);
            if dice.roll(8) == 0 {
                fields["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            object::<ProjectRoleTemplateBinding>(project, &format!("b-{which}"), fields)
        }
    }
}

/// The same questions, answered by looking at all objects.
struct ByHand {
    users: Vec<lariat_api::User>,
    clusters: Vec<Cluster>,
    projects: Vec<Project>,
    roles: Vec<GlobalRole>,
    /// With all that they inherit.
    templates: Vec<(RoleTemplate, Vec<Rule>)>,
    everywhere: Vec<GlobalRoleBinding>,
    in_clusters: Vec<ClusterRoleTemplateBinding>,
    in_projects: Vec<ProjectRoleTemplateBinding>,
}

fn all<K: Kind>(world: &World) -> Vec<K> {
    let prefix = prefix::<K>();
    let found = world.iter().filter(|(key, _)| key.starts_with(&prefix));
    found.map(|(_, value)| read(value)).collect()
}

fn flattened(templates: &[RoleTemplate], name: &str, seen: &mut Vec<String>) -> Vec<Rule> {
    let found = templates.iter().find(|template| template.name() == name);
    let Some(template) = found.filter(|_| seen.iter().all(|one| one != name)) else {
        return Vec::new();
    };
    seen.push(name.to_owned());
    let mut all = match template.external {
        true => rules(&template.external_rules),
        false => rules(&template.rules),
    };
    for name in &template.role_template_names {
        all.extend(flattened(templates, name, seen));
    }
    all
}

impl ByHand {
    fn new(world: &World) -> Self {
        let templates = all::<RoleTemplate>(world);
        let with = |one: &RoleTemplate| {
            let rules = flattened(&templates, one.name(), &mut Vec::new());
            (one.clone(), rules)
        };
        Self {
            users: all(world),
            clusters: all(world),
            projects: all(world),
            roles: all(world),
            templates: templates.iter().map(with).collect(),
            everywhere: all(world),
            in_clusters: all(world),
            in_projects: all(world),
        }
    }

    fn person(&self, user: &User) -> Option<&lariat_api::User> {
        self.users.iter().find(|one| one.name() == user.name)
    }

    fn is_meant(&self, user: &User, subject: &Subject, meta: &ObjectMeta) -> bool {
        let person = self.person(user);
        match subject.who().unwrap() {
            Who::User(id) => {
                let mut owners = meta.owner_references.iter().flatten();
                let uid = person.and_then(|person| person.metadata.uid.as_ref());
                id == user.name && owners.any(|owner| owner.name == id && Some(&owner.uid) == uid)
            }
            Who::Principal(name) => {
                person.is_some_and(|person| person.principal_ids.iter().any(|id| id == name))
            }
            Who::Group(name) => user.groups.iter().any(|group| group == name),
        }
    }

    /// The rules of a template that is for that place.
    fn template(&self, name: &str, context: RoleContext) -> Option<&[Rule]> {
        let mut templates = self.templates.iter();
        let (template, rules) = templates.find(|(one, _)| one.name() == name)?;
        (template.context == context).then_some(rules.as_slice())
    }

    fn may(&self, user: &User, what: &ResourceAttributes<'_>) -> bool {
        let is_there = self.person(user).is_some();
        let ours = what.group == GROUP;
        let reads = matches!(what.verb, "get" | "list" | "watch");
        let owns = matches!(what.verb, "update" | "patch" | "delete" | "own");
        let own = match what.resource {
            "users" => reads && what.name == user.name,
            "settings" => reads,
            "tokens" => what.verb == "create",
            "preferences" => what.namespace == user.name && what.verb != "own",
            _ => false,
        };
        if is_there && ours && own {
            return true;
        }
        let allow = |rules: &[Rule]| {
            let what = Attributes::Resource(*what);
            rules.iter().any(|rule| rule.allows(&what))
        };
        let has = |rules: &[Rule], resource: &str| {
            let own = ResourceAttributes {
                verb: "own",
                group: GROUP,
                resource,
                ..ResourceAttributes::default()
            };
            let own = Attributes::Resource(own);
            rules.iter().any(|rule| rule.allows(&own))
        };
        let kind = |plural: &str| ours && what.resource == plural;
        let for_cluster = ["projects", "clusterroletemplatebindings"];
        let for_cluster = ours && for_cluster.contains(&what.resource);
        let for_project = kind("projectroletemplatebindings");
        let in_a_cluster = (self.clusters.iter()).any(|one| one.name() == what.namespace);
        let project = (self.projects.iter()).find(|one| one.name() == what.namespace);

        for binding in &self.everywhere {
            if !self.is_meant(user, &binding.subject, &binding.metadata) {
                continue;
            }
            let mut roles = self.roles.iter();
            let Some(role) = roles.find(|role| role.name() == binding.global_role_name) else {
                continue;
            };
            let here = role.namespaced_rules.get(what.namespace);
            let here = here.filter(|_| !what.namespace.is_empty());
            if allow(&rules(&role.rules)) || here.is_some_and(|here| allow(&rules(here))) {
                return true;
            }
            for name in &role.inherited_cluster_roles {
                let Some(given) = self.template(name, RoleContext::Cluster) else {
                    continue;
                };
                if kind("clusters") && (reads || owns && has(given, "clusters"))
                    || in_a_cluster && for_cluster && allow(given)
                    || project.is_some() && for_project && allow(given)
                {
                    return true;
                }
            }
        }
        for binding in &self.in_clusters {
            let cluster = binding.namespace();
            let meant = self.is_meant(user, &binding.subject, &binding.metadata);
            let given = self.template(&binding.role_template_name, RoleContext::Cluster);
            let Some(given) = given.filter(|_| meant && binding.cluster_name == cluster) else {
                continue;
            };
            let within = project.is_some_and(|project| project.namespace() == cluster);
            let itself = kind("clusters") && what.name == cluster;
            if itself && (reads || owns && has(given, "clusters"))
                || in_a_cluster && what.namespace == cluster && for_cluster && allow(given)
                || within && for_project && allow(given)
            {
                return true;
            }
        }
        for binding in &self.in_projects {
            let (cluster, name) = binding.project().unwrap();
            let there = (self.projects.iter())
                .any(|one| (one.namespace(), one.name()) == (cluster.as_str(), name.as_str()));
            let ending = binding.metadata.deletion_timestamp.is_some();
            let meant = self.is_meant(user, &binding.subject, &binding.metadata);
            let given = self.template(&binding.role_template_name, RoleContext::Project);
            let Some(given) = given.filter(|_| meant && there && !ending) else {
                continue;
            };
            let cluster = cluster.as_str();
            let itself = in_a_cluster && what.namespace == cluster && kind("projects");
            let itself = itself && what.name == name.as_str();
            if kind("clusters") && what.name == cluster && reads
                || itself && (reads || owns && has(given, "projects"))
                || what.namespace == name.as_str() && for_project && allow(given)
            {
                return true;
            }
        }
        false
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn allowed(access: &Access, user: &User, what: &Attributes<'_>, pruned: bool) -> Option<String> {
    let namespace = match what {
        Attributes::Resource(what) => what.namespace,
        Attributes::Path { .. } => "",
    };
    let mut why = None;
    let asked = pruned.then_some(what);
    let _ = access.grants(user, namespace, asked, &mut |rules, by| {
        if !rules.iter().any(|rule| rule.allows(what)) {
            return ControlFlow::Continue(());
        }
        why = Some(by.to_string());
        ControlFlow::Break(())
    });
    why
}

fn somebody(access: &Access, id: &str) -> User {
    User {
        name: id.to_owned(),
        groups: access.groups_of(id).to_vec(),
        ..User::default()
    }
}

const VERBS: [&str; 4] = ["get", "update", "own", "create"];
const KINDS: [(&str, &str); 9] = [
    (GROUP, "clusters"),
    (GROUP, "projects"),
    (GROUP, "clusterroletemplatebindings"),
    (GROUP, "projectroletemplatebindings"),
    (GROUP, "users"),
    (GROUP, "preferences"),
    (GROUP, "settings"),
    (GROUP, "tokens"),
    ("", "secrets"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever was written and deleted in whatever order.
    #[test]
    fn the_index_says_what_all_objects_say(
        writes in prop::collection::vec((0..OBJECTS, any::<u64>(), 0..5u8), 20..80),
    ) {
        let (mut access, mut world) = (Access::default(), World::new());
        for (which, chance, how) in writes {
            let (key, value) = chosen(which, chance);
            if how == 0 {
                world.remove(&key);
                prop_assert!(access.set(&key, None));
            } else {
                prop_assert!(access.set(&key, Some(&entry(&key, &value))));
                world.insert(key, value);
            }
        }
        let by_hand = ByHand::new(&world);
        for id in ["u-0", "u-1", "u-2"] {
            let user = somebody(&access, id);
            prop_assert!(!user.is_master());
            let namespaces = access.namespaces(&user);
            for namespace in ["", "c-0", "p-0", "u-0", "elsewhere"] {
                for (group, resource) in KINDS {
                    for (verb, name) in VERBS.into_iter().flat_map(|verb| {
                        ["", "c-0", "p-0", "u-0"].map(|name| (verb, name))
                    }) {
                        let what = ResourceAttributes {
                            verb, group, resource, subresource: "", namespace, name,
                        };
                        let expected = by_hand.may(&user, &what);
                        let what = Attributes::Resource(what);
                        for pruned in [true, false] {
                            let found = allowed(&access, &user, &what, pruned);
                            prop_assert_eq!(found.is_some(), expected, "{:?} {:?} {:?}", id, what, found);
                        }
                        let elsewhere = Attributes::Resource(ResourceAttributes {
                            verb, group, resource, subresource: "", namespace: "", name,
                        });
                        if expected && allowed(&access, &user, &elsewhere, true).is_none() {
                            prop_assert!(namespaces.iter().any(|one| one == namespace));
                        }
                    }
                }
            }
        }
        for key in world.keys() {
            access.set(key, None);
        }
        prop_assert_eq!(format!("{:?}", access.bound), format!("{:?}", Everybody::default()));
        prop_assert!(access.people.is_empty() && access.projects.is_empty());
        prop_assert!(access.by_principal.is_empty() && access.clusters.is_empty());
        prop_assert!(access.projects_in.is_empty());
    }
}

fn with(objects: impl IntoIterator<Item = (String, Value)>) -> Access {
    let mut access = Access::default();
    for (key, value) in objects {
        assert!(access.set(&key, Some(&entry(&key, &value))), "{key}");
    }
    access
}

fn user(id: &str) -> (String, Value) {
    let fields = json!({"metadata": {"uid": format!("{id}-0")}});
    object::<lariat_api::User>("", id, fields)
}

fn bound(to: &str, more: Value) -> Value {
    let mut fields = more;
    fields["userName"] = json!(to);
    fields["metadata"]["ownerReferences"] = json!([Dice(0).owner(to)]);
    fields
}

fn asked<'a>(
    verb: &'a str,
    resource: &'a str,
    namespace: &'a str,
    name: &'a str,
) -> Attributes<'a> {
    let (group, resource) = match resource.split_once('.') {
        Some((resource, _)) => ("", resource),
        None => (GROUP, resource),
    };
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes::Resource(ResourceAttributes {
        verb,
        group,
        resource,
        subresource,
        namespace,
        name,
    })
}

/// The class of CVE-2021-36782: credentials in the namespaces of clusters, and roles that allow everything.
#[test]
fn who_owns_a_cluster_gets_none_of_the_servers_own_objects_in_its_namespace() {
    let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    let owner = json!({"context": "cluster", "rules": everything});
    let binding = bound(
        "u-0",
        json!({"clusterName": "c-0", "roleTemplateName": "owner"}),
    );
    let access = with([
        user("u-0"),
        object::<Cluster>("", "c-0", json!({})),
        object::<Cluster>("", "c-1", json!({})),
        object::<Project>("c-0", "p-0", json!({"spec": {"displayName": "x"}})),
        object::<RoleTemplate>("", "owner", owner),
        object::<ClusterRoleTemplateBinding>("c-0", "b", binding),
    ]);
    let ann = somebody(&access, "u-0");
    for (verb, resource, namespace, name) in [
        ("get", "secrets.", "c-0", "s"),
        ("list", "configmaps.", "c-0", ""),
        ("get", "secrets.", "p-0", "s"),
        ("create", "serviceaccounts.", "c-0", ""),
        ("update", "clusters/status", "", "c-0"),
        ("update", "clusterregistrationtokens/status", "c-0", "t"),
        ("create", "clusters", "", ""),
        ("get", "clusters", "", "c-1"),
        ("list", "clusters", "", ""),
        ("get", "projects", "c-1", "p"),
        ("get", "tokens", "", "t"),
        ("list", "tokens", "", ""),
        ("get", "users", "", "u-1"),
        ("bind", "roletemplates", "", "owner"),
        ("escalate", "roletemplates", "", "owner"),
        ("create", "preferences", "c-0", ""),
    ] {
        let what = asked(verb, resource, namespace, name);
        for pruned in [true, false] {
            assert_eq!(allowed(&access, &ann, &what, pruned), None, "{what:?}");
        }
    }
    let path = Attributes::Path {
        verb: "get",
        path: "/metrics",
    };
    assert_eq!(allowed(&access, &ann, &path, false), None);
    let why = "ClusterRoleTemplateBinding \"b/c-0\" of RoleTemplate \"owner\" to User \"u-0\"";
    for (verb, resource, namespace, name) in [
        ("delete", "clusters", "", "c-0"),
        ("own", "clusters", "", "c-0"),
        ("create", "projects", "c-0", ""),
        ("deletecollection", "clusterroletemplatebindings", "c-0", ""),
        ("create", "clusterregistrationtokens", "c-0", ""),
        ("create", "projectroletemplatebindings", "p-0", ""),
    ] {
        let what = asked(verb, resource, namespace, name);
        assert_eq!(
            allowed(&access, &ann, &what, true).as_deref(),
            Some(why),
            "{what:?}"
        );
    }
    assert_eq!(access.standing(&ann, "c-0"), Some(Standing::Owner));
    assert_eq!(access.standing(&ann, "c-1"), None);
    assert_eq!(access.held(&ann, Place::Cluster("c-0")), Rule::everything());
    assert_eq!(access.held(&ann, Place::Project("p-0")), Rule::everything());
    assert_eq!(access.held(&ann, Place::Cluster("c-1")), []);
    assert_eq!(access.held(&ann, Place::EveryCluster), []);
}

#[test]
fn external_templates_stand_for_what_every_cluster_has() {
    let external = json!({"context": "cluster", "external": true});
    let binding = bound(
        "u-0",
        json!({"clusterName": "c-0", "roleTemplateName": "view"}),
    );
    let access = with([
        user("u-0"),
        object::<Cluster>("", "c-0", json!({})),
        object::<RoleTemplate>("", "view", external.clone()),
        object::<RoleTemplate>("", "cluster-admin", external.clone()),
        object::<RoleTemplate>("", "unknown", external),
        object::<ClusterRoleTemplateBinding>("c-0", "b", binding),
    ]);
    assert_eq!(
        *access.template("cluster-admin").unwrap().rules,
        Rule::everything()
    );
    assert!(access.template("unknown").unwrap().rules.is_empty());
    let held = access.held(&somebody(&access, "u-0"), Place::Cluster("c-0"));
    let allows = |what: &Attributes<'_>| held.iter().any(|rule| rule.allows(what));
    assert!(allows(&asked("get", "pods.", "x", "p")));
    assert!(!allows(&asked("get", "secrets.", "x", "s")));
    let ann = somebody(&access, "u-0");
    assert_eq!(access.standing(&ann, "c-0"), Some(Standing::Member));
}

#[test]
fn administrators_hold_the_servers_own_role_of_that_name() {
    let binding = bound("u-0", json!({"globalRoleName": ADMIN}));
    let mut access = with([
        user("u-0"),
        object::<GlobalRole>("", ADMIN, json!({"builtin": false})),
        object::<GlobalRoleBinding>("", "b", binding),
    ]);
    assert!(
        !access.is_administrator("u-0", &[]),
        "anybody could make one"
    );
    let (key, role) = object::<GlobalRole>("", ADMIN, json!({"builtin": true}));
    access.set(&key, Some(&entry(&key, &role)));
    assert!(access.is_administrator("u-0", &[]));
    assert!(!access.is_administrator("u-1", &[]));
    // Made again under the same id.
    let fields = json!({"metadata": {"uid": "another"}});
    let (key, again) = object::<lariat_api::User>("", "u-0", fields);
    access.set(&key, Some(&entry(&key, &again)));
    assert!(!access.is_administrator("u-0", &[]));
}

#[test]
fn a_role_anywhere_in_a_cluster_demands_that_sessions_are_recorded() {
    let template = |name: &str, context: &str, fields: Value| {
        let mut fields = fields;
        fields["context"] = json!(context);
        object::<RoleTemplate>("", name, fields)
    };
    let to = |id: &str, mut fields: Value| {
        fields["userName"] = json!(id);
        let owner = json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": "User", "name": id,
            "uid": format!("{id}-0")});
        fields["metadata"] = json!({"ownerReferences": [owner]});
        fields
    };
    let in_cluster = |id: &str, role: &str| {
        let fields = to(id, json!({"clusterName": "c-0", "roleTemplateName": role}));
        object::<ClusterRoleTemplateBinding>("c-0", &format!("{id}-{role}"), fields)
    };
    let demands = json!({"sessionRecording": "required"});
    let access = with([
        user("u-member"),
        user("u-inherits"),
        user("u-project"),
        user("u-global"),
        user("u-other"),
        object::<Cluster>("", "c-0", json!({})),
        object::<Project>("c-0", "p-0", json!({"spec": {"displayName": "x"}})),
        template("watched", "cluster", demands.clone()),
        template(
            "above",
            "cluster",
            json!({"roleTemplateNames": ["watched"]}),
        ),
        template("beside", "cluster", json!({})),
        template("of-project", "project", demands),
        object::<GlobalRole>("", "all", json!({"inheritedClusterRoles": ["above"]})),
        in_cluster("u-member", "beside"),
        in_cluster("u-member", "watched"),
        in_cluster("u-inherits", "above"),
        in_cluster("u-other", "beside"),
        object::<ProjectRoleTemplateBinding>(
            "p-0",
            "b",
            to(
                "u-project",
                json!({"projectName": "c-0:p-0", "roleTemplateName": "of-project"}),
            ),
        ),
        object::<GlobalRoleBinding>("", "g", to("u-global", json!({"globalRoleName": "all"}))),
    ]);
    for (id, here, elsewhere) in [
        ("u-member", true, false),
        ("u-inherits", true, false),
        ("u-project", true, false),
        ("u-global", true, true),
        ("u-other", false, false),
        ("u-nobody", false, false),
    ] {
        let user = somebody(&access, id);
        assert_eq!(access.recorded(&user, "c-0"), here, "{id}");
        assert_eq!(access.recorded(&user, "c-1"), elsewhere, "{id}");
    }
}

#[test]
fn only_what_matters_counts_as_a_change() {
    let mut access = with([user("u-0")]);
    let mut seen = access.changes();
    let mut set = |key: &str, value: Option<&Value>| {
        access.set(key, value.map(|value| entry(key, value)).as_ref());
        let is_new = access.changes() != seen;
        seen = access.changes();
        is_new
    };
    let (key, value) = user("u-0");
    let mut seen_before = value.clone();
    seen_before["status"] = serde_json::json!({"conditions": []});
    assert!(!set(&key, Some(&seen_before)));
    let mut known = value;
    known["principalIds"] = serde_json::json!(["openldap_user://uid=ann"]);
    assert!(set(&key, Some(&known)));
    let (key, cluster) = object::<Cluster>("", "c-0", serde_json::json!({}));
    assert!(set(&key, Some(&cluster)));
    assert!(!set(&key, Some(&cluster)));
    assert!(set(&key, None));
    assert!(!set(&key, None));
}

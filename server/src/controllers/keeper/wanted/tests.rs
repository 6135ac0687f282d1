use super::*;
use crate::authz::Right;
use crate::controllers::object::Kept as _;

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> lariat_api::PolicyRule {
    let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    lariat_api::PolicyRule {
        verbs: list(verbs),
        api_groups: list(groups),
        resources: list(resources),
        ..lariat_api::PolicyRule::default()
    }
}

fn role(external: bool, rules: &[lariat_api::PolicyRule], with: &[&str]) -> Role {
    Role {
        external,
        rules: rules.to_vec(),
        with: with.iter().map(ToString::to_string).collect(),
    }
}

fn right(role: &str, holder: Holder, project: Option<&str>) -> Right {
    let namespace = project.unwrap_or("c-1").to_owned();
    Right {
        binding: (namespace, format!("of-{role}")),
        role: role.to_owned(),
        holder,
        project: project.map(ToOwned::to_owned),
    }
}

fn ann() -> Holder {
    Holder::User("u-ann".to_owned())
}

fn ops() -> Holder {
    Holder::Group("openldap_group://cn=ops".to_owned())
}

/// Roles of clusters and of projects, one of which inherits one that stands for a ClusterRole.
fn rights(bound: Vec<Right>) -> Rights {
    let roles = [
        (
            "nodes",
            role(false, &[rule(&[""], &["Nodes"], &["GET"])], &["nodes"]),
        ),
        ("edit", role(true, &[], &["edit"])),
        (
            "member",
            role(
                false,
                &[
                    rule(&[""], &["persistentvolumes"], &["get", "delete"]),
                    rule(&[""], &["pods"], &["get"]),
                ],
                &["member", "edit"],
            ),
        ),
    ];
    Rights {
        administrators: vec![Holder::User("u-admin".to_owned())],
        bound,
        projects: BTreeMap::new(),
        isolated: false,
        roles: roles.map(|(name, role)| (name.to_owned(), role)).into(),
    }
}

fn namespaces() -> BTreeMap<String, Vec<String>> {
    let names = vec!["shop".to_owned(), "till".to_owned()];
    [("p-1".to_owned(), names)].into()
}

fn wanted(bound: Vec<Right>, taken: &[&str]) -> Wanted {
    let taken = taken.iter().map(ToString::to_string).collect();
    Wanted::new(&rights(bound), &namespaces(), &taken, true)
}

/// Who is bound to what in the whole cluster.
fn whole(wanted: &Wanted) -> Vec<(String, String)> {
    let bindings = wanted.cluster_bindings.values();
    let mut bound: Vec<_> = bindings
        .map(|binding| {
            let subject = &binding.subjects.as_ref().unwrap()[0];
            (subject.name.clone(), binding.role_ref.name.clone())
        })
        .collect();
    bound.sort_unstable();
    bound
}

/// The same within namespaces.
fn within(wanted: &Wanted) -> Vec<(String, String, String)> {
    let bindings = wanted.bindings.iter();
    let mut bound: Vec<_> = bindings
        .map(|(key, binding)| {
            let subject = &binding.subjects.as_ref().unwrap()[0];
            let role = binding.role_ref.name.clone();
            (key.namespace.clone(), subject.name.clone(), role)
        })
        .collect();
    bound.sort_unstable();
    bound
}

fn pair(who: &str, role: &str) -> (String, String) {
    (who.to_owned(), role.to_owned())
}

#[test]
fn a_role_of_clusters_is_a_cluster_role_and_a_binding_with_the_cause_on_it() {
    let wanted = wanted(vec![right("nodes", ann(), None)], &[]);
    let expected = [pair("u-admin", "cluster-admin"), pair("u-ann", "nodes")];
    assert_eq!(whole(&wanted), expected);
    assert_eq!(within(&wanted), []);
    let (key, role) = wanted.roles.first_key_value().unwrap();
    assert_eq!((key.name.as_str(), wanted.roles.len()), ("nodes", 1));
    let rules = role.rules.as_ref().unwrap();
    assert_eq!(rules[0].verbs, ["get"]);
    assert_eq!(rules[0].resources.as_ref().unwrap(), &["nodes"]);
    let annotations = role.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations[names::TEMPLATE], "nodes");
    let names: Vec<_> = wanted.cluster_bindings.keys().collect();
    assert_eq!(names[0].name, names::cluster_binding("nodes", &ann()));
    assert_eq!(names[1].name, "globaladmin-u-admin");
    let labels = wanted.cluster_bindings[names[0]].metadata.labels.as_ref();
    assert_eq!(labels.unwrap()[names::OWNER], "c-1_of-nodes");
    for meta in wanted.cluster_bindings.values().map(|it| &it.metadata) {
        assert!(ClusterRoleBinding::is_ours(meta));
    }
}

#[test]
fn a_role_of_projects_is_bound_in_each_of_its_namespaces_with_what_it_inherits() {
    let wanted = wanted(vec![right("member", ann(), Some("p-1"))], &[]);
    let bound = |namespace: &str, role: &str| {
        let texts = [namespace, "u-ann", role].map(ToOwned::to_owned);
        let [namespace, who, role] = texts;
        (namespace, who, role)
    };
    let expected = [
        bound("shop", "edit"),
        bound("shop", "member"),
        bound("till", "edit"),
        bound("till", "member"),
    ];
    assert_eq!(within(&wanted), expected);
    // An external role is that of the cluster: none is made.
    let made: Vec<_> = wanted.roles.keys().map(|key| key.name.as_str()).collect();
    assert_eq!(made, ["member", "member-promoted"]);
}

#[test]
fn outside_of_namespaces_a_role_of_projects_only_reads_what_is_listed() {
    let wanted = wanted(vec![right("member", ann(), Some("p-1"))], &[]);
    assert!(whole(&wanted).contains(&pair("u-ann", "member-promoted")));
    let promoted = &wanted.roles[&Key::whole("member-promoted")];
    let rules = promoted.rules.as_ref().unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].verbs, ["get"]);
    assert_eq!(rules[0].resources.as_ref().unwrap(), &["persistentvolumes"]);
    let everything = [rule(&["*"], &["*"], &["*"])];
    let outside = outside(&role(false, &everything, &[]));
    assert!(outside.iter().all(|rule| rule.verbs == READ));
    assert!(outside.iter().all(|rule| {
        let named = rule.resources.as_ref().unwrap().iter();
        named.clone().count() == 1 && named.clone().all(|one| one != "secrets" && one != "*")
    }));
}

#[test]
fn nobody_is_bound_to_a_cluster_role_of_somebody_else() {
    let both = || vec![right("nodes", ann(), None), right("nodes", ops(), None)];
    let free = wanted(both(), &["nodes"]);
    let expected = [
        pair("cattle", names::GROUPS),
        pair("u-admin", "cluster-admin"),
    ];
    // The group is bound to nothing, and so not asked for.
    assert_eq!(whole(&free), &expected[1..]);
    assert_eq!(free.groups.len(), 0);
    // It is tried again whether it can be made.
    assert!(free.roles.contains_key(&Key::whole("nodes")));
    assert!(whole(&wanted(both(), &[])).contains(&expected[0]));
}

#[test]
fn the_agent_may_ask_in_the_name_of_bound_groups_and_of_no_others() {
    let without = wanted(vec![right("nodes", ann(), None)], &[]);
    assert!(!without.roles.contains_key(&Key::whole(names::GROUPS)));
    let with = wanted(vec![right("nodes", ops(), None)], &[]);
    let role = &with.roles[&Key::whole(names::GROUPS)];
    let rules = role.rules.as_ref().unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].verbs, ["impersonate", "impersonate:user-info"]);
    let groups = rules[0].api_groups.as_ref().unwrap();
    assert_eq!(groups, &["", "authentication.k8s.io"]);
    assert_eq!(rules[0].resources.as_ref().unwrap(), &["groups"]);
    let Holder::Group(ops) = ops() else { panic!() };
    assert_eq!(rules[0].resource_names.as_ref().unwrap(), &[ops]);
    let binding = &with.cluster_bindings[&Key::whole(names::GROUPS)];
    let subject = &binding.subjects.as_ref().unwrap()[0];
    assert_eq!(subject.kind, "ServiceAccount");
    assert_eq!(subject.namespace.as_deref(), Some("cattle-system"));
}

#[test]
fn a_template_with_the_name_of_another_of_ours_gives_nothing_of_that() {
    let mut rights = rights(vec![
        right("member", ann(), Some("p-1")),
        right("member-promoted", ops(), None),
        right(names::GROUPS, ann(), None),
    ]);
    for name in ["member-promoted", names::GROUPS] {
        let all = [rule(&["*"], &["*"], &["*"])];
        rights
            .roles
            .insert(name.to_owned(), role(false, &all, &[name]));
    }
    let wanted = Wanted::new(&rights, &namespaces(), &BTreeSet::new(), true);
    let bound = whole(&wanted);
    assert!(
        !bound.contains(&pair("u-ann", "member-promoted")),
        "{bound:?}"
    );
    assert!(!bound.contains(&pair("u-ann", names::GROUPS)), "{bound:?}");
    let groups = &wanted.roles[&Key::whole(names::GROUPS)];
    let verbs = &groups.rules.as_ref().unwrap()[0].verbs;
    assert_eq!(verbs, &["impersonate", "impersonate:user-info"]);
}

#[test]
fn who_is_given_a_role_twice_is_bound_once() {
    let mut second = right("nodes", ann(), None);
    second.binding.1 = "zzz".to_owned();
    let wanted = wanted(vec![right("nodes", ann(), None), second], &[]);
    let name = names::cluster_binding("nodes", &ann());
    let labels = &wanted.cluster_bindings[&Key::whole(&name)].metadata.labels;
    assert_eq!(labels.as_ref().unwrap()[names::OWNER], "c-1_of-nodes");
    assert_eq!(wanted.cluster_bindings.len(), 2);
}

#[test]
fn who_makes_namespaces_in_a_project_may_say_so_of_that_project_alone() {
    let mut rights = rights(vec![right("create-ns", ann(), Some("p-1"))]);
    let create = role(
        false,
        &[rule(&[""], &["namespaces"], &["create"])],
        &["create-ns"],
    );
    rights.roles.insert("create-ns".to_owned(), create);
    let new = |checked| Wanted::new(&rights, &namespaces(), &BTreeSet::new(), checked);
    let made = new(true);
    assert!(whole(&made).contains(&pair("u-ann", "p-1-namespaces-edit")));
    let role = &made.roles[&Key::whole("p-1-namespaces-edit")];
    let rules = role.rules.as_ref().unwrap();
    assert_eq!(rules[0].verbs, ["create"]);
    assert_eq!(rules[1].verbs, ["manage-namespaces"]);
    assert_eq!(rules[1].resource_names.as_ref().unwrap(), &["p-1"]);
    // Where nobody checks the project, they make none.
    let unchecked = new(false);
    assert!(
        !unchecked
            .roles
            .contains_key(&Key::whole("p-1-namespaces-edit"))
    );
    assert_eq!(whole(&unchecked), [pair("u-admin", "cluster-admin")]);
}

//! Which requests rules allow, what covers what, and to whom bindings give. The cases are those of
//! upstream's tests of `plugin/pkg/auth/authorizer/rbac` and `component-helpers/auth/rbac/validation`.

use super::index::Index;
use super::{Derived, Found, Rbac, Rule, cover, usual_rules};
use crate::cache::Item;
use crate::serve::{Attributes, Authorizer, Decision, ResourceAttributes, User};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;
use store::{Entry, Revision};

/// `VERBS GROUPS RESOURCES [NAMES]`, or `VERBS /PATHS`; lists with commas, `-` for the core group.
fn rule(text: &str) -> Rule {
    let list = |text: &str| -> Vec<String> {
        let parts = text.split(',').map(|part| part.replace('-', ""));
        parts.collect()
    };
    match text.split(' ').collect::<Vec<_>>().as_slice() {
        [verbs, urls] => Rule {
            verbs: list(verbs),
            non_resource_urls: list(urls),
            ..Rule::default()
        },
        [verbs, groups, resources, names @ ..] => Rule {
            verbs: list(verbs),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: names.first().map(|names| list(names)).unwrap_or_default(),
            ..Rule::default()
        },
        _ => panic!("{text:?} is no rule"),
    }
}

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| rule(text)).collect()
}

/// `VERB GROUP RESOURCE[/SUBRESOURCE] [NAME]`, or `VERB /PATH`.
fn asked(text: &str) -> Attributes<'_> {
    match text.split(' ').collect::<Vec<_>>().as_slice() {
        [verb, path] => Attributes::Path { verb, path },
        [verb, group, resource, name @ ..] => {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            Attributes::Resource(ResourceAttributes {
                verb,
                group: group.trim_matches('-'),
                resource,
                subresource,
                namespace: "",
                name: name.first().copied().unwrap_or_default(),
            })
        }
        _ => panic!("{text:?} is no request"),
    }
}

#[test]
fn rules_allow_what_upstreams_do() {
    for (text, allowed, denied) in [
        ("* g r", &["a g r", "b g r"][..], &["a h r", "a g s"][..]),
        ("a * r", &["a g r", "a h r"], &["b g r", "a g s"]),
        ("a g *", &["a g r", "a g s/x"], &["b g r", "a h r"]),
        (
            "a,b g,h r,s",
            &["a g r", "b h s"],
            &["c g r", "a i r", "a g t"],
        ),
        ("a - r", &["a - r"], &["a g r"]),
        ("* * r", &["a g r"], &["a g r/status"]),
        (
            "* * r/status",
            &["a g r/status"],
            &["a g r", "a g r/scale", "a g s/status"],
        ),
        (
            "* * */scale",
            &["a g r/scale", "a g s/scale"],
            &["a g r", "a g r/autoscale"],
        ),
        ("a g r n,m", &["a g r n", "a g r m"], &["a g r", "a g r o"]),
        ("a g r", &["a g r n"], &["a /r"]),
        (
            "get /apis",
            &["get /apis"],
            &["watch /apis", "get /apis/v1", "get - r"],
        ),
        (
            "get /apis/*",
            &["get /apis/v1", "get /apis/"],
            &["get /apis", "get /api/v1"],
        ),
        ("* *", &["get /", "put /x/y"], &["get - r"]),
        ("get /a*b", &["get /a*b"], &["get /aXb"]),
    ] {
        let rule = rule(text);
        for request in allowed {
            assert!(rule.allows(&asked(request)), "{text}: {request}");
        }
        for request in denied {
            assert!(!rule.allows(&asked(request)), "{text}: {request}");
        }
    }
}

#[test]
fn rules_cover_what_upstreams_do() {
    let all: &[&str] = &[];
    for (held, wanted, missing) in [
        (&["get v1 builds"][..], &["get v1 builds"][..], all),
        (&["get v1 */scale"], &["get v1 foo/scale"], all),
        (
            &[
                "delete v1 deployments",
                "delete v1 builds",
                "update v1 builds,deployments",
            ],
            &["delete,update v1 builds,deployments"],
            all,
        ),
        (
            &["delete,update a,b x,y"],
            &["delete a x", "update b y"],
            all,
        ),
        (
            &["delete,update v1 builds,deployments", "delete v1 pods"],
            &["delete,update v1 builds,deployments,pods"],
            &["update v1 pods"],
        ),
        (&["get * roles"], &["get a,b roles", "get * roles"], all),
        (&["get dummy roles"], &["get * roles"], &["get * roles"]),
        (&["* v1 roles"], &["watch,list v1 roles", "* v1 roles"], all),
        (
            &["get,list,watch v1 roles"],
            &["* v1 roles"],
            &["* v1 roles"],
        ),
        (
            &["get v1 *"],
            &["get v1 group:deployments", "get v1 *"],
            all,
        ),
        (&["get v1 roles"], &["get v1 *"], &["get v1 *"]),
        (&["get v1 pods"], &["get v1 pods foo,bar"], all),
        (&["get v1 pods foo,bar"], &["get v1 pods"], &["get v1 pods"]),
        (
            &["get v1 pods foo"],
            &["get v1 pods foo,bar"],
            &["get v1 pods bar"],
        ),
        (&["* /apis"], &["* /apis"], all),
        (&["* *"], &["* /apis,/apis/v1,/"], all),
        (&["* /apis/*"], &["* /apis,/apis/v1"], &["* /apis"]),
        (&["* /apis/*"], &["* /apis/v1/foo,/apis/*"], all),
        (&["get /apis"], &["get,put /apis"], &["put /apis"]),
        (&[], &["get - pods", "get /x"], &["get - pods", "get /x"]),
    ] {
        let found = match cover::missing(&rules(held), &rules(wanted)) {
            None => Vec::new(),
            Some(cover::Missing::Rules(missing)) => missing,
            Some(cover::Missing::TooMany) => panic!("{wanted:?} are too many"),
        };
        assert_eq!(found, rules(missing), "{held:?} {wanted:?}");
    }
}

#[test]
fn what_is_missing_is_told_by_resource() {
    let missing = cover::missing(
        &[],
        &rules(&["get,list - pods,secrets", "get /x", "put a b n"]),
    );
    let expected = r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}
{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}
{APIGroups:["a"], Resources:["b"], ResourceNames:["n"], Verbs:["put"]}
{NonResourceURLs:["/x"], Verbs:["get"]}"#;
    assert_eq!(missing.unwrap().to_string(), expected);
}

#[test]
fn rules_that_multiply_are_not_multiplied() {
    let many = |of: &str| (0..1000).map(|at| format!("{of}{at}")).collect::<Vec<_>>();
    let wanted = Rule {
        verbs: many("verb"),
        api_groups: many("group"),
        resources: many("resource"),
        resource_names: many("name"),
        ..Rule::default()
    };
    let missing = cover::missing(&rules(&["get - pods"]), std::slice::from_ref(&wanted));
    assert_eq!(missing, Some(cover::Missing::TooMany));
    assert_eq!(cover::missing(&Rule::everything(), &[wanted]), None);
}

/// Roles by `[NAMESPACE/]NAME` with a rule, bindings with a role and subjects.
fn rbac(roles: &[(&str, &str)], bindings: &[(&str, &str, &[Value])]) -> Rbac {
    let mut index = Index::default();
    for (key, text) in roles {
        let (namespace, name) = crate::keys::split(key);
        let role = json!({"rules": [rule(text)]});
        index.set_role(namespace, name, serde_json::from_value(role).ok());
    }
    for (key, role, subjects) in bindings {
        let (namespace, name) = crate::keys::split(key);
        let (kind, role) = role.split_once(' ').unwrap();
        let binding = json!({"roleRef": {"kind": kind, "name": role}, "subjects": subjects});
        index.set_binding(namespace, name, serde_json::from_value(binding).ok());
    }
    Rbac::new(index)
}

fn user(name: &str, groups: &[&str]) -> User {
    User {
        name: name.into(),
        groups: groups.iter().map(|group| (*group).into()).collect(),
        ..User::default()
    }
}

fn pods(namespace: &str) -> Attributes<'_> {
    Attributes::Resource(ResourceAttributes {
        verb: "get",
        resource: "pods",
        namespace,
        ..ResourceAttributes::default()
    })
}

fn decided(rbac: &Rbac, user: &User, namespace: &str) -> Result<String, String> {
    match rbac.authorize(user, &pods(namespace)) {
        Decision::AllowAs(why) => Ok(why),
        Decision::Deny(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bindings_give_to_users_groups_and_service_accounts() {
    let account = json!({"kind": "ServiceAccount", "name": "robot"});
    let rbac = rbac(
        &[("reader", "get - pods"), ("n/local", "get - pods")],
        &[
            (
                "n/a",
                "ClusterRole reader",
                &[json!({"kind": "User", "name": "ann"})],
            ),
            (
                "n/b",
                "Role local",
                &[json!({"kind": "Group", "name": "devs"}), account],
            ),
            (
                "c",
                "ClusterRole reader",
                &[json!({"kind": "Group", "name": "ops"})],
            ),
            (
                "d",
                "ClusterRole gone",
                &[json!({"kind": "User", "name": "eve"})],
            ),
            (
                "n/e",
                "Role gone",
                &[json!({"kind": "User", "name": "eve"})],
            ),
        ],
    );
    let nothing = Err(String::new());
    let ann = user("ann", &[]);
    let why = r#"RBAC: allowed by RoleBinding "a/n" of ClusterRole "reader" to User "ann""#;
    assert_eq!(decided(&rbac, &ann, "n"), Ok(why.into()));
    assert_eq!(decided(&rbac, &ann, "m"), nothing);
    assert_eq!(decided(&rbac, &ann, ""), nothing);
    let bob = user("bob", &["x", "devs"]);
    assert!(decided(&rbac, &bob, "n").is_ok());
    assert_eq!(decided(&rbac, &user("devs", &["ann"]), "n"), nothing);
    let robot = user("system:serviceaccount:n:robot", &[]);
    let why = r#"RBAC: allowed by RoleBinding "b/n" of Role "local" to ServiceAccount "robot/n""#;
    assert_eq!(decided(&rbac, &robot, "n"), Ok(why.into()));
    assert_eq!(
        decided(&rbac, &user("system:serviceaccount:m:robot", &[]), "n"),
        nothing
    );
    let why = r#"RBAC: allowed by ClusterRoleBinding "c" of ClusterRole "reader" to Group "ops""#;
    assert_eq!(decided(&rbac, &user("", &["ops"]), "m"), Ok(why.into()));
    let why = "RBAC: [clusterrole.rbac.authorization.k8s.io \"gone\" not found, role.rbac.authorization.k8s.io \"gone\" not found]";
    assert_eq!(decided(&rbac, &user("eve", &[]), "n"), Err(why.into()));
    assert_eq!(rbac.rules(&bob, "n").rules, rules(&["get - pods"]));
    rbac.write().set_binding("n", "a", None);
    assert_eq!(decided(&rbac, &ann, "n"), nothing);
}

#[test]
fn roles_are_put_together_from_those_that_they_select() {
    let mut index = Index::default();
    let mut set = |name: &str, role: Value| {
        index.set_role("", name, Some(serde_json::from_value(role).unwrap()));
    };
    let selector = json!({"matchExpressions": [
        {"key": "to", "operator": "In", "values": ["a", "b"]},
        {"key": "not", "operator": "DoesNotExist"}]});
    let labels = |labels: Value| json!({"labels": labels});
    set(
        "all",
        json!({
            "metadata": labels(json!({"to": "a"})), "rules": null,
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "a"}}, selector]},
        }),
    );
    let role = |to: Value, text: &str| json!({"metadata": labels(to), "rules": [rule(text)]});
    set("z", role(json!({"to": "a"}), "get - z"));
    set("y", role(json!({"to": "b"}), "get - y"));
    set("x", role(json!({"to": "a", "not": ""}), "get - z"));
    set("w", role(json!({"to": "b", "not": ""}), "get - w"));
    let wanted = rules(&["get - z", "get - y"]);
    assert_eq!(index.stale(), [("all".to_owned(), wanted)]);
}

/// Gives the user "ann" pods everywhere if they are called "hers", and all those in the namespace "n".
#[derive(Debug)]
struct Anns;

impl Derived for Anns {
    fn grants(
        &self,
        user: &User,
        namespace: &str,
        asked: Option<&Attributes<'_>>,
        found: &mut Found<'_>,
    ) {
        if user.name != "ann" {
            return;
        }
        assert!(asked.is_none_or(|asked| matches!(asked, Attributes::Resource(_))));
        let by = |what: &str| format!("Gift {what:?}");
        let named = rules(&["get,list - pods hers"]);
        if found(&named, &by("named")) == ControlFlow::Continue(()) && namespace == "n" {
            // What breaks ends it.
            let _ = found(&rules(&["get - pods"]), &by("n"));
        }
    }

    fn namespaces(&self, user: &User) -> Vec<String> {
        let some = if user.name == "ann" {
            &["m", "n"][..]
        } else {
            &[]
        };
        some.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn what_others_derive_is_given_as_well() {
    let ops = json!({"kind": "Group", "name": "ops"});
    let stored = rbac(
        &[("reader", "get - pods"), ("secrets", "get - secrets")],
        &[
            ("o/a", "ClusterRole reader", &[ops]),
            (
                "b",
                "ClusterRole secrets",
                &[json!({"kind": "User", "name": "ann"})],
            ),
            (
                "c",
                "ClusterRole gone",
                &[json!({"kind": "User", "name": "ann"})],
            ),
        ],
    );
    let rbac = stored.with(Arc::new(Anns));
    let (ann, bob) = (user("ann", &["ops"]), user("bob", &[]));
    let why = "RBAC: allowed by Gift \"n\"";
    assert_eq!(decided(&rbac, &ann, "n"), Ok(why.into()));
    let gone = "RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found";
    assert_eq!(decided(&rbac, &ann, "m"), Err(gone.into()));
    assert_eq!(decided(&rbac, &bob, "n"), Err(String::new()));
    let held = rules(&["get - secrets", "get,list - pods hers", "get - pods"]);
    assert_eq!(rbac.rules(&ann, "n").rules, held);

    let what = |namespace: &'static str, resource: &'static str| ResourceAttributes {
        verb: "list",
        resource,
        namespace,
        ..ResourceAttributes::default()
    };
    let seen = |user: &User, namespace: &'static str| -> Option<Vec<&str>> {
        let visible = rbac.visible(user, &what(namespace, "pods"))?;
        let all = ["n/any", "m/any", "m/hers", "o/any", "p/any"];
        let is_seen = |key: &&str| visible.sees(&item(key));
        Some(all.into_iter().filter(is_seen).collect())
    };
    assert_eq!(
        seen(&ann, ""),
        Some(vec!["n/any", "m/hers", "o/any"]),
        "by both, and by name"
    );
    assert!(seen(&ann, "m").is_some());
    assert_eq!(seen(&bob, ""), None);
    assert_eq!(seen(&user("eve", &["ops"]), ""), Some(vec!["o/any"]));
    assert_eq!(seen(&user("eve", &["ops"]), "p"), None);
    assert!(rbac.visible(&ann, &what("", "configmaps")).is_none());
}

fn item(below: &str) -> Item {
    let entry = Entry {
        key: format!("/{below}").into(),
        value: "{}".into(),
        created: Revision(1),
        modified: Revision(1),
        version: 1,
    };
    Item::unread(Arc::new(entry), below)
}

#[test]
fn roles_that_every_cluster_has_are_known() {
    let has = |name: &str, text: &str| {
        let rules = usual_rules(name).unwrap();
        rules.iter().any(|rule| rule.allows(&asked(text)))
    };
    assert_eq!(usual_rules("cluster-admin"), Some(Rule::everything()));
    for name in ["view", "edit", "admin"] {
        assert!(has(name, "get - pods"), "{name}");
        assert_eq!(has(name, "create - pods/exec"), name != "view", "{name}");
        let roles = "create rbac.authorization.k8s.io rolebindings";
        assert_eq!(has(name, roles), name == "admin", "{name}");
    }
    assert_eq!(usual_rules("unknown"), None);
}

//! The kinds that say who may do what: good and bad objects.

use super::*;

/// What is wrong with objects of a kind: `Nothing` where the list is empty.
fn check(kind: &str, cases: Vec<(&str, Value, Vec<&str>)>) {
    for (what, object, expected) in cases {
        assert_eq!(faults_of(kind, object, None), expected, "{kind}: {what}");
    }
}

/// What is wrong with changes of `old`.
fn check_changes(kind: &str, old: &Value, cases: Vec<(&str, Value, Vec<&str>)>) {
    for (what, new, expected) in cases {
        let found = faults_of(kind, new, Some(old.clone()));
        assert_eq!(found, expected, "{kind}: {what}");
    }
}

const LDAP_GROUP: &str = "openldap_group://cn=ops,dc=example,dc=org";
const LDAP_USER: &str = "openldap_user://uid=ann,dc=example,dc=org";

#[test]
fn a_binding_names_one_subject() {
    const ONE: &str = "<nil>: Invalid value: must name exactly one of userName, userPrincipalName and groupPrincipalName";
    let kinds = [
        ("GlobalRoleBinding", json!({"globalRoleName": "user"})),
        (
            "ClusterRoleTemplateBinding",
            json!({"roleTemplateName": "cluster-member"}),
        ),
        (
            "ProjectRoleTemplateBinding",
            json!({"roleTemplateName": "read-only", "projectName": "c-abcde:p-fghij"}),
        ),
    ];
    for (kind, role) in kinds {
        let with = |subject: Value| {
            let mut object = role.clone();
            for (field, value) in subject.as_object().unwrap() {
                object[field] = value.clone();
            }
            object
        };
        let user =
            "userName: Invalid value: \"ann\": must be the id of a user, which begins with 'u-'";
        let principal = "userPrincipalName: Invalid value: \"openldap_group://x\": must be the principal of a user, such as openldap_user://NAME";
        let group = "groupPrincipalName: Invalid value: \"system:masters\": must be the principal of a group, such as openldap_group://NAME";
        let control = "groupPrincipalName: Invalid value: \"a_org://x\\n\": must not contain control characters";
        let cases: Vec<(&str, Value, Vec<&str>)> = vec![
            ("a user", with(json!({"userName": "u-abcde"})), vec![]),
            (
                "a local principal",
                with(json!({"userPrincipalName": "local://u-abcde"})),
                vec![],
            ),
            (
                "a principal",
                with(json!({"userPrincipalName": LDAP_USER})),
                vec![],
            ),
            (
                "a group",
                with(json!({"groupPrincipalName": LDAP_GROUP})),
                vec![],
            ),
            (
                "a team",
                with(json!({"groupPrincipalName": "github_team://5"})),
                vec![],
            ),
            (
                "empty others",
                with(json!({"userName": "u-a", "groupPrincipalName": ""})),
                vec![],
            ),
            ("nobody", with(json!({})), vec![ONE]),
            (
                "empty texts",
                with(json!({"userName": "", "userPrincipalName": ""})),
                vec![ONE],
            ),
            (
                "two",
                with(json!({"userName": "u-a", "groupPrincipalName": LDAP_GROUP})),
                vec![ONE],
            ),
            ("no id", with(json!({"userName": "ann"})), vec![user]),
            (
                "a group as a user",
                with(json!({"userPrincipalName": "openldap_group://x"})),
                vec![principal],
            ),
            (
                "a group of Kubernetes",
                with(json!({"groupPrincipalName": "system:masters"})),
                vec![group],
            ),
            (
                "a line break",
                with(json!({"groupPrincipalName": "a_org://x\n"})),
                vec![control],
            ),
        ];
        check(kind, cases);
        let changed = |field: &str| format!("{field}: Invalid value: cannot be changed");
        let old = with(json!({"userName": "u-abcde"}));
        let [other, moved, role_changed] = [
            changed("userName"),
            changed("groupPrincipalName"),
            changed(match kind {
                "GlobalRoleBinding" => "globalRoleName",
                _ => "roleTemplateName",
            }),
        ];
        let mut other_role = old.clone();
        for field in ["globalRoleName", "roleTemplateName"] {
            if other_role[field].is_string() {
                other_role[field] = json!("other");
            }
        }
        let cases: Vec<(&str, Value, Vec<&str>)> = vec![
            ("nothing", old.clone(), vec![]),
            (
                "another user",
                with(json!({"userName": "u-other"})),
                vec![other.as_str()],
            ),
            (
                "a group",
                with(json!({"groupPrincipalName": LDAP_GROUP})),
                vec![moved.as_str()],
            ),
            ("nobody", with(json!({})), vec![ONE]),
            ("another role", other_role, vec![role_changed.as_str()]),
        ];
        check_changes(kind, &old, cases);
    }
}

#[test]
fn a_binding_to_a_role_template_stays_where_it_is() {
    let group =
        "groupName: Invalid value: \"system:masters\": is not taken: use groupPrincipalName";
    let role = "roleTemplateName: Required value";
    let binding = |fields: Value| {
        let mut object = json!({"userName": "u-a", "roleTemplateName": "cluster-owner"});
        for (field, value) in fields.as_object().unwrap() {
            object[field] = value.clone();
        }
        object
    };
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        (
            "of a cluster",
            binding(json!({"clusterName": "c-abcde"})),
            vec![],
        ),
        (
            "a group name",
            binding(json!({"groupName": "system:masters"})),
            vec![group],
        ),
        ("no group name", binding(json!({"groupName": ""})), vec![]),
    ];
    check("ClusterRoleTemplateBinding", cases);
    let found = faults_of(
        "ClusterRoleTemplateBinding",
        json!({"userName": "u-a"}),
        None,
    );
    assert_eq!(found[0], role);
    let old = binding(json!({"clusterName": "c-abcde"}));
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        ("left out", binding(json!({})), vec![]),
        (
            "another cluster",
            binding(json!({"clusterName": "c-other"})),
            vec!["clusterName: Invalid value: cannot be changed"],
        ),
    ];
    check_changes("ClusterRoleTemplateBinding", &old, cases);

    let no_project = |name: &str| {
        format!(
            "projectName: Invalid value: {name:?}: must be CLUSTER:PROJECT, such as c-abcde:p-fghij"
        )
    };
    let account = "serviceAccount: Invalid value: \"cattle-system:cattle\": is not taken: bind accounts of a cluster in the cluster";
    for bad in [
        "p-fghij",
        "c-abcde:",
        "c-abcde:default",
        "C:p-1",
        "a:p-1:p-2",
        "a/b:p-1",
    ] {
        let found = faults_of(
            "ProjectRoleTemplateBinding",
            binding(json!({"projectName": bad})),
            None,
        );
        assert_eq!(found, [no_project(bad)]);
    }
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        (
            "of a project",
            binding(json!({"projectName": "local:p-fghij"})),
            vec![],
        ),
        (
            "an account",
            binding(json!({"projectName": "a:p-1", "serviceAccount": "cattle-system:cattle"})),
            vec![account],
        ),
    ];
    check("ProjectRoleTemplateBinding", cases);
    let old = binding(json!({"projectName": "local:p-fghij"}));
    let moved = binding(json!({"projectName": "local:p-other"}));
    let expected = "projectName: Invalid value: cannot be changed";
    assert_eq!(
        faults_of("ProjectRoleTemplateBinding", moved, Some(old)),
        [expected]
    );
}

#[test]
fn rules_are_about_resources_or_urls() {
    const BOTH: &str = "Invalid value: must not be about both resources and URLs";
    const NEITHER: &str = "Invalid value: must name apiGroups and resources, or nonResourceURLs";
    let rule = |rule: Value| json!({"metadata": {"name": "support"}, "rules": [rule]});
    for kind in ["GlobalRole", "RoleTemplate"] {
        let (both, neither) = (format!("rules[0]: {BOTH}"), format!("rules[0]: {NEITHER}"));
        let cases: Vec<(&str, Value, Vec<&str>)> = vec![
            (
                "resources",
                rule(
                    json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"], "resourceNames": ["a"]}),
                ),
                vec![],
            ),
            (
                "urls",
                rule(json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]})),
                vec![],
            ),
            (
                "both",
                rule(
                    json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "nonResourceURLs": ["/"]}),
                ),
                vec![both.as_str()],
            ),
            (
                "no group",
                rule(json!({"verbs": ["get"], "resources": ["pods"]})),
                vec![neither.as_str()],
            ),
            (
                "nothing",
                rule(json!({"verbs": ["get"]})),
                vec![neither.as_str()],
            ),
            (
                "no verb",
                rule(json!({"verbs": [], "apiGroups": [""], "resources": ["pods"]})),
                vec![
                    "rules[0].verbs: Invalid value: 0: rules[0].verbs in body should have at least 1 items",
                ],
            ),
        ];
        check(kind, cases);
        let found = faults_of(
            kind,
            rule(json!({"apiGroups": [""], "resources": ["pods"]})),
            None,
        );
        assert_eq!(found[0], "rules[0].verbs: Required value");
    }
}

#[test]
fn a_global_role_has_rules_for_namespaces_too() {
    let in_namespace = |rule: Value| json!({"namespacedRules": {"fleet-default": [rule]}});
    let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]});
    let pods = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    let name = "inheritedClusterRoles[1]: Invalid value: \"A b\": must consist of lower-case letters, digits, '-' and '.', and start and end with a letter or digit";
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        ("resources", in_namespace(pods), vec![]),
        (
            "urls",
            in_namespace(urls),
            vec![
                "namespacedRules: Invalid value: must not be about URLs, which are in no namespace",
            ],
        ),
        (
            "inherited",
            json!({"inheritedClusterRoles": ["cluster-owner", "a.b"]}),
            vec![],
        ),
        (
            "no name",
            json!({"inheritedClusterRoles": ["a", "A b"]}),
            vec![name],
        ),
        (
            "twice",
            json!({"inheritedClusterRoles": ["a", "a"]}),
            vec!["inheritedClusterRoles[1]: Duplicate value: \"a\""],
        ),
    ];
    check("GlobalRole", cases);
}

#[test]
fn a_role_template_is_for_one_place() {
    let rule = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    let only = |field: &str, context: &str| {
        format!("{field}: Invalid value: is only for templates of the context '{context}'")
    };
    let [creator, member, administrative] = [
        only("clusterCreatorDefault", "cluster"),
        only("projectCreatorDefault", "project"),
        only("administrative", "cluster"),
    ];
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        ("of no context", json!({"rules": rule}), vec![]),
        (
            "of a cluster",
            json!({"context": "cluster", "clusterCreatorDefault": true, "administrative": true}),
            vec![],
        ),
        (
            "of a project",
            json!({"context": "project", "projectCreatorDefault": true}),
            vec![],
        ),
        (
            "external",
            json!({"external": true, "externalRules": rule}),
            vec![],
        ),
        (
            "external with rules",
            json!({"external": true, "rules": rule}),
            vec!["rules: Invalid value: an external template has no rules of its own"],
        ),
        (
            "external rules of its own",
            json!({"externalRules": rule}),
            vec!["externalRules: Invalid value: only an external template has these"],
        ),
        (
            "creators of clusters",
            json!({"context": "project", "clusterCreatorDefault": true}),
            vec![creator.as_str()],
        ),
        (
            "creators of projects",
            json!({"context": "cluster", "projectCreatorDefault": true}),
            vec![member.as_str()],
        ),
        (
            "of no context, administrative",
            json!({"administrative": true}),
            vec![administrative.as_str()],
        ),
        (
            "not administrative",
            json!({"administrative": false}),
            vec![],
        ),
        (
            "of another context",
            json!({"context": "node"}),
            vec![
                "context: Unsupported value: \"node\": supported values: \"\", \"cluster\", \"project\"",
            ],
        ),
        ("recorded", json!({"sessionRecording": "required"}), vec![]),
        (
            "recorded at times",
            json!({"sessionRecording": "sometimes"}),
            vec![
                "sessionRecording: Unsupported value: \"sometimes\": supported values: \"\", \"required\"",
            ],
        ),
    ];
    check("RoleTemplate", cases);
    let names: Vec<_> = (0..51).map(|name| format!("r{name}")).collect();
    let found = faults_of("RoleTemplate", json!({"roleTemplateNames": names}), None);
    assert_eq!(
        found,
        ["roleTemplateNames: Too many: 51: must have at most 50 items"]
    );
    let changed = "context: Invalid value: cannot be changed";
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        ("another", json!({"context": "project"}), vec![changed]),
        ("none", json!({}), vec![changed]),
        (
            "the same",
            json!({"context": "cluster", "locked": true}),
            vec![],
        ),
    ];
    check_changes("RoleTemplate", &json!({"context": "cluster"}), cases);
}

#[test]
fn a_project_divides_its_quota() {
    let label = "must consist of lower-case letters, digits and '-', and start and end with a letter or digit";
    let spec = |spec: Value| {
        let mut object = json!({"metadata": {"name": "p-abcde"}, "spec": spec});
        object["spec"]["displayName"] = json!("shop");
        object
    };
    let quota = |own: Value, each: Value| {
        spec(
            json!({"resourceQuota": {"limit": own}, "namespaceDefaultResourceQuota": {"limit": each}}),
        )
    };
    let within = |resource: &str| {
        format!(
            "spec.namespaceDefaultResourceQuota.limit.{resource}: Invalid value: must be within that of the project"
        )
    };
    let [pods, memory] = [within("pods"), within("limitsMemory")];
    let quantity = |value: &str| {
        format!(
            "spec.resourceQuota.limit.pods: Invalid value: {value:?}: must be a quantity of Kubernetes, not below zero"
        )
    };
    let [many, negative] = [quantity("many"), quantity("-1")];
    const BOTH: &str = "spec: Invalid value: must have both resourceQuota and namespaceDefaultResourceQuota, or neither";
    let gpu = "requests.example.org/gpu";
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        ("without", spec(json!({})), vec![]),
        (
            "with both",
            quota(
                json!({"pods": "10", "limitsMemory": "4Gi", "extended": {gpu: "2"}}),
                json!({"pods": "10", "limitsMemory": "512Mi", "extended": {gpu: "1"}}),
            ),
            vec![],
        ),
        (
            "with one",
            spec(json!({"resourceQuota": {"limit": {"pods": "1"}}})),
            vec![BOTH],
        ),
        (
            "with the other",
            spec(json!({"namespaceDefaultResourceQuota": {"limit": {}}})),
            vec![BOTH],
        ),
        (
            "more than all",
            quota(json!({"pods": "1"}), json!({"pods": "2"})),
            vec![pods.as_str()],
        ),
        (
            "in other units",
            quota(
                json!({"limitsMemory": "1Gi"}),
                json!({"limitsMemory": "1025Mi"}),
            ),
            vec![memory.as_str()],
        ),
        (
            "of something else",
            quota(json!({}), json!({"pods": "2"})),
            vec![pods.as_str()],
        ),
        (
            "extended",
            quota(
                json!({"extended": {gpu: "1"}}),
                json!({"extended": {gpu: "2"}}),
            ),
            vec![
                "spec.namespaceDefaultResourceQuota.limit.extended: Invalid value: must be within those of the project",
            ],
        ),
        (
            "no quantity",
            quota(json!({"pods": "many"}), json!({"pods": "1"})),
            vec![many.as_str()],
        ),
        (
            "below zero",
            quota(json!({"pods": "-1"}), json!({})),
            vec![negative.as_str()],
        ),
        (
            "a container",
            spec(
                json!({"containerDefaultResourceLimit": {"requestsCpu": "2", "limitsCpu": "500m"}}),
            ),
            vec![
                "spec.containerDefaultResourceLimit.requestsCpu: Invalid value: must be within limitsCpu",
            ],
        ),
        (
            "a good container",
            spec(
                json!({"containerDefaultResourceLimit": {"requestsCpu": "0.5", "limitsCpu": "500m", "requestsMemory": "1Gi"}}),
            ),
            vec![],
        ),
    ];
    check("Project", cases);
    let mut named = spec(json!({}));
    named["metadata"]["name"] = json!("shop");
    assert_eq!(
        faults_of("Project", named, None),
        ["metadata.name: Invalid value: \"shop\": must begin with 'p-'"]
    );
    let mut named = spec(json!({}));
    named["metadata"]["name"] = json!("p-Shop");
    let expected = format!("metadata.name: Invalid value: \"p-Shop\": {label}");
    assert_eq!(faults_of("Project", named, None), [expected]);
    let found = faults_of("Project", json!({"metadata": {"name": "p-a"}}), None);
    assert_eq!(found[0], "spec: Required value");
    let found = faults_of("Project", json!({"spec": {"displayName": ""}}), None);
    assert_eq!(found.len(), 1, "{found:?}");
    let old = spec(json!({"clusterName": "c-1"}));
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        ("left out", spec(json!({})), vec![]),
        (
            "moved",
            spec(json!({"clusterName": "c-2"})),
            vec!["spec.clusterName: Invalid value: cannot be changed"],
        ),
    ];
    check_changes("Project", &old, cases);
}

#[test]
fn users_preferences_and_clusters_have_bounds() {
    let duration = |field: &str| {
        format!(
            "{field}: Invalid value: \"a month\": must be a duration in hours, minutes and seconds, such as 720h"
        )
    };
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        (
            "good",
            json!({"metadata": {"name": "u-a"}, "disableAfter": "720h30m", "deleteAfter": ""}),
            vec![],
        ),
        (
            "of nobody",
            json!({"metadata": {"name": "ann"}}),
            vec!["metadata.name: Invalid value: \"ann\": must begin with 'u-'"],
        ),
    ];
    check("UserAttribute", cases);
    let attribute = json!({"disableAfter": "a month", "deleteAfter": "a month"});
    let expected = [duration("deleteAfter"), duration("disableAfter")];
    assert_eq!(faults_of("UserAttribute", attribute, None), expected);
    let preference = json!({"value": "x".repeat(65_537)});
    let expected = "value: Too long: may not be more than 65536 bytes";
    assert_eq!(faults_of("Preference", preference, None), [expected]);

    let endpoint = |endpoint: Value| json!({"spec": {"localClusterAuthEndpoint": endpoint}});
    let at = "spec.localClusterAuthEndpoint";
    let address = |fqdn: &str| {
        format!("{at}.fqdn: Invalid value: {fqdn:?}: must be a name, with a port or without")
    };
    for good in ["", "k8s.example.org", "10.0.0.1:6443"] {
        assert_eq!(
            faults_of(
                "Cluster",
                endpoint(json!({"enabled": true, "fqdn": good})),
                None
            ),
            [""; 0]
        );
    }
    for bad in ["https://k8s.example.org", "a b", "k8s/", "-a", "a:b"] {
        let found = faults_of("Cluster", endpoint(json!({"fqdn": bad})), None);
        assert_eq!(found, [address(bad)]);
    }
    let found = faults_of("Cluster", endpoint(json!({"caCerts": "none"})), None);
    let expected = format!("{at}.caCerts: Invalid value: \"none\": must be certificates in PEM");
    assert_eq!(found, [expected]);
}

#[test]
fn the_name_to_log_in_is_given_once_or_never() {
    let user = |username: Value| json!({"metadata": {"name": "u-1"}, "username": username});
    let changed: &[&str] = &["username: Invalid value: cannot be changed"];
    for (old, new, expected) in [
        (json!("ann"), json!("ann"), &[][..]),
        (json!("ann"), json!("bob"), changed),
        (json!("ann"), json!(""), changed),
        (json!(""), json!("ann"), changed),
        (json!(""), json!(""), &[][..]),
    ] {
        let case = format!("{old} {new}");
        let found = faults_of("User", user(new), Some(user(old)));
        assert_eq!(found, expected, "{case}");
    }
    let without = json!({"metadata": {"name": "u-1"}});
    let found = faults_of("User", without.clone(), Some(user(json!("ann"))));
    assert_eq!(found, changed);
    assert_eq!(faults_of("User", without, Some(user(json!("")))), [""; 0]);
}

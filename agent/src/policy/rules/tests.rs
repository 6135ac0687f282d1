use super::*;
use http::Request;

const OPEN: &str = r#"
impersonate: {users: ["u-*"], groups: ["*"]}
access: readWrite
namespaces: ["*"]
"#;

fn ask(policy: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<(), Denied> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    Policy::parse(policy, "cattle-system")
        .unwrap()
        .check(&parts)
}

fn as_user(policy: &str, method: &str, path: &str) -> Result<(), Denied> {
    ask(policy, method, path, &[("Impersonate-User", "u-1")])
}

#[test]
fn an_empty_policy_denies() {
    assert_eq!(
        as_user("{}", "GET", "/api/v1/pods"),
        Err(Denied::User("u-1".into()))
    );
}

#[test]
fn a_misspelt_rule_is_an_error() {
    assert!(Policy::parse("acess: readWrite", "").is_err());
    assert!(Policy::parse("impersonate: {user: [\"*\"]}", "").is_err());
    assert!(Policy::parse("access: all", "").is_err());
}

#[test]
fn only_health_and_version_are_asked_in_the_agents_own_name() {
    assert_eq!(ask(OPEN, "GET", "/readyz", &[]), Ok(()));
    assert_eq!(ask(OPEN, "POST", "/readyz", &[]), Err(Denied::NoUser));
    assert_eq!(
        ask(OPEN, "GET", "/api/v1/secrets", &[]),
        Err(Denied::NoUser)
    );
    let empty = [("Impersonate-User", "")];
    assert_eq!(
        ask(OPEN, "GET", "/api/v1/secrets", &empty),
        Err(Denied::NoUser)
    );
    let group_only = [("Impersonate-Group", "ops")];
    assert_eq!(
        ask(OPEN, "GET", "/readyz", &group_only),
        Err(Denied::NoUser)
    );
}

#[test]
fn people_have_names_of_any_language() {
    let named = |bytes: &[u8]| {
        let name = http::HeaderValue::from_bytes(bytes).unwrap();
        let request = Request::get("/api")
            .header("Impersonate-User", "u-1")
            .header("Impersonate-Extra-Username", name);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Policy::parse(OPEN, "cattle-system").unwrap().check(&parts)
    };
    assert_eq!(named("J\u{fc}rgen \u{738b}".as_bytes()), Ok(()));
    assert!(matches!(named(b"J\xfcrgen"), Err(Denied::Ambiguous(_))));
}

#[test]
fn reserved_groups_are_denied_whatever_the_policy_says() {
    for group in [
        "system:masters",
        "system:nodes",
        "system:serviceaccounts",
        "system:unauthenticated",
    ] {
        let headers = [
            ("Impersonate-User", "u-1"),
            ("impersonate-group", "ops"),
            ("IMPERSONATE-GROUP", group),
        ];
        assert_eq!(
            ask(OPEN, "GET", "/api", &headers),
            Err(Denied::Group(group.into()))
        );
    }
    let headers = [
        ("Impersonate-User", "u-1"),
        ("Impersonate-Group", "system:authenticated"),
    ];
    assert_eq!(ask(OPEN, "GET", "/api", &headers), Ok(()));
}

#[test]
fn users_outside_the_policy_and_ambiguous_headers_are_denied() {
    let denied = |name: &str| Err(Denied::User(name.into()));
    for name in ["admin", "system:kube-controller-manager", "U-1"] {
        assert_eq!(
            ask(OPEN, "GET", "/api", &[("Impersonate-User", name)]),
            denied(name)
        );
    }
    let twice = [("Impersonate-User", "u-1"), ("Impersonate-User", "u-2")];
    assert!(matches!(
        ask(OPEN, "GET", "/api", &twice),
        Err(Denied::Ambiguous(_))
    ));
    for unknown in [
        "Impersonate-Everything",
        "Impersonate-Extra",
        "Impersonate_Group",
        "IMPERSONATE_USER",
        "Impersonate",
    ] {
        let headers = [("Impersonate-User", "u-1"), (unknown, "yes")];
        let denied = ask(OPEN, "GET", "/api", &headers);
        assert!(matches!(denied, Err(Denied::Ambiguous(_))), "{unknown}");
    }
    let extras = [
        ("Impersonate-User", "u-1"),
        ("Impersonate-Uid", "1"),
        ("Impersonate-Extra-Scopes", "a"),
    ];
    assert_eq!(ask(OPEN, "GET", "/api", &extras), Ok(()));
}

#[test]
fn read_only_allows_reading_and_questions() {
    let policy = r#"{impersonate: {users: ["*"]}, namespaces: ["*"]}"#;
    for (method, path, allowed) in [
        ("GET", "/api/v1/namespaces/a/pods", true),
        ("GET", "/api/v1/namespaces/a/pods/p/log", true),
        ("DELETE", "/api/v1/namespaces/a/pods/p", false),
        ("POST", "/api/v1/namespaces/a/pods", false),
        // kubectl execs with a GET when it uses WebSockets.
        ("GET", "/api/v1/namespaces/a/pods/p/exec", false),
        ("GET", "/api/v1/namespaces/a/pods/p/ex%65c", false),
        ("GET", "/api/v1/nodes/n/proxy/run", false),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            true,
        ),
    ] {
        let expected = if allowed {
            Ok(())
        } else {
            Err(Denied::ReadOnly)
        };
        assert_eq!(as_user(policy, method, path), expected, "{method} {path}");
    }
}

#[test]
fn other_namespaces_and_the_rest_of_the_cluster_are_denied() {
    let policy = r#"{impersonate: {users: ["*"]}, access: readWrite, namespaces: [dev, "team-*"]}"#;
    for (path, allowed) in [
        ("/api/v1/namespaces/dev/pods", true),
        ("/apis/apps/v1/namespaces/team-a/deployments/d", true),
        ("/api/v1/namespaces/dev", true),
        ("/api/v1/namespaces/kube-system/secrets", false),
        ("/api/v1/namespaces/%6bube-system/secrets", false),
        ("/api/v1/secrets", false),
        ("/api/v1/namespaces", false),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", false),
        ("/metrics", false),
        ("/api", true),
        ("/apis/apps/v1", true),
        ("/openapi/v3", true),
        (
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            true,
        ),
    ] {
        assert_eq!(as_user(policy, "GET", path).is_ok(), allowed, "{path}");
    }
}

#[test]
fn a_path_that_means_another_one_is_denied() {
    let policy = r#"{impersonate: {users: ["*"]}, access: readWrite, namespaces: [dev]}"#;
    for path in [
        "/api/v1/namespaces/dev/../kube-system/secrets",
        "/api/v1/namespaces/dev/%2e%2e/kube-system/secrets",
        "/api/v1/namespaces/dev%2f..%2fkube-system/secrets",
        "/api/v1/namespaces/dev/%ff",
    ] {
        assert_eq!(as_user(policy, "GET", path), Err(Denied::Path), "{path}");
    }
}

#[test]
fn the_policy_is_not_changed_and_the_key_not_read_through_the_tunnel() {
    for (method, path, allowed) in [
        (
            "GET",
            "/api/v1/namespaces/cattle-system/configmaps/cattle-agent-policy",
            true,
        ),
        (
            "PATCH",
            "/api/v1/namespaces/cattle-system/configmaps/cattle-agent-policy",
            false,
        ),
        (
            "DELETE",
            "/api/v1/namespaces/cattle-system/configmaps/cattle-agent-polic%79",
            false,
        ),
        (
            "DELETE",
            "/api/v1/namespaces/cattle-system/configmaps",
            false,
        ),
        (
            "PATCH",
            "/api/v1/namespaces/cattle-system/configmaps/other",
            true,
        ),
        (
            "PATCH",
            "/api/v1/namespaces/dev/configmaps/cattle-agent-policy",
            true,
        ),
        (
            "GET",
            "/api/v1/namespaces/cattle-system/secrets/cattle-credentials",
            false,
        ),
        (
            "GET",
            "/api/v1/watch/namespaces/cattle-system/secrets/cattle-credentials",
            false,
        ),
        (
            "GET",
            "/api/v1/watch/namespaces/cattle-system/secrets/cattle%2Dcredentials",
            false,
        ),
        (
            "GET",
            "/api/v1//namespaces/cattle-system//secrets/cattle-credentials/",
            false,
        ),
        (
            "HEAD",
            "/api/v1/namespaces/cattle-system/secrets/cattle-credentials",
            false,
        ),
        (
            "GET",
            "/api/v1/namespaces/cattle-system/secrets/other",
            true,
        ),
    ] {
        let answer = as_user(OPEN, method, path);
        assert_eq!(answer.is_ok(), allowed, "{method} {path}: {answer:?}");
    }
}

#[test]
fn components_of_the_cluster_are_never_impersonated() {
    let all = r#"{impersonate: {users: ["*"]}, access: readWrite, namespaces: ["*"]}"#;
    let admin = [("Impersonate-User", "system:kube-controller-manager")];
    assert!(matches!(
        ask(all, "GET", "/api", &admin),
        Err(Denied::User(_))
    ));
}

#[test]
fn the_policy_of_the_import_manifest_lets_in_the_servers_users_and_controllers_and_no_others() {
    let manifest = include_str!("../../../../manifests/cluster-agent.yaml");
    let (_, rest) = manifest.split_once("  policy.yaml: |\n").unwrap();
    let (policy, _) = rest.split_once("\n---\n").unwrap();
    let asked = |user: &str, group: &str| {
        let headers = [("Impersonate-User", user), ("Impersonate-Group", group)];
        ask(policy, "GET", "/api/v1/pods", &headers)
    };
    for group in [
        "lariat:authenticated",
        "openldap_group://cn=ops",
        "activedirectory_group://CN=Ops",
        "github_team://7",
        "keycloakoidc_group://ops",
        "openldap_group://cn=Köche",
    ] {
        for user in ["u-abcde", "lariat:controllers"] {
            assert_eq!(asked(user, group), Ok(()), "{user} in {group}");
        }
    }
    let plain = "lariat:authenticated";
    for user in ["admin", "lariat:controllers2", "system:admin"] {
        assert_eq!(asked(user, plain), Err(Denied::User(user.into())));
    }
    for group in ["ops", "system:masters", "oidc:admins"] {
        assert_eq!(asked("u-abcde", group), Err(Denied::Group(group.into())));
    }
}

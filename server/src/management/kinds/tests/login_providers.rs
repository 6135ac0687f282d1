//! Login providers: good and bad settings.

use super::*;

fn config(name: &str, type_: &str, fields: Value) -> Value {
    let mut config = fields;
    config["metadata"]["name"] = json!(name);
    config["type"] = json!(type_);
    config
}

#[test]
fn a_provider_has_the_type_of_its_name() {
    let names = [
        ("local", "localConfig"),
        ("openldap", "openLdapConfig"),
        ("activedirectory", "activeDirectoryConfig"),
        ("github", "githubConfig"),
        ("oidc", "oidcConfig"),
        ("keycloakoidc", "keyCloakOIDCConfig"),
    ];
    let all = names
        .map(|(name, type_)| format!("{name}: {type_}"))
        .join(", ");
    let wrong =
        format!("type: Invalid value: must be the type of the provider of that name ({all})");
    for (name, type_) in names {
        let enabled = json!({"enabled": name == "local"});
        let good = config(name, type_, enabled.clone());
        assert_eq!(faults_of("AuthConfig", good, None), [""; 0], "{name}");
        for other in ["openldap2", "Local", ""] {
            let bad = config(other, type_, enabled.clone());
            let found = faults_of("AuthConfig", bad, None);
            assert_eq!(found, [wrong.as_str()], "{other}");
        }
    }
    let bad = config("github", "oidcConfig", json!({}));
    assert_eq!(faults_of("AuthConfig", bad, None), [wrong]);
    let found = faults_of(
        "AuthConfig",
        config("github", "samlConfig", json!({})),
        None,
    );
    assert!(
        found[0].starts_with("type: Unsupported value: \"samlConfig\""),
        "{found:?}"
    );
}

#[test]
fn a_provider_is_enabled_with_what_it_needs() {
    let needed = |field: &str| format!("{field}: Invalid value: is needed by this provider");
    for (name, type_, needs) in [
        (
            "openldap",
            "openLdapConfig",
            &[
                "servers",
                "userSearchBase",
                "serviceAccountDistinguishedName",
                "serviceAccountPassword",
            ][..],
        ),
        (
            "activedirectory",
            "activeDirectoryConfig",
            &[
                "servers",
                "userSearchBase",
                "serviceAccountUsername",
                "serviceAccountPassword",
            ],
        ),
        ("github", "githubConfig", &["clientId", "clientSecret"]),
        (
            "oidc",
            "oidcConfig",
            &["clientId", "clientSecret", "issuer", "rancherUrl"],
        ),
        (
            "keycloakoidc",
            "keyCloakOIDCConfig",
            &["clientId", "clientSecret", "issuer", "rancherUrl"],
        ),
    ] {
        let found = faults_of(
            "AuthConfig",
            config(name, type_, json!({"enabled": true})),
            None,
        );
        let expected: Vec<_> = needs.iter().map(|field| needed(field)).collect();
        assert_eq!(found, expected, "{name}");
        let mut complete = json!({"enabled": true});
        for field in needs {
            complete[field] = match *field {
                "servers" => json!(["ldap.example.org"]),
                "issuer" | "rancherUrl" => json!("https://example.org/realms/a"),
                _ => json!("something"),
            };
        }
        let found = faults_of("AuthConfig", config(name, type_, complete), None);
        assert_eq!(found, [""; 0], "{name}");
    }
    let found = faults_of(
        "AuthConfig",
        config("local", "localConfig", json!({})),
        None,
    );
    assert_eq!(
        found,
        ["enabled: Invalid value: local accounts are always enabled"]
    );
}

#[test]
fn settings_of_a_provider_have_bounds() {
    let ldap = |fields: Value| config("openldap", "openLdapConfig", fields);
    let both = ldap(json!({"tls": true, "starttls": true}));
    let expected = "starttls: Invalid value: must not be set together with tls";
    assert_eq!(faults_of("AuthConfig", both, None), [expected]);
    for fields in [
        json!({"port": 0}),
        json!({"port": 65_536}),
        json!({"connectionTimeout": 1}),
        json!({"servers": [""]}),
        json!({"accessMode": "some"}),
        json!({"allowedPrincipalIds": ["a", "a"]}),
    ] {
        let case = fields.to_string();
        assert_eq!(
            faults_of("AuthConfig", ldap(fields), None).len(),
            1,
            "{case}"
        );
    }
    for bad in [
        "javascript:alert(1)",
        "example.org",
        "https://",
        "ftp://example.org",
        "/a",
    ] {
        let oidc = config("oidc", "oidcConfig", json!({"issuer": bad}));
        let expected = format!("issuer: Invalid value: {bad:?}: must be the URL of a web server");
        assert_eq!(faults_of("AuthConfig", oidc, None), [expected]);
    }
}

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const POLICY: &str = "impersonate: {users: ['u-*'], groups: ['lariat:*']}\n\
                      access: readWrite\nnamespaces: ['*']\n";

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn object<K: serde::de::DeserializeOwned>(name: &str, fields: Value) -> K {
    let mut object = fields;
    object["metadata"]["name"] = json!(name);
    serde_json::from_value(object).unwrap()
}

fn hash(secret: &str) -> String {
    format!("$2::{}", BASE64.encode(Sha256::digest(secret)))
}

/// Everything was read, and there is nothing.
fn empty() -> Known {
    let known = Known::default();
    known.take_in_token(Event::InitDone);
    known.take_in_user(Event::InitDone);
    known.set_policy(Policy::read(POLICY));
    known
}

/// The token `token-1` of `u-ann`, whose secret is `s3cret`, is known.
fn with_ann() -> Known {
    let known = empty();
    let token = json!({"userName": "u-ann", "enabled": true, "hash": hash("s3cret"),
        "expiresAt": "2026-01-02T00:00:00Z"});
    known.take_in_token(Event::Apply(object("token-1", token)));
    let ann = json!({"enabled": true, "groups": ["lariat:authenticated"], "extraByProvider": {
        "local": {"username": ["ann"], "principalid": ["local://u-ann"]},
        "openldap": {"username": ["ann"], "principalid": ["openldap_user://ann"]},
    }});
    known.take_in_user(Event::Apply(object("u-ann", ann)));
    known
}

#[test]
fn a_token_is_its_users_with_groups_and_what_the_server_says_besides() {
    let found = with_ann().authenticate("token-1:s3cret", now()).unwrap();
    let expected = json!({
        "username": "u-ann",
        "groups": ["lariat:authenticated"],
        "extra": {
            "principalid": ["local://u-ann", "openldap_user://ann"],
            "management.cattle.io/requesttokenid": ["token-1"],
            "username": ["ann"],
        },
    });
    assert_eq!(serde_json::to_value(found).unwrap(), expected);
}

#[test]
fn other_secrets_names_and_forms_are_refused() {
    let known = with_ann();
    let long = format!("token-1:{}", "s".repeat(MOST_SECRET + 1));
    for (bearer, why) in [
        ("token-1:s3cre", Refusal::Unknown),
        ("token-1:s3cret ", Refusal::Unknown),
        ("token-1:s3cret:", Refusal::Unknown),
        ("token-2:s3cret", Refusal::Unknown),
        ("TOKEN-1:s3cret", Refusal::Unknown),
        ("token-1:", Refusal::NotOurs),
        (":s3cret", Refusal::NotOurs),
        ("token-1", Refusal::NotOurs),
        ("", Refusal::NotOurs),
        (&long, Refusal::NotOurs),
    ] {
        assert_eq!(known.authenticate(bearer, now()), Err(why), "{bearer}");
    }
}

#[test]
fn a_token_ends_when_it_expires() {
    let known = with_ann();
    let end: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
    let before = end - jiff::SignedDuration::from_secs(1);
    assert!(known.authenticate("token-1:s3cret", before).is_ok());
    assert_eq!(
        known.authenticate("token-1:s3cret", end),
        Err(Refusal::Expired)
    );
}

#[test]
fn what_is_disabled_half_there_or_being_deleted_lets_nobody_in() {
    let refused = |change: &dyn Fn(&Known)| {
        let known = with_ann();
        change(&known);
        known.authenticate("token-1:s3cret", now()).unwrap_err()
    };
    let token = |user: &str, changed: Value| {
        let mut fields = json!({"userName": user, "enabled": true, "hash": hash("s3cret")});
        let changed = changed.as_object().unwrap().clone();
        fields.as_object_mut().unwrap().extend(changed);
        refused(&move |known| known.take_in_token(Event::Apply(object("token-1", fields.clone()))))
    };
    let user = |fields: Value| {
        refused(&move |known| known.take_in_user(Event::Apply(object("u-ann", fields.clone()))))
    };
    assert_eq!(token("u-ann", json!({"enabled": false})), Refusal::Disabled);
    assert_eq!(token("u-eve", json!({})), Refusal::Unknown);
    assert_eq!(
        token("u-ann", json!({"expiresAt": "soon"})),
        Refusal::Unknown
    );
    for other in ["", "$1:xx:15:8:1:yy", "s3cret"] {
        assert_eq!(
            token("u-ann", json!({"hash": other})),
            Refusal::Unknown,
            "{other}"
        );
    }
    let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    assert_eq!(
        token("u-ann", json!({"metadata": deleted})),
        Refusal::Disabled
    );
    assert_eq!(user(json!({"enabled": false})), Refusal::Disabled);
    assert_eq!(
        user(json!({"enabled": true, "metadata": deleted})),
        Refusal::Disabled
    );
    let gone = refused(&|known| known.take_in_user(Event::Delete(object("u-ann", json!({})))));
    assert_eq!(gone, Refusal::Unknown);
}

#[test]
fn the_server_gives_nobody_more_than_the_policy_of_the_cluster_allows() {
    let known = with_ann();
    let lifted = json!({"enabled": true, "groups": ["lariat:authenticated", "system:masters"]});
    known.take_in_user(Event::Apply(object("u-ann", lifted)));
    let why = Denied::Group("system:masters".to_owned());
    let refused = known.authenticate("token-1:s3cret", now());
    assert_eq!(refused, Err(Refusal::Denied(why)));
}

#[test]
fn nobody_is_let_in_before_everything_was_read() {
    let known = Known::default();
    assert_eq!(known.authenticate("a:b", now()), Err(Refusal::NotReady));
    known.take_in_token(Event::InitDone);
    known.take_in_user(Event::InitDone);
    assert_eq!(known.authenticate("a:b", now()), Err(Refusal::NotReady));
    assert!(!known.is_ready());
    known.set_policy(Policy::read(POLICY));
    assert_eq!(known.authenticate("a:b", now()), Err(Refusal::Unknown));
    assert!(known.is_ready());
}

//! A real OpenID provider signs people in, and out again; the client is curl.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, process::Command};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};
use testbed::{
    Testbed,
    browser::{Browser, Visit, Visitor},
    clients,
    oidc::{Account, Client, Oidc, OidcOptions},
};
use url::Url;

const CALLBACK: &str = "https://lariat.test/callback";
const AFTER_LOGOUT: &str = "https://lariat.test/";
const VERIFIER: &str = "a-code-verifier-has-at-least-forty-three-characters";
const ALICE: Visitor<'_> = Visitor {
    name: "alice",
    password: "sesame",
    consents: true,
};

/// One test, because each step takes milliseconds and a provider most of a second.
#[test]
fn people_sign_in_and_out() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open("test of oidc").unwrap();
    let provider = (testbed.oidc(folder.path(), OidcOptions::default())).unwrap();
    provider
        .set_client(
            Client::confidential("lariat", "secret", CALLBACK)
                .with_post_logout_redirect_uri(AFTER_LOGOUT),
        )
        .unwrap();
    let alice = Account::new("alice", "sesame", &["operators"]);
    provider.set_account(alice).unwrap();

    who_may_not_is_refused(&provider);
    let mut browser = provider.browser().unwrap();
    let tokens = a_login_gives_tokens_with_groups(&provider, &mut browser);
    let tokens = a_refresh_token_is_good_once_and_sees_changes(&provider, &tokens);
    let tokens = all_is_known_after_a_restart_and_the_keys_can_change(&provider, &tokens);
    a_logout_ends_the_session(&provider, &mut browser, &tokens);
    a_disabled_account_is_refused_and_what_it_had(&provider);
}

fn who_may_not_is_refused(provider: &Oidc) {
    let url = authorization_url(provider, &[]);
    let visit = |visitor| provider.browser().unwrap().sign_in(&url, &visitor).unwrap();
    for (name, password) in [("alice", "open"), ("bob", "sesame"), ("bob", "")] {
        let Visit::Page(page) = visit(Visitor {
            name,
            password,
            ..ALICE
        }) else {
            panic!("{name} is let in with {password}");
        };
        assert_eq!(page.status, 401, "{}", page.body);
    }
    let refused = visit(Visitor {
        consents: false,
        ..ALICE
    });
    assert_eq!(returned(refused)["error"], "access_denied");

    let without_pkce = authorization_url(provider, &["code_challenge", "code_challenge_method"]);
    let visit = provider.browser().unwrap().open(&without_pkce).unwrap();
    assert_eq!(returned(visit)["error"], "invalid_request");
}

fn a_login_gives_tokens_with_groups(provider: &Oidc, browser: &mut Browser) -> Value {
    let query = returned(
        browser
            .sign_in(&authorization_url(provider, &[]), &ALICE)
            .unwrap(),
    );
    assert_eq!(query["state"], "of the test");
    assert_eq!(query["iss"], provider.issuer());
    let redeem = |secret: &str, verifier: &str| {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &query["code"]),
            ("redirect_uri", CALLBACK),
            ("code_verifier", verifier),
        ];
        token(provider, secret, &fields)
    };
    assert_eq!(redeem("wrong", VERIFIER)["error"], "invalid_client");
    let wrong = redeem(
        "secret",
        "another-verifier-of-at-least-forty-three-characters",
    );
    assert_eq!(wrong["error"], "invalid_grant", "{wrong}");

    // The session goes on: nothing is asked again, and a code is good once.
    let query = returned(browser.open(&authorization_url(provider, &[])).unwrap());
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &query["code"]),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let tokens = token(provider, "secret", &fields);
    let claims = claims(&tokens);
    assert_eq!(claims["sub"], "subject-of-alice", "{claims}");
    assert_eq!(claims["preferred_username"], "alice", "{claims}");
    assert_eq!(claims["groups"], serde_json::json!(["operators"]));
    assert_eq!(claims["nonce"], "once", "{claims}");
    let about = userinfo(provider, &tokens);
    assert_eq!(about["email"], "alice@example.test", "{about}");
    tokens
}

fn a_refresh_token_is_good_once_and_sees_changes(provider: &Oidc, tokens: &Value) -> Value {
    (provider.change_account("alice", |alice| alice.groups.clear())).unwrap();
    let renewed = refresh(provider, tokens);
    assert_eq!(claims(&renewed)["groups"], serde_json::json!([]));
    assert_ne!(renewed["refresh_token"], tokens["refresh_token"]);
    renewed
}

fn all_is_known_after_a_restart_and_the_keys_can_change(provider: &Oidc, tokens: &Value) -> Value {
    provider.stop();
    let address = format!("{}/me", provider.issuer());
    let output = curl(provider, &[&address]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "curl could connect");
    provider.start().unwrap();
    provider.pause().unwrap();
    let output = curl(provider, &["--max-time", "0.2", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(28), "it answered");
    provider.resume().unwrap();
    let renewed = refresh(provider, tokens);
    assert!(renewed["id_token"].is_string(), "{renewed}");

    let keys = || get(provider, "jwks", &[])["keys"][0]["kid"].clone();
    let before = keys();
    provider.replace_keys().unwrap();
    assert_ne!(keys(), before);
    refresh(provider, &renewed)
}

fn a_logout_ends_the_session(provider: &Oidc, browser: &mut Browser, tokens: &Value) {
    let mut url = endpoint(provider, "end_session_endpoint");
    url.query_pairs_mut()
        .append_pair("id_token_hint", tokens["id_token"].as_str().unwrap())
        .append_pair("post_logout_redirect_uri", AFTER_LOGOUT);
    let left = browser.sign_in(url.as_str(), &ALICE).unwrap();
    let Visit::Left(to) = left else {
        panic!("{left:?}");
    };
    assert!(to.as_str().starts_with(AFTER_LOGOUT), "{to}");
    let visit = browser.open(&authorization_url(provider, &[])).unwrap();
    assert!(
        matches!(visit, Visit::Page(_)),
        "signed in still: {visit:?}"
    );
}

fn a_disabled_account_is_refused_and_what_it_had(provider: &Oidc) {
    let mut browser = provider.browser().unwrap();
    let query = returned(
        browser
            .sign_in(&authorization_url(provider, &[]), &ALICE)
            .unwrap(),
    );
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &query["code"]),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let tokens = token(provider, "secret", &fields);
    (provider.change_account("alice", |alice| alice.disabled = true)).unwrap();
    assert_eq!(refresh(provider, &tokens)["error"], "invalid_grant");
    let mut browser = provider.browser().unwrap();
    let visit = (browser.sign_in(&authorization_url(provider, &[]), &ALICE)).unwrap();
    assert!(matches!(visit, Visit::Page(page) if page.status == 401));
}

/// The URL that begins a login, without the parameters that are left out.
fn authorization_url(provider: &Oidc, left_out: &[&str]) -> String {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut url = endpoint(provider, "authorization_endpoint");
    let parameters = [
        ("response_type", "code"),
        ("client_id", "lariat"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile email groups"),
        ("state", "of the test"),
        ("nonce", "once"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let parameters = parameters.iter().filter(|(key, _)| !left_out.contains(key));
    url.query_pairs_mut().extend_pairs(parameters);
    url.into()
}

fn endpoint(provider: &Oidc, name: &str) -> Url {
    let discovery = get(provider, ".well-known/openid-configuration", &[]);
    assert_eq!(discovery["issuer"], provider.issuer());
    Url::parse(discovery[name].as_str().unwrap()).unwrap()
}

fn returned(visit: Visit) -> HashMap<String, String> {
    let Visit::Left(url) = visit else {
        panic!("{visit:?}");
    };
    assert!(url.as_str().starts_with(CALLBACK), "{url}");
    url.query_pairs().into_owned().collect()
}

fn refresh(provider: &Oidc, tokens: &Value) -> Value {
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    token(provider, "secret", &fields)
}

fn token(provider: &Oidc, secret: &str, fields: &[(&str, &str)]) -> Value {
    let url = endpoint(provider, "token_endpoint");
    let mut curl = curl(
        provider,
        &["--user", &format!("lariat:{secret}"), url.as_str()],
    );
    for (name, value) in fields {
        curl.arg("--data-urlencode").arg(format!("{name}={value}"));
    }
    json(&mut curl)
}

fn userinfo(provider: &Oidc, tokens: &Value) -> Value {
    let token = tokens["access_token"].as_str().unwrap();
    get(
        provider,
        "me",
        &["-H", &format!("Authorization: Bearer {token}")],
    )
}

fn get(provider: &Oidc, path: &str, words: &[&str]) -> Value {
    json(curl(provider, words).arg(format!("{}/{path}", provider.issuer())))
}

fn curl(provider: &Oidc, words: &[&str]) -> Command {
    let mut curl = clients::curl(&provider.ca_file()).unwrap();
    curl.args(words);
    curl
}

fn json(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What an ID token says; whether it is signed well is for those to test who rely on it.
fn claims(tokens: &Value) -> Value {
    let token = tokens["id_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{tokens}"));
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

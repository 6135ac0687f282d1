//! Logins by redirect: against a real OpenID provider, and against a stand-in for GitHub.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use lariat_api::{AuthConfig, Principal};
use lariat_server::authn::provider::github::{self, Github};
use lariat_server::authn::provider::oidc::{Oidc, Settings};
use lariat_server::authn::provider::{
    Account, AuthProvider as _, FlowSecrets, Known, LoginError, RedirectProvider, Refreshed,
};
use lariat_server::clock::Clock;
use serde_json::json;
use testbed::Testbed;
use testbed::browser::{Browser, Visit, Visitor};
use testbed::github::{Application, Organization, Scheme, Team, User, World};
use testbed::oidc::{self, Client, OidcOptions};
use url::Url;

const CALLBACK: &str = "https://lariat.test/verify-auth";
const ALICE: Visitor<'_> = Visitor {
    name: "alice",
    password: "sesame",
    consents: true,
};

/// The settings of a provider as an AuthConfig says them.
fn config(type_: &str, fields: serde_json::Value, authority: &Path) -> AuthConfig {
    let mut object = fields;
    object["apiVersion"] = json!("management.cattle.io/v3");
    object["kind"] = json!("AuthConfig");
    object["type"] = json!(type_);
    object["clientId"] = json!("lariat");
    object["certificate"] = json!(fs::read_to_string(authority).unwrap());
    serde_json::from_value(object).unwrap()
}

fn of_oidc(provider: &oidc::Oidc, more: serde_json::Value) -> Settings {
    let mut fields = more;
    fields["issuer"] = json!(provider.issuer());
    fields["rancherUrl"] = json!(CALLBACK);
    let config = config("keyCloakOIDCConfig", fields, &provider.ca_file());
    Settings::new(&config, "secret".into()).unwrap()
}

/// Where a browser was sent back to, with what.
fn returned(visit: Visit) -> (String, String) {
    let Visit::Left(url) = visit else {
        panic!("not sent back: {visit:?}");
    };
    assert!(url.as_str().starts_with(CALLBACK), "{url}");
    let of = |name: &str| {
        let mut pairs = url.query_pairs();
        let found = pairs.find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    (of("code"), of("state"))
}

/// The code of a login, in a flow with these secrets.
async fn code(
    provider: &impl RedirectProvider,
    browser: &mut Browser,
    secrets: &FlowSecrets,
) -> String {
    let url = provider.begin(secrets).await.unwrap();
    assert!(url.query().unwrap().contains("code_challenge_method=S256"));
    let (code, state) = returned(browser.sign_in(url.as_str(), &ALICE).unwrap());
    assert_eq!(state, secrets.state);
    code
}

async fn log_in(provider: &impl RedirectProvider, browser: &mut Browser) -> Account {
    let secrets = FlowSecrets::generate();
    let code = code(provider, browser, &secrets).await;
    provider.finish(&secrets, &code.into()).await.unwrap()
}

fn known(account: &Account) -> Known {
    Known {
        principal: account.principal.id.clone(),
        stable_id: account.stable_id.clone(),
        grant: account.grant.clone(),
    }
}

fn ids(groups: &[Principal]) -> Vec<&str> {
    groups.iter().map(|group| group.id.as_str()).collect()
}

async fn still(provider: &impl RedirectProvider, account: &Account) -> Account {
    match provider.refresh(&known(account)).await.unwrap() {
        Refreshed::Still(account) => account,
        Refreshed::Gone => panic!("{} is gone", account.principal.id),
    }
}

fn refused(result: Result<Account, LoginError>) -> String {
    match result {
        Err(LoginError::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

/// One test, because each step takes milliseconds and a provider most of a second.
#[tokio::test(flavor = "multi_thread")]
async fn an_openid_provider_proves_who_people_are() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open("test of logins by OIDC").unwrap();
    let provider = testbed.oidc(folder.path(), OidcOptions::default()).unwrap();
    provider
        .set_client(
            Client::confidential("lariat", "secret", CALLBACK)
                .with_post_logout_redirect_uri("https://lariat.test/"),
        )
        .unwrap();
    let alice = oidc::Account::new("alice", "sesame", &["operators", "/ops/admins"]);
    provider.set_account(alice).unwrap();
    let ahead = Arc::new(AtomicI64::new(0));
    let clock = Clock::new({
        let ahead = Arc::clone(&ahead);
        move || Timestamp::now() + SignedDuration::from_secs(ahead.load(Ordering::SeqCst))
    });
    let scope = json!({"scope": "openid profile email groups offline_access"});
    let settings = of_oidc(&provider, scope.clone());
    let client = Oidc::new(settings.clone(), clock.clone()).unwrap();
    let mut browser = provider.browser().unwrap();

    let account = log_in(&client, &mut browser).await;
    assert_eq!(account.principal.id, "keycloakoidc_user://subject-of-alice");
    assert_eq!(account.principal.display_name, "Somebody called alice");
    assert_eq!(account.principal.login_name, "alice@example.test");
    assert_eq!(
        ids(&account.groups),
        [
            "keycloakoidc_group:///ops/admins",
            "keycloakoidc_group://operators"
        ]
    );
    assert!(account.grant.is_some());

    // Who shows a code twice loses what it gave: apart from the login above.
    let mut apart = provider.browser().unwrap();
    what_was_tampered_with_is_refused(&client, &mut apart).await;
    the_clock_may_be_a_little_wrong(&client, &mut browser, &ahead).await;

    // Groups change, the refresh token is another each time, and keys are replaced.
    provider
        .change_account("alice", |alice| alice.groups = vec!["others".into()])
        .unwrap();
    let second = still(&client, &account).await;
    assert_eq!(ids(&second.groups), ["keycloakoidc_group://others"]);
    assert_ne!(second.grant, account.grant);
    provider.replace_keys().unwrap();
    // They are not asked for twice within five seconds.
    ahead.store(10, Ordering::SeqCst);
    let fresh = log_in(&client, &mut provider.browser().unwrap()).await;
    assert_eq!(fresh.principal, account.principal);

    claims_are_asked_for_where_the_token_lacks_them(&provider, &clock).await;
    what_settings_do_not_name_is_not_asked(&provider, &clock).await;

    let end = client
        .end(&Url::parse("https://lariat.test/").unwrap())
        .await;
    let end = end.unwrap().unwrap();
    let left = browser.sign_in(end.as_str(), &ALICE).unwrap();
    assert!(
        matches!(&left, Visit::Left(url) if url.as_str() == "https://lariat.test/"),
        "{left:?}"
    );

    // Disabled: gone. Down: not known, which is another thing.
    provider.stop();
    let down = client.refresh(&known(&fresh)).await;
    assert!(
        matches!(down, Err(LoginError::Unavailable { .. })),
        "{down:?}"
    );
    provider.start().unwrap();
    provider
        .change_account("alice", |alice| alice.disabled = true)
        .unwrap();
    let gone = client.refresh(&known(&fresh)).await.unwrap();
    assert_eq!(gone, Refreshed::Gone);

    let wrong = json!({"scope": "openid"});
    let mut wrong = of_oidc(&provider, wrong);
    wrong.client_secret = "another".into();
    let wrong = Oidc::new(wrong, clock).unwrap();
    let answer = wrong.finish(&FlowSecrets::generate(), &"code".into()).await;
    assert!(
        matches!(answer, Err(LoginError::Misconfigured(_))),
        "{answer:?}"
    );
}

async fn what_was_tampered_with_is_refused(client: &Oidc, browser: &mut Browser) {
    let secrets = FlowSecrets::generate();
    let good = code(client, browser, &secrets).await;
    // Stolen: whoever has the code does not have the verifier.
    let stranger = FlowSecrets {
        nonce: secrets.nonce.clone(),
        ..FlowSecrets::generate()
    };
    refused(client.finish(&stranger, &good.into()).await);
    // Of another login: the nonce is not that of this browser.
    let good = code(client, browser, &secrets).await;
    let other = FlowSecrets {
        nonce: FlowSecrets::generate().nonce,
        ..secrets.clone()
    };
    let why = refused(client.finish(&other, &good.into()).await);
    assert!(why.contains("nonce"), "{why}");
    // Used, and made up.
    let good = code(client, browser, &secrets).await;
    client.finish(&secrets, &good.clone().into()).await.unwrap();
    refused(client.finish(&secrets, &good.into()).await);
    refused(client.finish(&secrets, &"made-up".into()).await);
}

async fn the_clock_may_be_a_little_wrong(client: &Oidc, browser: &mut Browser, ahead: &AtomicI64) {
    // ID tokens are good for five minutes.
    for (seconds, is_good) in [(-30, true), (340, true), (-120, false), (400, false)] {
        let secrets = FlowSecrets::generate();
        let code = code(client, browser, &secrets).await;
        ahead.store(seconds, Ordering::SeqCst);
        let answer = client.finish(&secrets, &code.into()).await;
        ahead.store(0, Ordering::SeqCst);
        assert_eq!(answer.is_ok(), is_good, "{seconds}: {answer:?}");
    }
}

async fn claims_are_asked_for_where_the_token_lacks_them(provider: &oidc::Oidc, clock: &Clock) {
    let fields = json!({
        "scope": "openid profile email groups", "groupsClaim": "email", "nameClaim": "nickname",
    });
    let client = Oidc::new(of_oidc(provider, fields), clock.clone()).unwrap();
    let account = log_in(&client, &mut provider.browser().unwrap()).await;
    assert_eq!(account.principal.display_name, "alice@example.test");
    assert_eq!(
        ids(&account.groups),
        ["keycloakoidc_group://alice@example.test"]
    );
    // Who is vouched for by nobody is known by the name that was typed.
    provider
        .change_account("alice", |alice| alice.email_verified = false)
        .unwrap();
    let account = log_in(&client, &mut provider.browser().unwrap()).await;
    assert_eq!(account.principal.login_name, "alice");
}

/// Discovery names other hosts: they are asked only if the settings say so too.
async fn what_settings_do_not_name_is_not_asked(provider: &oidc::Oidc, clock: &Clock) {
    let url = Url::parse(provider.issuer()).unwrap();
    let elsewhere = format!("https://localhost:{}/realms/corp", url.port().unwrap());
    let mut settings = of_oidc(provider, json!({}));
    settings.token = Some(Url::parse(&format!("{elsewhere}/token")).unwrap());
    let named = Oidc::new(settings.clone(), clock.clone()).unwrap();
    log_in(&named, &mut provider.browser().unwrap()).await;

    let mut moved = of_oidc(provider, json!({}));
    moved.authorization = Some(Url::parse(&format!("{}/auth", provider.issuer())).unwrap());
    moved.issuer = elsewhere;
    let moved = Oidc::new(moved, clock.clone()).unwrap();
    let answer = moved.begin(&FlowSecrets::generate()).await;
    assert!(
        matches!(answer, Err(LoginError::Misconfigured(_))),
        "{answer:?}"
    );
}

fn world() -> World {
    let organizations = (1..=105).map(|id| Organization::new(id, &format!("org-{id}"), &["alice"]));
    World {
        users: vec![
            User::new(7, "alice", "sesame"),
            User::new(8, "bob", "sesame"),
        ],
        organizations: organizations.collect(),
        teams: vec![
            Team::new(1, "org-1", "engineering", &["bob"]),
            Team::new(2, "org-1", "platform", &["alice"]).below("engineering"),
            Team::new(3, "org-1", "sales", &["bob"]),
        ],
        applications: vec![Application {
            client_id: "lariat".into(),
            client_secret: "secret".into(),
            callback_url: CALLBACK.into(),
        }],
        requests_left: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn github_proves_who_people_are() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open("test of logins by GitHub").unwrap();
    let hub = testbed
        .github(folder.path(), Scheme::Https, world())
        .unwrap();
    let host = hub.url().trim_start_matches("https://");
    let config = config("githubConfig", json!({"hostname": host}), &hub.ca_file());
    let back = Url::parse(CALLBACK).unwrap();
    let settings = github::Settings::new(&config, "secret".into(), &back).unwrap();
    let client = Github::new(settings.clone()).unwrap();
    let mut browser = hub.browser().unwrap();

    let account = log_in(&client, &mut browser).await;
    assert_eq!(account.principal.id, "github_user://7");
    assert_eq!(account.principal.login_name, "alice");
    assert_eq!(account.principal.display_name, "Somebody called alice");
    let groups = ids(&account.groups);
    assert_eq!(groups.len(), 107, "two pages of organisations, and teams");
    for group in [
        "github_org://1",
        "github_org://105",
        "github_team://1",
        "github_team://2",
    ] {
        assert!(groups.contains(&group), "{group}");
    }
    let team = account
        .groups
        .iter()
        .find(|one| one.id == "github_team://2");
    assert_eq!(team.unwrap().display_name, "org-1/platform");

    let secrets = FlowSecrets::generate();
    let stolen = code(&client, &mut browser, &secrets).await;
    refused(
        client
            .finish(&FlowSecrets::generate(), &stolen.into())
            .await,
    );
    let wrong = github::Settings {
        client_secret: "another".into(),
        ..settings
    };
    let wrong = Github::new(wrong).unwrap();
    let answer = wrong.finish(&secrets, &"made-up".into()).await;
    assert!(
        matches!(answer, Err(LoginError::Misconfigured(_))),
        "{answer:?}"
    );

    hub.change(|world| {
        world.user_mut("alice").unwrap().login = "alicia".into();
        world.organizations.truncate(1);
        world.organizations[0].members = vec!["alicia".into()];
        world.teams.clear();
    });
    let renamed = still(&client, &account).await;
    assert_eq!(renamed.principal.id, "github_user://7");
    assert_eq!(renamed.principal.login_name, "alicia");
    assert_eq!(ids(&renamed.groups), ["github_org://1"]);
    let found = client.search("bo", None).await.unwrap();
    assert_eq!(ids(&found), ["github_user://8"]);

    hub.change(|world| world.requests_left = Some(0));
    let limited = client.refresh(&known(&account)).await;
    assert!(
        matches!(limited, Err(LoginError::Unavailable { .. })),
        "{limited:?}"
    );
    hub.change(|world| world.requests_left = None);
    hub.change(|world| world.user_mut("alicia").unwrap().suspended = true);
    let gone = client.refresh(&known(&account)).await.unwrap();
    assert_eq!(gone, Refreshed::Gone);
    hub.change(|world| world.user_mut("alicia").unwrap().suspended = false);
    // Allowed under the name of then.
    hub.revoke("alice");
    let gone = client.refresh(&known(&account)).await.unwrap();
    assert_eq!(gone, Refreshed::Gone);
    hub.stop();
    let down = client.refresh(&known(&account)).await;
    assert!(
        matches!(down, Err(LoginError::Unavailable { .. })),
        "{down:?}"
    );
}

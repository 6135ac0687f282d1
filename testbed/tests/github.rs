//! The stand-in for GitHub does what GitHub's documentation says of a login; the client is curl.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, process::Command};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};
use testbed::{
    Testbed,
    browser::{Visit, Visitor},
    clients,
    github::{Application, GitHub, Organization, Scheme, Team, User, World},
};
use url::Url;

const CALLBACK: &str = "https://lariat.test/callback";
const VERIFIER: &str = "sesame-open-and-let-me-in-as-fast-as-you-can-now";
const ALICE: Visitor<'_> = Visitor {
    name: "alice",
    password: "sesame",
    consents: true,
};

/// An answer to curl.
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body))
    }
}

fn world() -> World {
    World {
        users: vec![
            User::new(1, "alice", "sesame"),
            User::new(2, "albert", "sesame"),
            User::new(3, "bob", "sesame"),
        ],
        organizations: vec![
            Organization::new(10, "ranchers", &["alice"]),
            Organization::new(11, "farmers", &["bob"]),
        ],
        teams: vec![
            Team::new(20, "ranchers", "operators", &[]),
            Team::new(21, "ranchers", "on-call", &["alice"]).below("operators"),
        ],
        applications: vec![Application {
            client_id: "lariat".into(),
            client_secret: "secret".into(),
            callback_url: CALLBACK.into(),
        }],
        requests_left: None,
    }
}

fn start(purpose: &str, scheme: Scheme) -> (tempfile::TempDir, Testbed, GitHub) {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open(purpose).unwrap();
    let github = testbed.github(folder.path(), scheme, world()).unwrap();
    (folder, testbed, github)
}

#[test]
fn a_login_gives_a_token_once_to_who_knows_the_secret() {
    let (_folder, _testbed, github) = start("test of github: logins", Scheme::Https);

    for (name, password) in [("alice", "open"), ("nobody", "sesame")] {
        let visitor = Visitor {
            name,
            password,
            ..ALICE
        };
        let visit = sign_in(&github, &[], &visitor);
        assert!(matches!(visit, Visit::Page(page) if page.body.contains("Incorrect")));
    }
    let refuses = Visitor {
        consents: false,
        ..ALICE
    };
    let query = returned(sign_in(&github, &[], &refuses));
    assert_eq!(query["error"], "access_denied");
    let elsewhere = ("redirect_uri", "https://elsewhere.test/callback");
    let query = returned(sign_in(&github, &[elsewhere], &ALICE));
    assert_eq!(query["error"], "redirect_uri_mismatch");

    let query = returned(sign_in(&github, &[], &ALICE));
    assert_eq!(query["state"], "of the test");
    let fields = |code: &str, secret: &str| {
        vec![
            ("client_id", "lariat".to_owned()),
            ("client_secret", secret.to_owned()),
            ("code", code.to_owned()),
            ("code_verifier", VERIFIER.to_owned()),
        ]
    };
    let redeem = |code: &str, secret: &str| token(&github, &fields(code, secret)).json();
    let code = &query["code"];
    assert_eq!(
        redeem(code, "wrong")["error"],
        "incorrect_client_credentials"
    );
    let good = redeem(code, "secret");
    assert_eq!(good["scope"], "read:org", "{good}");
    assert_eq!(good["token_type"], "bearer", "{good}");
    assert_eq!(redeem(code, "secret")["error"], "bad_verification_code");

    let code = &returned(sign_in(&github, &[], &ALICE))["code"];
    let mut wrong = fields(code, "secret");
    wrong[3].1 = "another-verifier".to_owned();
    let answer = token(&github, &wrong).json();
    assert_eq!(answer["error"], "bad_verification_code", "{answer}");

    // Without a wish for JSON, a form.
    let code = &returned(sign_in(&github, &[], &ALICE))["code"];
    let mut plain = clients::curl(&github.ca_file()).unwrap();
    for (name, value) in fields(code, "secret") {
        plain.arg("--data-urlencode").arg(format!("{name}={value}"));
    }
    let answer = ask(plain.arg(format!("{}/login/oauth/access_token", github.url())));
    assert!(
        answer.body.starts_with("access_token=gho_"),
        "{}",
        answer.body
    );
}

#[test]
fn the_api_says_who_one_is_and_in_which_teams() {
    let (_folder, _testbed, github) = start("test of github: memberships", Scheme::Http);
    let token = log_in(&github, "read:org");
    let user = get(&github, "/user", &token).json();
    assert_eq!((&user["login"], &user["id"]), (&"alice".into(), &1.into()));
    assert_eq!(user["email"], Value::Null, "without the scope");
    assert_eq!(get(&github, "/api/v3/user", &token).json(), user);

    let organizations = get(&github, "/user/orgs", &token).json();
    assert_eq!(names(&organizations, "login"), ["ranchers"]);
    let teams = get(&github, "/user/teams", &token).json();
    assert_eq!(names(&teams, "slug"), ["on-call"]);
    assert_eq!(teams[0]["parent"]["slug"], "operators", "{teams}");
    assert_eq!(teams[0]["organization"]["login"], "ranchers", "{teams}");

    github.change(|world| {
        let team = world.team_mut("ranchers", "on-call").unwrap();
        team.members.clear();
    });
    let teams = get(&github, "/user/teams", &token).json();
    assert_eq!(names(&teams, "slug"), [""; 0]);
    // A team of others is not there.
    assert_eq!(get(&github, "/orgs/farmers/teams", &token).status, 404);
    assert_eq!(get(&github, "/orgs/farmers", &token).json()["id"], 11);

    let narrow = log_in(&github, "");
    assert_eq!(get(&github, "/user", &narrow).status, 200);
    assert_eq!(get(&github, "/user/orgs", &narrow).status, 403);
    assert_eq!(get(&github, "/user/teams", &narrow).status, 403);
    assert_eq!(get(&github, "/user/emails", &narrow).status, 404);
    let wide = log_in(&github, "user:email");
    let emails = get(&github, "/user/emails", &wide).json();
    assert_eq!(names(&emails, "email"), ["alice@example.test"]);
}

#[test]
fn a_search_comes_in_pages() {
    let (_folder, _testbed, github) = start("test of github: search", Scheme::Http);
    let token = log_in(&github, "read:org");
    let found = get(&github, "/search/users?q=al+type:user&per_page=1", &token);
    assert_eq!(found.json()["total_count"], 2);
    assert_eq!(names(&found.json()["items"], "login"), ["alice"]);
    let link = &found.headers["link"];
    assert!(link.contains("rel=\"last\""), "{link}");
    let next = link.split(['<', '>']).nth(1).unwrap();
    let next = next.strip_prefix(github.url()).unwrap();
    let found = get(&github, next, &token);
    assert_eq!(names(&found.json()["items"], "login"), ["albert"]);
    let link = &found.headers["link"];
    assert!(
        link.contains("rel=\"first\"") && !link.contains("rel=\"next\""),
        "{link}"
    );

    let organizations = get(&github, "/search/users?q=ranch+type:org", &token).json();
    assert_eq!(names(&organizations["items"], "login"), ["ranchers"]);
    assert_eq!(get(&github, "/search/users?q=", &token).status, 422);
    assert_eq!(get(&github, "/users/BOB", &token).json()["id"], 3);
    assert_eq!(get(&github, "/user/3", &token).json()["login"], "bob");
    assert_eq!(get(&github, "/users/nobody", &token).status, 404);
}

#[test]
fn tokens_accounts_and_the_whole_place_can_fail() {
    let (_folder, _testbed, github) = start("test of github: faults", Scheme::Https);
    let token = log_in(&github, "read:org");
    let status = |token: &str| get(&github, "/user", token).status;
    assert_eq!((status(&token), status("gho_made_up")), (200, 401));

    github.change(|world| world.user_mut("alice").unwrap().suspended = true);
    let answer = get(&github, "/user", &token);
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.json()["message"],
        "Sorry. Your account was suspended."
    );
    let visit = sign_in(&github, &[], &ALICE);
    assert!(matches!(visit, Visit::Page(page) if page.body.contains("suspended")));
    github.change(|world| world.user_mut("alice").unwrap().suspended = false);

    github.change(|world| world.requests_left = Some(1));
    assert_eq!(status(&token), 200);
    let limited = get(&github, "/user", &token);
    assert_eq!(
        (limited.status, &*limited.headers["retry-after"]),
        (403, "60")
    );
    github.change(|world| world.requests_left = None);

    github.stop();
    let mut curl = clients::curl(&github.ca_file()).unwrap();
    let output = curl.arg(github.url()).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "curl could connect");
    github.start().unwrap();
    assert_eq!(status(&token), 200);
    github.pause();
    let mut curl = clients::curl(&github.ca_file()).unwrap();
    let output = curl
        .args(["--max-time", "0.2", github.url()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(28), "it answered");
    github.resume();

    let delete = |secret: &str| {
        let mut curl = clients::curl(&github.ca_file()).unwrap();
        curl.args([
            "-X",
            "DELETE",
            "--user",
            &format!("lariat:{secret}"),
            "--data",
        ]);
        curl.arg(format!("{{\"access_token\": \"{token}\"}}"));
        ask(curl.arg(format!("{}/applications/lariat/token", github.url()))).status
    };
    assert_eq!(delete("wrong"), 401);
    assert_eq!((delete("secret"), delete("secret")), (204, 404));
    assert_eq!(status(&token), 401);
    let token = log_in(&github, "read:org");
    github.revoke("alice");
    assert_eq!(status(&token), 401);
    assert!(github.requests() > 10);
}

/// Begins a login, with these parameters in place of the usual ones, and does what it asks.
fn sign_in(github: &GitHub, others: &[(&str, &str)], visitor: &Visitor<'_>) -> Visit {
    let mut parameters = HashMap::from([
        ("client_id", "lariat"),
        ("scope", "read:org"),
        ("state", "of the test"),
        ("code_challenge_method", "S256"),
    ]);
    let challenge = challenge();
    parameters.insert("code_challenge", &challenge);
    parameters.extend(others.iter().copied());
    let mut url = Url::parse(github.url()).unwrap();
    url.set_path("/login/oauth/authorize");
    url.query_pairs_mut().extend_pairs(parameters);
    let mut browser = github.browser().unwrap();
    browser.sign_in(url.as_str(), visitor).unwrap()
}

fn returned(visit: Visit) -> HashMap<String, String> {
    let Visit::Left(url) = visit else {
        panic!("{visit:?}");
    };
    assert!(url.as_str().starts_with(CALLBACK), "{url}");
    url.query_pairs().into_owned().collect()
}

fn log_in(github: &GitHub, scope: &str) -> String {
    let code = returned(sign_in(github, &[("scope", scope)], &ALICE))["code"].clone();
    let fields = [
        ("client_id", "lariat".to_owned()),
        ("client_secret", "secret".to_owned()),
        ("code", code),
        ("code_verifier", VERIFIER.to_owned()),
    ];
    let answer = token(github, &fields).json();
    answer["access_token"].as_str().unwrap().to_owned()
}

fn token(github: &GitHub, fields: &[(&str, String)]) -> Answer {
    let mut curl = clients::curl(&github.ca_file()).unwrap();
    curl.args(["-H", "Accept: application/json"]);
    for (name, value) in fields {
        curl.arg("--data-urlencode").arg(format!("{name}={value}"));
    }
    ask(curl.arg(format!("{}/login/oauth/access_token", github.url())))
}

fn get(github: &GitHub, path: &str, token: &str) -> Answer {
    let mut curl = clients::curl(&github.ca_file()).unwrap();
    curl.args(["-H", &format!("Authorization: Bearer {token}")]);
    ask(curl.arg(format!("{}{path}", github.url())))
}

fn ask(curl: &mut Command) -> Answer {
    let output = curl.arg("--include").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    Answer {
        status: status.parse().unwrap(),
        headers: lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

fn names(list: &Value, member: &str) -> Vec<String> {
    let name = |item: &Value| item[member].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(name).collect()
}

fn challenge() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

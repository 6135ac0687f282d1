//! Logins through another site, and of command lines through a browser.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testbed::Testbed;
use testbed::browser::{Browser, Visit, Visitor};
use testbed::github::{Application, GitHub, Organization, Scheme, User, World};
use testbed::oidc::{Account, Client as OidcClient, Oidc, OidcOptions};

use super::access::{made, within};
use super::harness::{Answer, Client, TestServer, cluster, clusters, object, users};
use super::observability::recorded;

const ALICE: Visitor<'_> = Visitor {
    name: "alice",
    password: "sesame",
    consents: true,
};
const CONFIGS: &str = "/apis/management.cattle.io/v3/authconfigs";

/// Asks with cookies, as a browser that follows a link.
async fn visit(client: &Client, path: &str, cookies: &str) -> Answer {
    let request = Request::get(path).header("cookie", cookies);
    client.answer(request.body(Full::default()).unwrap()).await
}

/// `NAME=VALUE` of the cookies that an answer sets, without those that it ends.
fn cookies(answer: &Answer) -> String {
    let set = answer.headers.get_all("set-cookie").iter();
    let set = set.map(|cookie| cookie.to_str().unwrap());
    let kept = set.filter(|cookie| !cookie.contains("Max-Age=0"));
    let pairs: Vec<_> = kept
        .map(|cookie| cookie.split(';').next().unwrap())
        .collect();
    pairs.join("; ")
}

fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer.headers["location"].to_str().unwrap()
}

/// Begins a login here, signs in there, and returns path and query with which the browser comes back, and
/// the cookies of the flow.
async fn sign_in(
    server: &TestServer,
    provider: &str,
    next: &str,
    browser: &mut Browser,
) -> (String, String) {
    let begin = format!("/login/with/{provider}?next={next}");
    let begun = visit(&server.stranger(), &begin, "").await;
    let flow = cookies(&begun);
    assert!(flow.starts_with("__Host-lariat-login="), "{flow}");
    (signed_in(location(&begun), browser), flow)
}

fn signed_in(url: &str, browser: &mut Browser) -> String {
    let Visit::Left(back) = browser.sign_in(url, &ALICE).unwrap() else {
        panic!("not sent back");
    };
    assert_eq!(back.path(), "/verify-auth");
    format!("/verify-auth?{}", back.query().unwrap())
}

fn verify_auth(server: &TestServer) -> String {
    let url = &server.app.config.server_url;
    url.join("verify-auth").unwrap().to_string()
}

fn oidc(testbed: &Testbed, folder: &std::path::Path, server: &TestServer) -> Oidc {
    let provider = testbed.oidc(folder, OidcOptions::default()).unwrap();
    let back = server.app.config.server_url.join("login").unwrap();
    let client = OidcClient::confidential("lariat", "secret", &verify_auth(server));
    provider
        .set_client(client.with_post_logout_redirect_uri(back.as_str()))
        .unwrap();
    let alice = Account::new("alice", "sesame", &["operators"]);
    provider.set_account(alice).unwrap();
    provider
}

fn oidc_settings(server: &TestServer, provider: &Oidc) -> Value {
    json!({
        "issuer": provider.issuer(), "clientId": "lariat", "clientSecret": "secret",
        "rancherUrl": verify_auth(server), "logoutAllEnabled": true,
        "scope": "openid profile email groups offline_access",
        "certificate": std::fs::read_to_string(provider.ca_file()).unwrap(),
    })
}

async fn enable(admin: &Client, name: &str, type_: &str, mut settings: Value) {
    settings["type"] = json!(type_);
    settings["enabled"] = json!(true);
    made(admin, CONFIGS, &object("AuthConfig", name, settings)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_logs_in_by_oidc_in_the_browser_that_began_it() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open("test of logins by OIDC at the server").unwrap();
    let server = TestServer::start().await;
    let provider = oidc(&testbed, folder.path(), &server);
    let admin = server.admin().await;
    enable(
        &admin,
        "oidc",
        "oidcConfig",
        oidc_settings(&server, &provider),
    )
    .await;
    made(&admin, &clusters(), &object("Cluster", "one", json!({}))).await;
    let binding = json!({"groupPrincipalName": "oidc_group://operators", "roleTemplateName": "cluster-member"});
    let bindings = within("one", "clusterroletemplatebindings");
    made(
        &admin,
        &bindings,
        &object("ClusterRoleTemplateBinding", "", binding),
    )
    .await;

    let stranger = server.stranger();
    let listed = stranger.get("/v3-public/authProviders").await.json();
    let shown = listed["data"].as_array().unwrap();
    let shown = shown.iter().find(|one| one["id"] == "oidc").unwrap();
    assert!(
        shown["redirectUrl"]
            .as_str()
            .unwrap()
            .ends_with("/login/with/oidc")
    );
    assert!(!listed.to_string().contains("secret"));

    let mut browser = provider.browser().unwrap();
    let (back, flow) = sign_in(&server, "oidc", "/device?code=A", &mut browser).await;
    // Without the cookie, with that of another browser, with another state: nobody is logged in.
    let (_, other) = sign_in(&server, "oidc", "/", &mut browser).await;
    let forged = back.replace("state=", "state=x");
    for (path, cookie) in [(&back, ""), (&back, &other), (&forged, &flow)] {
        let refused = visit(&stranger, path, cookie).await;
        assert_eq!(location(&refused), "/login?problem=expired");
        assert_eq!(cookies(&refused), "");
    }
    let done = visit(&stranger, &back, &flow).await;
    assert_eq!(location(&done), "/device?code=A");
    let session = cookies(&done);
    assert!(
        session.contains("R_SESS=") && session.contains("CSRF="),
        "{session}"
    );
    let policy = done.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
    assert_eq!(done.headers["referrer-policy"], "no-referrer");
    let seen = visit(&stranger, &cluster("one"), &session).await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.text());
    let came = recorded(&server, |event| {
        let path = event["requestURI"].as_str().unwrap_or_default();
        path.starts_with("/verify-auth") && event["user"]["username"].is_string()
    })
    .await;
    let annotations = &came["annotations"];
    assert_eq!(annotations["audit.lariat.internal/login-provider"], "oidc");
    let name = annotations["audit.lariat.internal/login-name"].as_str();
    assert!(name.is_some_and(|name| name.starts_with("alice")), "{came}");
    // The code was good once.
    let again = visit(&stranger, &back, &flow).await;
    assert_eq!(location(&again), "/login?problem=refused");

    // One user, whoever often she comes; no secret is in the log or where people read.
    let (back, flow) = sign_in(&server, "oidc", "//evil.example", &mut browser).await;
    let done = visit(&stranger, &back, &flow).await;
    assert_eq!(location(&done), "/login");
    let all = admin.get(&users()).await.json();
    let alices = all["items"].as_array().unwrap().iter();
    let alices: Vec<_> = alices
        .filter(|user| {
            user["principalIds"]
                .to_string()
                .contains("oidc_user://subject-of-alice")
        })
        .collect();
    assert_eq!(alices.len(), 1);
    let code = back
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    assert!(!server.audit_log().contains(code));

    access_follows_the_provider(&server, &provider, &admin, &cookies(&done), alices[0]).await;
}

async fn access_follows_the_provider(
    server: &TestServer,
    provider: &Oidc,
    admin: &Client,
    session: &str,
    alice: &Value,
) {
    let id = alice["metadata"]["name"].as_str().unwrap();
    let stranger = server.stranger();
    let refresh = format!("/v3/users/{id}?action=refreshauthprovideraccess");
    provider
        .change_account("alice", |alice| alice.groups.clear())
        .unwrap();
    // Twice: the refresh token is another each time.
    for _ in 0..2 {
        let asked = admin.post(&refresh, &json!({})).await;
        assert_eq!(asked.status, StatusCode::OK, "{}", asked.text());
    }
    visit(&stranger, &cluster("one"), session)
        .await
        .refusal(403);

    let csrf = session.split("CSRF=").nth(1).unwrap();
    let leave = Request::post("/v3/tokens?action=logoutAll")
        .header("cookie", session)
        .header("origin", "https://localhost")
        .header("x-api-csrf", csrf);
    let left = stranger.answer(leave.body(Full::default()).unwrap()).await;
    assert_eq!(left.status, StatusCode::OK, "{}", left.text());
    let elsewhere = left.json()["idpRedirectUrl"].as_str().unwrap().to_owned();
    assert!(elsewhere.starts_with(provider.issuer()), "{elsewhere}");
    visit(&stranger, &clusters(), session).await.refusal(401);

    let mut browser = provider.browser().unwrap();
    let (back, flow) = sign_in(server, "oidc", "/", &mut browser).await;
    let session = cookies(&visit(&stranger, &back, &flow).await);
    provider
        .change_account("alice", |alice| alice.disabled = true)
        .unwrap();
    admin.post(&refresh, &json!({})).await;
    visit(&stranger, &clusters(), &session).await.refusal(401);
}

fn world(server: &TestServer) -> World {
    World {
        users: vec![User::new(7, "alice", "sesame")],
        organizations: vec![Organization::new(1, "ranchers", &["alice"])],
        applications: vec![Application {
            client_id: "lariat".into(),
            client_secret: "secret".into(),
            callback_url: verify_auth(server),
        }],
        ..World::default()
    }
}

fn github_settings(hub: &GitHub) -> Value {
    json!({
        "hostname": hub.url().trim_start_matches("https://"),
        "clientId": "lariat", "clientSecret": "secret",
        "certificate": std::fs::read_to_string(hub.ca_file()).unwrap(),
    })
}

/// As Rancher's clients do it: configureTest, a browser, testAndApply; then a login by POST.
#[tokio::test(flavor = "multi_thread")]
async fn github_is_set_up_by_who_logs_in_there() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::open("test of logins by GitHub at the server").unwrap();
    let server = TestServer::start().await;
    let hub = testbed
        .github(folder.path(), Scheme::Https, world(&server))
        .unwrap();
    let admin = server.admin().await;
    let (ann, _) = server.user(&admin, "ann").await;
    let configs = "/v3/githubConfigs/github";
    let test = format!("{configs}?action=configureTest");
    let settings = github_settings(&hub);
    let denied = ann.post(&test, &settings).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN, "{}", denied.text());
    let begun = admin.post(&test, &settings).await;
    assert_eq!(begun.status, StatusCode::OK, "{}", begun.text());
    let url = begun.json()["redirectUrl"].as_str().unwrap().to_owned();
    let mut browser = hub.browser().unwrap();
    let back = signed_in(&url, &mut browser);
    let flow = cookies(&begun);

    // What a test brings back logs nobody in.
    let page = visit(&server.stranger(), &back, &flow).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("testAndApply") && cookies(&page).is_empty());
    let pair = |name: &str| {
        let query = back.split_once('?').unwrap().1;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    let input = json!({"code": pair("code"), "state": pair("state"), "githubConfig": settings});
    let apply = |cookie: String| {
        let path = format!("{configs}?action=testAndApply");
        let request = Request::post(path).header("cookie", cookie);
        let body = Full::new(input.to_string().into());
        let request = request
            .header("content-type", "application/json")
            .body(body);
        admin.answer(request.unwrap())
    };
    assert_eq!(apply(String::new()).await.status, StatusCode::BAD_REQUEST);
    let applied = apply(flow).await;
    assert_eq!(applied.status, StatusCode::OK, "{}", applied.text());
    assert_eq!(applied.json()["enabled"], true);
    assert!(!applied.text().contains("\"secret\""));

    // The administrator is also the one whom GitHub knows by that name.
    let begun = visit(&server.stranger(), "/login/with/github", "").await;
    let (flow, back) = (cookies(&begun), signed_in(location(&begun), &mut browser));
    let query = back.split_once('?').unwrap().1;
    let pairs: std::collections::HashMap<_, _> =
        url::form_urlencoded::parse(query.as_bytes()).collect();
    let input = json!({"code": pairs["code"], "state": pairs["state"], "responseType": "json"});
    let login = |cookie: &str| {
        let path = "/v3-public/githubProviders/github?action=login";
        let request = Request::post(path).header("cookie", cookie);
        let body = Full::new(input.to_string().into());
        request.body(body).unwrap()
    };
    let stranger = server.stranger();
    let refused = stranger.answer(login("")).await;
    assert_eq!(
        refused.status,
        StatusCode::BAD_REQUEST,
        "{}",
        refused.text()
    );
    let answer = stranger.answer(login(&flow)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.json()["authProvider"], "github");
    let alice = stranger.with_token(answer.json()["token"].as_str().unwrap());
    assert_eq!(alice.get(&users()).await.status, StatusCode::OK);
    let own = alice.get("/v3/principals").await.text();
    assert!(own.contains("github_user://7"), "{own}");
}

#[tokio::test]
async fn what_is_not_enabled_sends_nobody_anywhere() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    for provider in ["oidc", "github", "keycloakoidc"] {
        let answer = stranger.get(&format!("/login/with/{provider}")).await;
        assert_eq!(location(&answer), "/login?problem=not-enabled");
    }
    for provider in ["local", "openldap", "nobody"] {
        let answer = stranger.get(&format!("/login/with/{provider}")).await;
        answer.refusal(404);
    }
    stranger.get("/login/secret.js").await.refusal(404);
    stranger.post("/login", &json!({})).await.refusal(405);
    let page = stranger.get("/login").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.headers["x-frame-options"], "DENY");
}

struct Device {
    client: Client,
    verifier: &'static str,
    begun: Value,
}

impl Device {
    async fn begin(server: &TestServer) -> Self {
        let verifier = "the verifier of a program";
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let client = server.stranger();
        let new = json!({"codeChallenge": challenge, "description": "lariat login laptop"});
        let begun = client.post("/v3-public/deviceLogins", &new).await;
        assert_eq!(begun.status, StatusCode::CREATED, "{}", begun.text());
        let begun = begun.json();
        Self {
            client,
            verifier,
            begun,
        }
    }

    fn code(&self) -> &str {
        self.begun["userCode"].as_str().unwrap()
    }

    async fn redeem(&self, server: &TestServer, verifier: &str) -> Answer {
        server.advance(Duration::from_secs(2));
        let input = json!({"deviceCode": self.begun["deviceCode"], "codeVerifier": verifier});
        let path = "/v3-public/deviceLogins?action=redeem";
        self.client.post(path, &input).await
    }
}

fn at(code: &str, action: &str) -> String {
    format!("/v3/deviceLogins/{code}{action}")
}

#[tokio::test]
async fn a_command_line_is_logged_in_as_who_confirms_its_code() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let device = Device::begin(&server).await;
    let page = device.begun["verificationUriComplete"].as_str().unwrap();
    assert!(
        page.ends_with(&format!("/device?code={}", device.code())),
        "{page}"
    );
    let waiting = device.redeem(&server, device.verifier).await;
    assert_eq!(waiting.status, StatusCode::ACCEPTED);
    let shown = admin.get(&at(device.code(), "")).await.json();
    assert_eq!(shown["description"], "lariat login laptop");
    assert_eq!(shown["from"], "127.0.0.1");
    // Whoever knows no more than what is shown gets nothing.
    let stranger = server.stranger();
    for (method, action) in [(Method::GET, ""), (Method::POST, "?action=approve")] {
        let answer = stranger
            .send(method, &at(device.code(), action), None)
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let approved = admin
        .post(&at(device.code(), "?action=approve"), &json!({}))
        .await;
    assert_eq!(approved.status, StatusCode::OK, "{}", approved.text());
    let twice = admin
        .post(&at(device.code(), "?action=approve"), &json!({}))
        .await;
    assert_eq!(twice.status, StatusCode::CONFLICT);
    let given = device.redeem(&server, device.verifier).await;
    assert_eq!(given.status, StatusCode::CREATED, "{}", given.text());
    let token = given.json()["token"].as_str().unwrap().to_owned();
    let came = recorded(&server, |event| {
        event["requestURI"] == "/v3-public/deviceLogins?action=redeem"
            && event["responseStatus"]["code"] == 201
    })
    .await;
    let name = "audit.lariat.internal/login-name";
    assert_eq!(came["annotations"][name], "admin");
    assert!(came["user"]["username"].is_string(), "{came}");
    let program = device.client.with_token(&token);
    assert_eq!(program.get(&clusters()).await.status, StatusCode::OK);
    let again = device.redeem(&server, device.verifier).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert!(
        !server
            .audit_log()
            .contains(token.split_once(':').unwrap().1)
    );
}

/// CVE-2024-58267.
#[tokio::test]
async fn who_did_not_begin_a_login_does_not_get_it() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let stolen = Device::begin(&server).await;
    admin
        .post(&at(stolen.code(), "?action=approve"), &json!({}))
        .await;
    for verifier in ["", "another verifier", stolen.verifier] {
        let answer = stolen.redeem(&server, verifier).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{verifier}");
    }
    let denied = Device::begin(&server).await;
    admin
        .post(&at(denied.code(), "?action=deny"), &json!({}))
        .await;
    let answer = denied.redeem(&server, denied.verifier).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    let late = Device::begin(&server).await;
    server.advance(Duration::from_secs(601));
    let answer = admin
        .post(&at(late.code(), "?action=approve"), &json!({}))
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);

    // A token for one cluster logs nobody in.
    admin
        .post(&clusters(), &object("Cluster", "one", json!({})))
        .await;
    let narrow = object("Token", "", json!({"clusterName": "one"}));
    let narrow = admin.post(&super::harness::tokens(), &narrow).await.json();
    let narrow = admin.with_token(narrow["token"].as_str().unwrap());
    let device = Device::begin(&server).await;
    let answer = narrow
        .post(&at(device.code(), "?action=approve"), &json!({}))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    // Nor does somebody who was disabled meanwhile.
    let (ann, id) = server.user(&admin, "ann").await;
    ann.post(&at(device.code(), "?action=approve"), &json!({}))
        .await;
    let path = format!("{}/{id}", users());
    let mut user = admin.get(&path).await.json();
    user["enabled"] = json!(false);
    admin.put(&path, &user).await;
    let answer = device.redeem(&server, device.verifier).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text());
}

#[tokio::test]
async fn codes_cannot_be_tried_on_and_on() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let mut statuses = Vec::new();
    for _ in 0..15 {
        statuses.push(admin.get(&at("BBBB-BBBB", "")).await.status.as_u16());
    }
    assert!(
        statuses.contains(&404) && statuses.contains(&429),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn a_kubeconfig_asks_the_command_line_where_the_setting_says_so() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    made(&admin, &clusters(), &object("Cluster", "one", json!({}))).await;
    let path = "/v3/clusters/one?action=generateKubeconfig";
    let user = |answer: &Answer| {
        let config = answer.json()["config"].as_str().unwrap().to_owned();
        let config: Value = serde_saphyr::from_str(&config).unwrap();
        config["users"][0]["user"].clone()
    };
    let exec = user(&admin.post(path, &json!({"exec": true})).await);
    assert_eq!(exec["exec"]["command"], "lariat");
    assert_eq!(exec["exec"]["args"][0], "token");
    assert_eq!(exec["exec"]["args"][4], "one");
    assert!(exec["token"].is_null());
    assert!(user(&admin.post(path, &json!({})).await)["token"].is_string());
    let setting = "/apis/management.cattle.io/v3/settings/kubeconfig-generate-token";
    let mut changed = admin.get(setting).await.json();
    for (value, status) in [
        ("no", StatusCode::UNPROCESSABLE_ENTITY),
        ("false", StatusCode::OK),
    ] {
        changed["value"] = json!(value);
        let put = admin.put(setting, &changed).await;
        assert_eq!(put.status, status, "{}", put.text());
    }
    assert!(user(&admin.post(path, &json!({})).await)["token"].is_null());
    assert!(user(&admin.post(path, &json!({"exec": false})).await)["token"].is_string());
}

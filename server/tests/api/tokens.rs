//! Bearer tokens: unknown, expired, revoked, narrowed.

use std::time::Duration;

use base64::Engine as _;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use lariat_api::Token;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::harness::{
    Client, LIMIT, PASSWORD, TestServer, cluster, clusters, object, registration_tokens, tokens,
    users,
};

#[tokio::test]
async fn without_a_good_token_nothing_is_told() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    let name = server.admin().await.token.unwrap();
    let name = name.split(':').next().unwrap().to_owned();
    for token in [
        "token-none0:secret".to_owned(),
        format!("{name}:wrong"),
        format!("{name}:"),
        name,
    ] {
        let answer = stranger.with_token(&token).get(&clusters()).await;
        answer.refusal(401);
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    for path in [
        "/apis",
        "/metrics",
        "/k8s/clusters/c-1/api",
        "/k8s/clusters/none/api",
    ] {
        stranger.get(path).await.refusal(401);
    }
    for path in ["/ping", "/livez", "/readyz", "/cacerts", "/version"] {
        assert_eq!(stranger.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_token_expires() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    server.advance(Duration::from_secs(17 * 3600));
    let message = admin.get(&clusters()).await.refusal(401);
    assert_eq!(message, "token has expired; log in again");
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_what_is_open_with_it_ends() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let made = admin
        .post(
            &tokens(),
            &object("Token", "", json!({"description": "ci"})),
        )
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let (made, name) = (made.json(), made.json()["metadata"]["name"].clone());
    let name = name.as_str().unwrap();
    let ci = admin.with_token(made["token"].as_str().unwrap());
    let watch = Request::get(format!("{}?watch=true", clusters()))
        .body(Empty::new())
        .unwrap();
    let open = ci.request(watch).await;
    assert_eq!(open.status(), StatusCode::OK);
    assert_eq!(
        admin.delete(&format!("{}/{name}", tokens())).await.status,
        StatusCode::OK
    );
    assert_eq!(
        ci.get(&clusters()).await.refusal(401),
        "token is not known or was revoked"
    );
    let ended = tokio::time::timeout(LIMIT, open.into_body().collect()).await;
    ended.expect("the watch ends with the token").unwrap();
}

#[tokio::test]
async fn the_secret_is_shown_once() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let made = admin
        .post(&tokens(), &object("Token", "", json!({})))
        .await
        .json();
    let secret = made["token"].as_str().unwrap().split_once(':').unwrap().1;
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(!admin.get(&tokens()).await.text().contains(secret));
    assert!(
        !admin
            .get(&format!("{}/{name}", tokens()))
            .await
            .text()
            .contains(secret)
    );
    let store = std::fs::read(server.folder.path().join("data/store.redb")).unwrap();
    let found = store
        .windows(secret.len())
        .any(|window| window == secret.as_bytes());
    assert!(!found, "the secret is on disk");
}

#[tokio::test]
async fn a_token_for_one_cluster_opens_nothing_else() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for name in ["c-one", "c-two"] {
        admin
            .post(&clusters(), &object("Cluster", name, json!({})))
            .await;
    }
    let narrow = object("Token", "", json!({"clusterName": "c-one"}));
    let made = admin.post(&tokens(), &narrow).await.json();
    let narrow = admin.with_token(made["token"].as_str().unwrap());
    assert_eq!(narrow.get(&cluster("c-one")).await.status, StatusCode::OK);
    narrow.get(&cluster("c-two")).await.refusal(403);
    narrow.get("/k8s/clusters/c-one/api").await.refusal(503);
    narrow.get("/k8s/clusters/c-two/api").await.refusal(403);
    narrow
        .post(&tokens(), &object("Token", "", json!({})))
        .await
        .refusal(403);
    let listed = narrow.get(&clusters()).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);

    let (eve, _) = server.user(&admin, "eve").await;
    let peeping = object("Token", "", json!({"clusterName": "c-one"}));
    let made = eve.post(&tokens(), &peeping).await.json();
    let peeping = eve.with_token(made["token"].as_str().unwrap());
    peeping.get(&cluster("c-one")).await.refusal(403);
    let listed = peeping.get(&clusters()).await.json();
    assert_eq!(
        listed["items"],
        json!([]),
        "a token gives no more than its user has"
    );
}

#[tokio::test]
async fn nobody_makes_or_ends_a_token_of_somebody_else() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, _) = server.user(&admin, "ann").await;
    let admin_id = admin.get(&users()).await.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|user| user["username"] == "admin")
        .unwrap()["metadata"]["name"]
        .clone();
    let stolen = object("Token", "", json!({"userId": admin_id}));
    ann.post(&tokens(), &stolen).await.refusal(403);
    let name = admin.token.as_deref().unwrap().split(':').next().unwrap();
    ann.delete(&format!("{}/{name}", tokens()))
        .await
        .refusal(403);
    let own = ann.get(&tokens()).await.json();
    assert_eq!(own["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_deleted_user_takes_the_tokens_along() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, id) = server.user(&admin, "ann").await;
    assert_eq!(
        admin.delete(&format!("{}/{id}", users())).await.status,
        StatusCode::OK
    );
    ann.get(&clusters()).await.refusal(401);
    let again = object("User", &id, json!({"username": "ann"}));
    assert_eq!(
        admin.post(&users(), &again).await.status,
        StatusCode::CREATED
    );
    ann.get(&clusters()).await.refusal(401);
}

#[tokio::test]
async fn expired_tokens_are_deleted_after_a_while() {
    let server = TestServer::start().await;
    let first = server.admin().await;
    server.advance(Duration::from_secs(17 * 3600));
    lariat_server::expiry::sweep(&server.app).await.unwrap();
    let message = first.get(&clusters()).await.refusal(401);
    assert_eq!(message, "token has expired; log in again");
    server.advance(Duration::from_secs(24 * 3600));
    let second = server.admin().await;
    lariat_server::expiry::sweep(&server.app).await.unwrap();
    let message = first.get(&clusters()).await.refusal(401);
    assert_eq!(message, "token is not known or was revoked");
    let left = second.get(&tokens()).await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

/// A finalizer keeps the object, not what it gives.
#[tokio::test]
async fn a_token_that_is_being_deleted_is_refused() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let held = json!({"metadata": {"finalizers": ["example.org/held"]}});
    let made = admin
        .post(&tokens(), &object("Token", "", held))
        .await
        .json();
    let name = made["metadata"]["name"].as_str().unwrap().to_owned();
    let held = admin.with_token(made["token"].as_str().unwrap());
    assert_eq!(held.get(&tokens()).await.status, StatusCode::OK);
    let path = format!("{}/{name}", tokens());
    assert_eq!(admin.delete(&path).await.status, StatusCode::OK);
    held.get(&tokens()).await.refusal(401);
    assert_eq!(admin.get(&path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_login_that_nobody_uses_ends() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let made = admin.post(&tokens(), &object("Token", "", json!({}))).await;
    let derived = admin.with_token(made.json()["token"].as_str().unwrap());
    let settings = "/apis/management.cattle.io/v3/settings";
    let path = format!("{settings}/auth-user-session-idle-ttl-minutes");
    let mut setting = admin.get(&path).await.json();
    setting["value"] = json!("soon");
    let refused = admin.put(&path, &setting).await.refusal(422);
    assert!(refused.contains("must be a whole number"), "{refused}");
    setting["value"] = json!("10");
    assert_eq!(admin.put(&path, &setting).await.status, StatusCode::OK);
    for _ in 0..3 {
        server.advance(Duration::from_secs(9 * 60));
        assert_eq!(admin.get(&clusters()).await.status, StatusCode::OK);
    }
    server.advance(Duration::from_secs(11 * 60));
    let refused = admin.get(&clusters()).await.refusal(401);
    assert_eq!(refused, "the login was not used for too long; log in again");
    // Programs have tokens of their own, which live as long as they say.
    assert_eq!(derived.get(&clusters()).await.status, StatusCode::OK);
}

/// How long a token is good, from the answer in which it was made.
fn lifetime(made: &Value) -> u64 {
    let ttl = made["ttl"].as_u64();
    let ttl = ttl.unwrap_or(Token::DEFAULT_TTL_MILLISECONDS);
    let shown = made["metadata"].get("creationTimestamp");
    let made_at = shown.unwrap_or(&made["created"]);
    let time = |value: &Value| -> jiff::Timestamp { value.as_str().unwrap().parse().unwrap() };
    let passed = time(&made["expiresAt"]).duration_since(time(made_at));
    assert!(
        (passed.as_millis() - i128::from(ttl)).abs() < 5000,
        "{made}"
    );
    ttl
}

async fn set(admin: &Client, setting: &str, value: &str) {
    let path = format!("/apis/management.cattle.io/v3/settings/{setting}");
    let change = json!({"value": value});
    let set = admin.patch(&path, &change).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text());
}

#[tokio::test]
async fn no_login_lasts_longer_than_the_setting_says() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    set(&admin, "auth-user-session-ttl-minutes", "30").await;
    let (longest, year) = (30 * 60_000, Token::MAX_TTL_MILLISECONDS);
    for (asked, given) in [
        (0, longest),
        (60_000, 60_000),
        (year, longest),
        (u64::MAX, longest),
    ] {
        let input = json!({"username": "admin", "password": PASSWORD, "ttl": asked});
        let path = "/v3-public/localProviders/local?action=login";
        let made = server.stranger().post(path, &input).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        assert_eq!(lifetime(&made.json()), given, "{asked}");
    }
}

#[tokio::test]
async fn no_new_token_lasts_longer_than_the_setting_says() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let before = admin.post(&tokens(), &object("Token", "", json!({}))).await;
    assert_eq!(lifetime(&before.json()), Token::DEFAULT_TTL_MILLISECONDS);
    set(&admin, "auth-token-max-ttl-minutes", "60").await;
    let hour = 3_600_000;
    for (said, given) in [
        (json!({}), hour),
        (json!({"ttl": Token::MAX_TTL_MILLISECONDS}), hour),
        (json!({"ttl": 60_000}), 60_000),
    ] {
        let made = admin.post(&tokens(), &object("Token", "", said)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        assert_eq!(lifetime(&made.json()), given);
    }
    let made = admin.post("/v3/tokens", &json!({"ttl": 2 * hour})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert_eq!(made.json()["ttl"], hour);

    let one = object("Cluster", "c-one", json!({}));
    assert_eq!(
        admin.post(&clusters(), &one).await.status,
        StatusCode::CREATED
    );
    let path = "/v3/clusters/c-one?action=generateKubeconfig";
    let file = admin.post(path, &json!({})).await;
    assert_eq!(file.status, StatusCode::OK, "{}", file.text());
    let all = admin.get(&tokens()).await.json();
    let mut all = all["items"].as_array().unwrap().iter();
    let inside = all.find(|token| token["clusterName"] == "c-one").unwrap();
    assert_eq!(lifetime(inside), hour);
    // Nor does a login.
    assert_eq!(
        lifetime(&server.stranger().log_in("admin", PASSWORD).await.json()),
        hour
    );
    // What was made before is as it was.
    let name = before.json()["metadata"]["name"].clone();
    let kept = admin
        .get(&format!("{}/{}", tokens(), name.as_str().unwrap()))
        .await;
    assert_eq!(lifetime(&kept.json()), Token::DEFAULT_TTL_MILLISECONDS);
}

#[tokio::test]
async fn who_does_not_log_in_for_long_is_disabled_and_then_deleted() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, id) = server.user(&admin, "ann").await;
    let long = json!({"ttl": Token::MAX_TTL_MILLISECONDS});
    let long = ann.post(&tokens(), &object("Token", "", long)).await.json();
    let long = ann.with_token(long["token"].as_str().unwrap());
    let (_, robot) = server.user(&admin, "robot").await;
    let attribute = format!("/apis/management.cattle.io/v3/userattributes/{robot}");
    let never = json!({"disableAfter": "0s", "deleteAfter": "0s"});
    let kept = admin.patch(&attribute, &never).await;
    assert_eq!(kept.status, StatusCode::OK, "{}", kept.text());
    let setting = "/apis/management.cattle.io/v3/settings/delete-inactive-user-after";
    let slip = admin.patch(setting, &json!({"value": "72s"})).await;
    assert!(slip.refusal(422).contains("at least 336h"));
    set(&admin, "disable-inactive-user-after", "24h").await;
    set(&admin, "delete-inactive-user-after", "336h").await;

    server.advance(hours(23));
    lariat_server::inactive_users::sweep(&server.app).await;
    assert_eq!(long.get(&clusters()).await.status, StatusCode::OK);
    server.advance(hours(2));
    lariat_server::inactive_users::sweep(&server.app).await;
    long.get(&clusters()).await.refusal(401);
    // The first administrator can still log in.
    let admin = server.admin().await;
    let path = format!("{}/{id}", users());
    let enable = admin.patch(&path, &json!({"enabled": true})).await;
    assert_eq!(enable.status, StatusCode::OK, "{}", enable.text());
    lariat_server::inactive_users::sweep(&server.app).await;
    assert_eq!(long.get(&clusters()).await.status, StatusCode::OK);

    server.advance(hours(337));
    lariat_server::inactive_users::sweep(&server.app).await;
    let admin = server.admin().await;
    admin.get(&path).await.refusal(404);
    let robot = admin.get(&format!("{}/{robot}", users())).await.json();
    assert_eq!(robot["enabled"], true);
}

#[tokio::test]
async fn one_login_too_many_ends_the_one_that_is_longest_unused() {
    let server = TestServer::start().await;
    let first = server.admin().await;
    let path = "/apis/management.cattle.io/v3/settings/auth-user-max-sessions";
    let mut setting = first.get(path).await.json();
    setting["value"] = json!("2");
    assert_eq!(first.put(path, &setting).await.status, StatusCode::OK);
    server.advance(Duration::from_secs(60));
    let second = server.admin().await;
    assert_eq!(second.get(&clusters()).await.status, StatusCode::OK);
    server.advance(Duration::from_secs(60));
    assert_eq!(first.get(&clusters()).await.status, StatusCode::OK);
    let third = server.admin().await;
    second.get(&clusters()).await.refusal(401);
    for client in [&first, &third] {
        assert_eq!(client.get(&clusters()).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn credentials_of_other_kinds_are_no_tokens() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    admin
        .post(&clusters(), &object("Cluster", "prod", json!({})))
        .await;
    let made = object("ClusterRegistrationToken", "", json!({}));
    let made = admin.post(&registration_tokens("prod"), &made).await.json();
    let code = made["status"]["token"].as_str().unwrap();
    let registration = made["metadata"]["name"].as_str().unwrap();
    let token = admin.token.as_deref().unwrap();
    let (name, secret) = token.split_once(':').unwrap();
    let hash = hex::encode(sha2::Sha256::digest(secret));
    let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let protocol = encoded(token).replace('=', "");
    for (header, value) in [
        ("authorization", format!("Bearer {code}")),
        ("authorization", format!("Bearer {registration}:{code}")),
        ("authorization", format!("Bearer prod:{code}")),
        ("authorization", format!("Bearer {name}:{code}")),
        // What is stored is not what is shown.
        ("authorization", format!("Bearer {name}:{hash}")),
        ("authorization", format!("Bearer {hash}")),
        ("authorization", format!("Bearer admin:{PASSWORD}")),
        (
            "authorization",
            format!("Basic {}", encoded(&format!("admin:{PASSWORD}"))),
        ),
        ("authorization", format!("Token {token}")),
        ("authorization", token.to_owned()),
        ("proxy-authorization", format!("Bearer {token}")),
        ("x-api-auth-header", format!("Bearer {token}")),
        ("x-auth-token", token.to_owned()),
        ("x-remote-user", "admin".to_owned()),
        ("x-forwarded-user", "admin".to_owned()),
        ("impersonate-user", "admin".to_owned()),
        (
            "sec-websocket-protocol",
            format!("base64url.bearer.authorization.k8s.io.{protocol}, v4.channel.k8s.io"),
        ),
    ] {
        for path in [
            clusters(),
            "/v3/clusters".to_owned(),
            "/k8s/clusters/prod/api".to_owned(),
        ] {
            let request = Request::get(&path).header(header, &value);
            let request = request.body(http_body_util::Full::default()).unwrap();
            let answer = server.stranger().answer(request).await;
            assert_eq!(
                answer.status,
                StatusCode::UNAUTHORIZED,
                "{path} {header}: {value}"
            );
        }
    }
    for query in ["access_token", "token", "authorization", "bearer"] {
        let path = format!("{}?{query}={token}", clusters());
        server.stranger().get(&path).await.refusal(401);
    }
}

#[tokio::test]
async fn a_token_is_not_made_good_for_more_afterwards() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for name in ["c-one", "c-two"] {
        admin
            .post(&clusters(), &object("Cluster", name, json!({})))
            .await;
    }
    let (ann, ann_id) = server.user(&admin, "ann").await;
    let own = json!({"clusterName": "c-one", "ttl": 60_000});
    let made = ann.post(&tokens(), &object("Token", "", own)).await.json();
    let narrow = ann.with_token(made["token"].as_str().unwrap());
    let path = format!(
        "{}/{}",
        tokens(),
        made["metadata"]["name"].as_str().unwrap()
    );
    let said = async || {
        let mut token = ann.get(&path).await.json();
        token["metadata"] = json!(null);
        token
    };
    let before = said().await;
    let admin_id = server.app.directory.login("admin").unwrap().0;
    for (field, value) in [
        ("clusterName", json!("c-two")),
        ("clusterName", json!("")),
        ("clusterName", json!(null)),
        ("userId", json!(admin_id.as_str())),
        ("ttl", json!(31_536_000_000_u64)),
        ("expiresAt", json!("2099-01-01T00:00:00Z")),
        ("expiresAt", json!(null)),
        ("isDerived", json!(false)),
        ("authProvider", json!("openldap")),
        ("userPrincipal", json!(format!("local://{admin_id}"))),
        ("tokenHash", json!("00".repeat(32))),
        ("token", json!("chosen")),
        ("lastUsedAt", json!("2099-01-01T00:00:00Z")),
    ] {
        let change = json!({field: value});
        for client in [&ann, &admin] {
            let answer = client.patch(&path, &change).await;
            let status = answer.status.as_u16();
            assert!([200, 422].contains(&status), "{field}: {}", answer.text());
        }
        narrow.patch(&path, &change).await.refusal(403);
        assert_eq!(said().await, before, "{field}: {value}");
    }
    // It was made again under its name: another secret, and still its own user's.
    assert_eq!(ann.delete(&path).await.status, StatusCode::OK);
    narrow.get("/apis").await.refusal(401);
    let stolen = object(
        "Token",
        "",
        json!({"userId": admin_id.as_str(), "tokenHash": "00".repeat(32)}),
    );
    ann.post(&tokens(), &stolen).await.refusal(403);
    let listed = ann.get(&tokens()).await.json();
    let mut listed = listed["items"].as_array().unwrap().iter();
    assert!(listed.all(|token| token["userId"] == json!(ann_id)));
    server.advance(Duration::from_secs(3600));
    assert_eq!(ann.get(&tokens()).await.status, StatusCode::OK);
}

/// Of an administrator, whom nothing else would stop.
#[tokio::test]
async fn a_token_for_one_cluster_manages_nothing() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for name in ["c-one", "c-two"] {
        admin
            .post(&clusters(), &object("Cluster", name, json!({})))
            .await;
    }
    let (_, ann) = server.user(&admin, "ann").await;
    let narrow = object("Token", "", json!({"clusterName": "c-one"}));
    let narrow = admin.post(&tokens(), &narrow).await.json();
    let narrow = admin.with_token(narrow["token"].as_str().unwrap());
    let group = "/apis/management.cattle.io/v3";
    for path in [
        "/api/v1/secrets",
        "/api/v1/namespaces/c-one/secrets",
        "/api/v1/namespaces/cattle-system/secrets",
        "/api/v1/namespaces",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/metrics",
        "/k8s/clusters/c-two/api/v1/secrets",
        "/v3/clusters/c-two",
        "/v3/cluster/c-two/namespaces",
        "/v3/users",
        "/v3/openLdapConfigs/openldap",
    ] {
        let answer = narrow.get(path).await;
        assert_eq!(
            answer.status,
            StatusCode::FORBIDDEN,
            "{path}: {}",
            answer.text()
        );
    }
    for plural in [
        "users",
        "tokens",
        "settings",
        "authconfigs",
        "userattributes",
        "globalroles",
        "globalrolebindings",
        "roletemplates",
        "projects",
        "namespaces/c-one/clusterroletemplatebindings",
        "namespaces/c-one/clusterregistrationtokens",
        "namespaces/c-one/sessionrecordings",
        "namespaces/c-two/projects",
    ] {
        narrow.get(&format!("{group}/{plural}")).await.refusal(403);
    }
    let binding = json!({"userName": ann, "roleTemplateName": "cluster-owner"});
    let binding = object("ClusterRoleTemplateBinding", "", binding);
    let bindings = format!("{group}/namespaces/c-one/clusterroletemplatebindings");
    narrow.post(&bindings, &binding).await.refusal(403);
    let registration = object("ClusterRegistrationToken", "", json!({}));
    let at = registration_tokens("c-one");
    narrow.post(&at, &registration).await.refusal(403);
    let one = admin.get(&cluster("c-one")).await.json();
    narrow.put(&cluster("c-one"), &one).await.refusal(403);
    narrow.delete(&cluster("c-one")).await.refusal(403);
    narrow.delete(&cluster("c-two")).await.refusal(403);
    let another = object("Cluster", "", json!({}));
    narrow.post(&clusters(), &another).await.refusal(403);
    for action in [
        "/v3/users?action=refreshauthprovideraccess".to_owned(),
        format!("/v3/users/{ann}?action=setpassword"),
        "/v3/principals?action=search".to_owned(),
        "/v3/openLdapConfigs/openldap?action=disable".to_owned(),
        "/v3/openLdapConfigs/openldap?action=testAndApply".to_owned(),
        "/v3/clusters/c-one?action=generateKubeconfig".to_owned(),
        "/v3/clusters/c-two?action=generateKubeconfig".to_owned(),
    ] {
        let input = json!({"newPassword": "another password"});
        let answer = narrow.post(&action, &input).await;
        assert_eq!(
            answer.status,
            StatusCode::FORBIDDEN,
            "{action}: {}",
            answer.text()
        );
    }
}

const ONLY_READS: &str = "the token is good for reading only";

/// Of an administrator, whom nothing else would stop.
#[tokio::test]
async fn a_token_that_only_reads_changes_nothing() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    admin
        .post(&clusters(), &object("Cluster", "c-one", json!({})))
        .await;
    let (_, ann) = server.user(&admin, "ann").await;
    let made = object("Token", "", json!({"readOnly": true}));
    let made = admin.post(&tokens(), &made).await.json();
    let reader = admin.with_token(made["token"].as_str().unwrap());
    let own = format!(
        "{}/{}",
        tokens(),
        made["metadata"]["name"].as_str().unwrap()
    );
    for path in [
        "/apis",
        &cluster("c-one"),
        &own,
        "/v3",
        "/v3/clusters/c-one",
        "/v3/users?limit=5",
        "/metrics",
    ] {
        let answer = reader.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    }
    let shown = reader.get("/v3/tokens?current=true").await.json();
    assert_eq!(shown["data"][0]["readOnly"], true, "{shown}");

    let everything = async || {
        let mut lists = Vec::new();
        for path in [clusters(), tokens(), users()] {
            let listed = admin.get(&path).await.json();
            let items = listed["items"].as_array().unwrap().iter();
            let said = items.map(|item| (item["metadata"]["uid"].clone(), item["spec"].clone()));
            lists.push(said.collect::<Vec<_>>());
        }
        lists
    };
    let before = everything().await;
    let mut one = reader.get(&cluster("c-one")).await.json();
    one["spec"]["displayName"] = json!("other");
    let user = format!("/v3/users/{ann}");
    for (method, path) in [
        (Method::POST, clusters()),
        (Method::POST, tokens()),
        (Method::POST, users()),
        (Method::POST, registration_tokens("c-one")),
        (Method::PUT, cluster("c-one")),
        (Method::PATCH, cluster("c-one")),
        (Method::DELETE, cluster("c-one")),
        (Method::DELETE, clusters()),
        (Method::DELETE, own),
        (Method::POST, "/api/v1/namespaces".to_owned()),
        (Method::POST, "/v3/clusters".to_owned()),
        (Method::POST, "/v3/tokens".to_owned()),
        (Method::PUT, "/v3/clusters/c-one".to_owned()),
        (Method::DELETE, "/v3/clusters/c-one".to_owned()),
        (Method::DELETE, user.clone()),
        (Method::POST, format!("{user}?action=setpassword")),
        (
            Method::POST,
            "/v3/users?action=refreshauthprovideraccess".to_owned(),
        ),
        (
            Method::POST,
            "/v3/clusters/c-one?action=generateKubeconfig".to_owned(),
        ),
        (
            Method::POST,
            "/v3/deviceLogins/BBBB-BBBB?action=approve".to_owned(),
        ),
        (
            Method::POST,
            "/k8s/clusters/c-one/api/v1/namespaces".to_owned(),
        ),
    ] {
        let answer = reader.send(method.clone(), &path, Some(&one)).await;
        let told = answer.text();
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        assert!(told.contains(ONLY_READS), "{method} {path}: {told}");
    }
    assert_eq!(everything().await, before);
}

#[tokio::test]
async fn a_token_that_only_reads_asks_what_its_user_may_do_and_ends_itself() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let reading = object("Token", "", json!({"readOnly": true}));
    for logout in ["logout", "logoutAll"] {
        let made = admin.post(&tokens(), &reading).await.json();
        let token = made["token"].as_str().unwrap();
        let reader = admin.with_token(token);
        for (group, kind, spec) in [
            (
                "authorization.k8s.io",
                "SelfSubjectAccessReview",
                json!({"resourceAttributes": {"verb": "list", "resource": "secrets"}}),
            ),
            ("authentication.k8s.io", "SelfSubjectReview", json!(null)),
        ] {
            let mut review = json!({"apiVersion": format!("{group}/v1"), "kind": kind});
            if !spec.is_null() {
                review["spec"] = spec;
            }
            let path = format!("/apis/{group}/v1/{}s", kind.to_lowercase());
            let answer = reader.post(&path, &review).await;
            let told = answer.text();
            assert_eq!(answer.status, StatusCode::CREATED, "{kind}: {told}");
        }
        // Others are not to let its user in for more.
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let reviewed = admin.post(path, &review).await.json();
        assert_eq!(reviewed["status"]["authenticated"], json!(null));
        assert_eq!(reviewed["status"]["error"], ONLY_READS);
        let ended = reader
            .post(&format!("/v3/tokens?action={logout}"), &json!({}))
            .await;
        assert_eq!(ended.status, StatusCode::OK, "{}", ended.text());
        reader.get("/apis").await.refusal(401);
    }
}

/// Neither is it made good for more, nor does somebody believe that a token was narrowed which was not.
#[tokio::test]
async fn whether_a_token_only_reads_is_said_when_it_is_made() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for before in [true, false] {
        let made = object("Token", "", json!({"readOnly": before}));
        let made = admin.post(&tokens(), &made).await.json();
        let name = made["metadata"]["name"].as_str().unwrap();
        let path = format!("{}/{name}", tokens());
        let change = json!({"readOnly": !before});
        let refused = admin.patch(&path, &change).await.refusal(422);
        assert!(refused.contains("cannot be changed"), "{refused}");
        let described = json!({"readOnly": null, "description": "laptop"});
        let described = admin.patch(&path, &described).await;
        assert_eq!(described.status, StatusCode::OK, "{}", described.text());
        let other = admin.with_token(made["token"].as_str().unwrap());
        let another = object("Token", "", json!({}));
        let status = other.post(&tokens(), &another).await.status;
        assert_eq!(status == StatusCode::FORBIDDEN, before, "{status}");
    }
}

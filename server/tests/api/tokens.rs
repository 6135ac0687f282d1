//! Bearer tokens: unknown, expired, revoked, narrowed.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use serde_json::json;

use super::harness::{LIMIT, TestServer, cluster, clusters, object, tokens, users};

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

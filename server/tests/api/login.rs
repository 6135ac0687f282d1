//! Logging in and out, and passwords.

use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::harness::{Answer, PASSWORD, TestServer, clusters, object, users};

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_the_same() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    let wrong = stranger.log_in("admin", "wrong password").await;
    let unknown = stranger.log_in("nobody", "wrong password").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!(wrong.json(), unknown.json());
    assert_eq!(wrong.json()["message"], "username or password is wrong");
    assert_eq!(wrong.json()["type"], "error");
}

#[tokio::test]
async fn guessing_is_slowed_down_and_told_when_to_come_back() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    // All at once: one more is let through every few seconds.
    let wrong = join_all((0..12).map(|_| stranger.log_in("admin", "wrong password"))).await;
    let is_refused = |answer: &Answer| answer.status == StatusCode::TOO_MANY_REQUESTS;
    let refused = wrong.into_iter().find(is_refused);
    let refused = refused.expect("the twelfth attempt is too many");
    let seconds: u32 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=7).contains(&seconds));
    // The right password does not get around it, or the limit would tell which one is right.
    let right = join_all((0..5).map(|_| stranger.log_in("admin", PASSWORD))).await;
    assert!(right.iter().any(is_refused));
}

#[tokio::test]
async fn a_disabled_user_can_neither_log_in_nor_use_a_token() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, id) = server.user(&admin, "ann").await;
    assert_eq!(ann.get(&clusters()).await.status, StatusCode::OK);
    let path = format!("{}/{id}", users());
    let mut user = admin.get(&path).await.json();
    user["enabled"] = json!(false);
    assert_eq!(admin.put(&path, &user).await.status, StatusCode::OK);
    assert_eq!(
        ann.get(&clusters()).await.refusal(401),
        "token or its user is disabled"
    );
    let answer = server.stranger().log_in("ann", PASSWORD).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let metrics = admin.get("/metrics").await.text();
    let refused = "lariat_logins_total{provider=\"local\",result=\"refused\"} 1\n";
    assert!(metrics.contains(refused), "{metrics}");
    let mut user = admin.get(&path).await.json();
    user["enabled"] = json!(true);
    assert_eq!(admin.put(&path, &user).await.status, StatusCode::OK);
    assert_eq!(ann.get(&clusters()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn logging_out_ends_the_token() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let answer = admin.post("/v3/tokens?action=logout", &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK);
    let message = admin.get(&clusters()).await.refusal(401);
    assert_eq!(message, "token is not known or was revoked");
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_the_old_one() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let path = "/v3/users?action=changepassword";
    let change = |current: &str, new: &str| json!({"currentPassword": current, "newPassword": new});
    let wrong = admin.post(path, &change("wrong", "another password")).await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    let short = admin.post(path, &change(PASSWORD, "short")).await;
    assert_eq!(
        short.json()["message"],
        "newPassword: must have at least 12 characters"
    );
    let done = admin
        .post(path, &change(PASSWORD, "another password"))
        .await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    let old = server.stranger().log_in("admin", PASSWORD).await;
    assert_eq!(old.status, StatusCode::UNAUTHORIZED);
    server.login("admin", "another password").await;
}

#[tokio::test]
async fn who_must_change_the_password_can_do_nothing_else() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let new = json!({"username": "ann", "password": PASSWORD, "mustChangePassword": true});
    admin.post(&users(), &object("User", "u-ann", new)).await;
    let ann = server.login("ann", PASSWORD).await;
    let message = ann.get(&clusters()).await.refusal(403);
    assert!(message.starts_with("change your password first"));
    let message = ann.get("/k8s/clusters/c-1/api").await.refusal(403);
    assert!(message.starts_with("change your password first"));
    let change = json!({"currentPassword": PASSWORD, "newPassword": "another password"});
    ann.post("/v3/users?action=changepassword", &change).await;
    assert_eq!(ann.get(&clusters()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_password_is_ever_shown_or_logged() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, id) = server.user(&admin, "ann").await;
    for answer in [
        admin.get(&users()).await.text(),
        ann.get(&format!("{}/{id}", users())).await.text(),
        admin
            .get(&format!("{}?watch=true&timeoutSeconds=1", users()))
            .await
            .text(),
    ] {
        assert!(answer.contains("ann"));
        assert!(
            !answer.contains(PASSWORD) && !answer.contains("argon2"),
            "{answer}"
        );
    }
    assert!(!server.audit_log().contains(PASSWORD));
}

#[tokio::test]
async fn two_users_cannot_share_a_username() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    server.user(&admin, "ann").await;
    let again = object("User", "", json!({"username": "ann", "password": PASSWORD}));
    assert!(
        admin
            .post(&users(), &again)
            .await
            .refusal(409)
            .contains("\"ann\" is taken")
    );
    let both = [
        object("User", "u-b1", json!({"username": "bob"})),
        object("User", "u-b2", json!({"username": "bob"})),
    ];
    let path = users();
    let (one, other) = tokio::join!(admin.post(&path, &both[0]), admin.post(&path, &both[1]));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let name = if one.status == StatusCode::CREATED {
        "u-b1"
    } else {
        "u-b2"
    };
    admin.delete(&format!("{path}/{name}")).await;
    assert_eq!(
        admin.post(&path, &both[0]).await.status,
        StatusCode::CREATED
    );
}

/// All of it before anybody has said who they are.
#[tokio::test]
async fn a_login_that_is_too_large_or_too_deep_is_refused() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    let nested = |open: &str, close: &str| open.repeat(50_000) + "1" + &close.repeat(50_000);
    let large = |begin: &str| begin.to_owned() + &"x".repeat((3 << 20) + 1);
    for (what, body) in [
        ("lists in lists", nested("[", "]")),
        ("objects in objects", nested("{\"a\":", "}")),
        (
            "a name that nests",
            format!("{{\"username\": {}}}", nested("[", "]")),
        ),
        (
            "objects for texts",
            r#"{"username": {"$ne": ""}}"#.to_owned(),
        ),
        ("a number that is none", r#"{"ttl": 1e400}"#.to_owned()),
        ("what is compressed", "\u{1f}\u{8b}\u{8}".to_owned()),
        ("3 MiB of a name", large("{\"username\": \"")),
        ("3 MiB of nothing", large("")),
    ] {
        for path in [
            "/v3-public/localProviders/local?action=login",
            "/v3-public/openLdapProviders/openldap?action=login",
            "/v1-public/login",
        ] {
            let request = Request::post(path).header("content-type", "application/json");
            let request = request.body(Full::from(body.clone())).unwrap();
            let status = stranger.request(request).await.status();
            let is_large = what.starts_with("3 MiB");
            assert!(status.is_client_error(), "{what}, {path}: {status}");
            assert_eq!(
                status == StatusCode::PAYLOAD_TOO_LARGE,
                is_large,
                "{what}, {path}"
            );
        }
    }
    assert_eq!(stranger.get("/ping").await.text(), "pong");
}

#[tokio::test]
async fn an_address_is_that_of_the_connection_whatever_a_client_says() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    let attempt = |number: usize| {
        let (from, name) = (format!("203.0.113.{number}"), number.to_string());
        let input = json!({"username": name, "password": "wrong"}).to_string();
        // One that is not set up: it costs no hash, and counts.
        let request = Request::post("/v3-public/openLdapProviders/openldap?action=login")
            .header("x-forwarded-for", &from)
            .header("x-real-ip", &from)
            .header("forwarded", format!("for={from}"))
            .header("x-client-ip", &from)
            .header("true-client-ip", &from)
            .body(Full::new(input.into()));
        let stranger = stranger.clone();
        async move { stranger.answer(request.unwrap()).await.status }
    };
    let statuses = join_all((0..30).map(attempt)).await;
    let refused = statuses
        .iter()
        .filter(|status| **status == StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.count() >= 5, "{statuses:?}");
    server.app.audit.flush();
    let log = server.audit_log();
    assert!(log.contains("127.0.0.1") && !log.contains("203.0.113."));
}

#[tokio::test]
async fn a_token_is_no_way_to_try_passwords() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let path = "/v3/users?action=changepassword";
    let guess = json!({"currentPassword": "wrong", "newPassword": "another password"});
    let tried = join_all((0..12).map(|_| admin.post(path, &guess))).await;
    let refused = (tried.iter()).find(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    let refused = refused.expect("the twelfth attempt is too many");
    assert!(refused.headers.contains_key("retry-after"));
    // Nor are logins another count.
    let stranger = server.stranger();
    let login = join_all((0..5).map(|_| stranger.log_in("Admin", "wrong"))).await;
    let is_refused = |answer: &Answer| answer.status == StatusCode::TOO_MANY_REQUESTS;
    assert!(login.iter().any(is_refused));
}

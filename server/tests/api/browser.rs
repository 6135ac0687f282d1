//! Sessions of browsers: cookies, and what a page of another site cannot do with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, StatusCode, request};
use http_body_util::Full;
use serde_json::json;

use super::harness::{Answer, Client, PASSWORD, TestServer, clusters, object};

const LOGIN: &str = "/v3-public/localProviders/local?action=login";
const LOGOUT: &str = "/v3/tokens?action=logout";

/// The host of the server, as the client of these tests names it.
const OWN: &str = "https://localhost";

/// A browser with a session.
struct Session {
    client: Client,
    cookies: String,
    csrf: String,
}

impl Session {
    async fn begin(server: &TestServer) -> Self {
        let client = server.stranger();
        let answer = log_in(&client, Some(OWN)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let cookies = set_cookies(&answer);
        let csrf = cookies[1].split_once('=').unwrap().1.to_owned();
        Self {
            client,
            cookies: cookies.join("; "),
            csrf,
        }
    }

    /// A request that the browser sends for a page of this server.
    fn own(&self, method: &str, path: &str) -> request::Builder {
        self.bare(method, path)
            .header("origin", OWN)
            .header("sec-fetch-site", "same-origin")
            .header("x-api-csrf", &self.csrf)
    }

    /// A request with the cookies and nothing else.
    fn bare(&self, method: &str, path: &str) -> request::Builder {
        request(method, path).header("cookie", &self.cookies)
    }

    async fn ask(&self, request: request::Builder) -> Answer {
        ask(&self.client, request, "").await
    }
}

fn request(method: &str, path: &str) -> request::Builder {
    let request = Request::builder().method(method).uri(path);
    request.header("content-type", "application/json")
}

async fn ask(client: &Client, request: request::Builder, body: &str) -> Answer {
    let body = Full::new(body.to_owned().into());
    client.answer(request.body(body).unwrap()).await
}

async fn log_in(client: &Client, origin: Option<&str>) -> Answer {
    let input = json!({"username": "admin", "password": PASSWORD, "responseType": "cookie"});
    let request = match origin {
        Some(origin) => request("POST", LOGIN).header("origin", origin),
        None => request("POST", LOGIN),
    };
    ask(client, request, &input.to_string()).await
}

/// `NAME=VALUE` of the cookies that an answer sets.
fn set_cookies(answer: &Answer) -> Vec<String> {
    let set = answer.headers.get_all("set-cookie").iter();
    let pair = |cookie: &str| cookie.split(';').next().unwrap().to_owned();
    set.map(|cookie| pair(cookie.to_str().unwrap())).collect()
}

fn new_cluster(name: &str) -> String {
    object("Cluster", name, json!({})).to_string()
}

#[tokio::test]
async fn a_session_is_two_cookies_and_no_script_sees_the_token() {
    let server = TestServer::start().await;
    let answer = log_in(&server.stranger(), Some(OWN)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["token"], "");
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    let [session, csrf] = cookies.as_slice() else {
        panic!("{cookies:?}");
    };
    let (session, csrf) = (session.to_str().unwrap(), csrf.to_str().unwrap());
    assert!(session.starts_with("R_SESS=token-"), "{session}");
    assert!(csrf.starts_with("CSRF="), "{csrf}");
    for attribute in ["; Path=/", "; Secure", "; SameSite=Lax"] {
        assert!(session.contains(attribute) && csrf.contains(attribute));
    }
    assert!(session.contains("; HttpOnly") && !csrf.contains("HttpOnly"));
    let secret = session.split([':', ';']).nth(1).unwrap();
    assert!(!answer.text().contains(secret) && !csrf.contains(secret));
    assert!(!server.audit_log().contains(secret));
}

#[tokio::test]
async fn a_session_reads_and_writes_in_every_api_of_the_server() {
    let server = TestServer::start().await;
    let browser = Session::begin(&server).await;
    let listed = browser.ask(browser.bare("GET", &clusters())).await;
    assert_eq!(listed.status, StatusCode::OK, "{}", listed.text());
    let made = browser.own("POST", &clusters());
    let made = ask(&browser.client, made, &new_cluster("c-1")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let kubeconfig = "/v3/clusters/c-1?action=generateKubeconfig";
    let generated = browser.ask(browser.own("POST", kubeconfig)).await;
    assert_eq!(generated.status, StatusCode::OK, "{}", generated.text());
    // Nobody is connected: the request got as far as that.
    for method in ["GET", "POST"] {
        let request = browser.own(method, "/k8s/clusters/c-1/api/v1/namespaces");
        browser.ask(request).await.refusal(503);
    }
}

#[tokio::test]
async fn what_another_site_asks_for_is_refused_and_not_done() {
    let server = TestServer::start().await;
    let browser = Session::begin(&server).await;
    let other = Session::begin(&server).await;
    let bare = |path: &str| browser.bare("POST", path);
    for path in [
        clusters(),
        "/v3/clusters/c-1?action=generateKubeconfig".to_owned(),
        LOGOUT.to_owned(),
        "/k8s/clusters/c-1/api/v1/namespaces".to_owned(),
    ] {
        let own = || bare(&path).header("origin", OWN);
        let csrf = &browser.csrf;
        for (case, request) in [
            ("no header at all", bare(&path)),
            ("no origin", bare(&path).header("x-api-csrf", csrf)),
            ("no CSRF header", own()),
            ("an empty CSRF header", own().header("x-api-csrf", "")),
            (
                "that of another session",
                own().header("x-api-csrf", &other.csrf),
            ),
            (
                "two CSRF headers",
                own().header("x-api-csrf", csrf).header("x-api-csrf", csrf),
            ),
            (
                "another origin",
                bare(&path)
                    .header("origin", "https://evil.example")
                    .header("x-api-csrf", csrf),
            ),
            (
                "no TLS",
                bare(&path)
                    .header("origin", "http://localhost")
                    .header("x-api-csrf", csrf),
            ),
            (
                "another port",
                bare(&path)
                    .header("origin", "https://localhost:1")
                    .header("x-api-csrf", csrf),
            ),
            (
                "a hidden origin",
                bare(&path)
                    .header("origin", "null")
                    .header("x-api-csrf", csrf),
            ),
            (
                "another site",
                own()
                    .header("sec-fetch-site", "cross-site")
                    .header("x-api-csrf", csrf),
            ),
            (
                "a neighbour",
                own()
                    .header("sec-fetch-site", "same-site")
                    .header("x-api-csrf", csrf),
            ),
        ] {
            let answer = ask(&browser.client, request, &new_cluster("c-1")).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{case}: {path}");
        }
    }
    let listed = browser.ask(browser.bare("GET", &clusters())).await.json();
    assert_eq!(listed["items"], json!([]));
}

/// What is behind a link can act on it: a service in a cluster, most of all.
#[tokio::test]
async fn a_link_of_another_site_reads_nothing_either() {
    let server = TestServer::start().await;
    let browser = Session::begin(&server).await;
    let service = "/k8s/clusters/c-1/api/v1/namespaces/default/services/web/proxy/restart";
    for path in [clusters().as_str(), "/v3/clusters", service] {
        for (header, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
        ] {
            let request = browser.bare("GET", path).header(header, value);
            let answer = browser.ask(request).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}: {header}");
        }
    }
    for own in ["none", "same-origin"] {
        let request = browser.bare("GET", "/v3/clusters");
        let answer = browser.ask(request.header("sec-fetch-site", own)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
}

/// CVE-2019-13209.
#[tokio::test]
async fn a_websocket_is_opened_by_a_page_of_this_server_only() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let cluster = object("Cluster", "c-1", json!({}));
    admin.post(&clusters(), &cluster).await;
    let browser = Session::begin(&server).await;
    let exec = "/k8s/clusters/c-1/api/v1/namespaces/default/pods/web/exec?command=sh";
    let upgrade = || {
        browser
            .bare("GET", exec)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    browser.ask(upgrade()).await.refusal(403);
    for origin in ["https://evil.example", "null", "http://localhost"] {
        let answer = browser.ask(upgrade().header("origin", origin)).await;
        answer.refusal(403);
    }
    let watch = browser
        .bare("GET", &format!("{}?watch=true", clusters()))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("origin", "https://evil.example");
    browser.ask(watch).await.refusal(403);
    // No agent is connected: this one got as far as that.
    let answer = browser.ask(upgrade().header("origin", OWN)).await;
    answer.refusal(503);
}

#[tokio::test]
async fn one_proof_decides_alone() {
    let server = TestServer::start().await;
    let browser = Session::begin(&server).await;
    let list = clusters();
    // A bad header is not made good by a cookie.
    for header in ["Bearer token-none0:secret", "Bearer x", "Digest x", ""] {
        let request = browser.bare("GET", &list).header("authorization", header);
        browser.ask(request).await.refusal(401);
    }
    // A good one needs nothing of the browser's.
    let admin = server.admin().await;
    let foreign = request("POST", &list)
        .header("cookie", "R_SESS=token-none0:secret; R_SESS=token-x:y")
        .header("origin", "https://evil.example");
    let made = ask(&admin, foreign, &new_cluster("c-1")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    // Somebody planted one of two cookies.
    let twice = browser
        .bare("GET", &list)
        .header("cookie", "R_SESS=token-none0:secret");
    let message = browser.ask(twice).await.refusal(400);
    assert!(message.contains("more than one cookie R_SESS"), "{message}");
}

#[tokio::test]
async fn name_and_secret_of_a_token_are_also_taken_as_basic() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let stranger = server.stranger();
    let basic = |pair: &str| {
        let header = format!("Basic {}", STANDARD.encode(pair));
        request("POST", &clusters()).header("authorization", header)
    };
    let token = admin.token.as_deref().unwrap();
    let made = ask(&stranger, basic(token), &new_cluster("c-1")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    for wrong in [format!("{token}x").as_str(), "admin", ":", "admin:password"] {
        let answer = ask(&stranger, basic(wrong), &new_cluster("c-2")).await;
        answer.refusal(401);
    }
    // A browser that was told it once sends it to whoever asks.
    let foreign = basic(token).header("origin", "https://evil.example");
    let answer = ask(&stranger, foreign, &new_cluster("c-2")).await;
    answer.refusal(403);
}

#[tokio::test]
async fn logging_out_ends_the_session_and_its_cookies() {
    let server = TestServer::start().await;
    let browser = Session::begin(&server).await;
    let answer = browser.ask(browser.own("POST", LOGOUT)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(set_cookies(&answer), ["R_SESS=", "CSRF="]);
    for cookie in answer.headers.get_all("set-cookie") {
        assert!(cookie.to_str().unwrap().contains("; Max-Age=0"));
    }
    let after = browser.ask(browser.bare("GET", &clusters())).await;
    assert_eq!(after.refusal(401), "token is not known or was revoked");
}

#[tokio::test]
async fn another_site_logs_nobody_in() {
    let server = TestServer::start().await;
    for origin in ["https://evil.example", "null"] {
        let answer = log_in(&server.stranger(), Some(origin)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
        assert!(set_cookies(&answer).is_empty());
    }
    let program = log_in(&server.stranger(), None).await;
    assert_eq!(program.status, StatusCode::OK);
}

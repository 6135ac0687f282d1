//! Priority and fairness of the management API.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::harness::{TestServer, users};
use serde_json::json;

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Few seats, so that a handful of connections is a flood.
const FEW: [(&str, &str); 4] = [
    ("LARIAT_API_REQUESTS", "4"),
    ("LARIAT_API_BULK_REQUESTS", "2"),
    ("LARIAT_API_REQUESTS_PER_USER", "6"),
    ("LARIAT_API_WATCHES_PER_USER", "2"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_floods_does_not_harm_another() {
    let server = TestServer::start_with(&FEW).await;
    let admin = server.admin().await;
    // What takes long to answer: hundreds of large objects.
    for at in 0..60 {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{at}")},
            "data": {"text": "x".repeat(100_000)},
        });
        let made = admin.post(CONFIGMAPS, &map).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    }
    let (other, id) = server.user(&admin, "other").await;
    let own = format!("{}/{id}", users());
    let mut flood = tokio::task::JoinSet::new();
    for at in 0..24 {
        let admin = admin.clone();
        flood.spawn(async move {
            let mut refused = 0;
            for round in 0..5 {
                let path = match (at + round) % 2 {
                    0 => format!("{CONFIGMAPS}?resourceVersion=0"),
                    _ => format!("{CONFIGMAPS}/m{at}"),
                };
                let answer = admin.get(&path).await;
                match answer.status {
                    StatusCode::OK => {}
                    StatusCode::TOO_MANY_REQUESTS => {
                        assert_eq!(answer.headers["retry-after"], "1");
                        let message = answer.refusal(429);
                        assert!(message.starts_with("Too many requests"), "{message}");
                        refused += 1;
                    }
                    status => panic!("{status}: {}", answer.text()),
                }
            }
            refused
        });
    }
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
    });
    let (mut slowest, mut refused) = (Duration::ZERO, 0);
    while flood.len() > 12 {
        let asked = Instant::now();
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let answer = other.post(path, &review).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        slowest = slowest.max(asked.elapsed());
        // Some of the flood has ended by now.
        while let Some(ended) = flood.try_join_next() {
            refused += ended.unwrap();
        }
    }
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert_eq!(other.get(&own).await.status, StatusCode::OK);
    while let Some(ended) = flood.join_next().await {
        refused += ended.unwrap();
    }
    assert!(refused > 0, "nobody was refused");
    let metrics = admin.get("/metrics").await.text();
    let rejected = "apiserver_flowcontrol_rejected_requests_total{";
    let line = metrics.lines().find(|line| line.starts_with(rejected));
    let line = line.unwrap_or_else(|| panic!("nobody was refused: {metrics}"));
    assert!(line.contains("reason=\"concurrency-limit\""), "{line}");
}

#[tokio::test]
async fn watches_are_counted() {
    let server = TestServer::start_with(&FEW).await;
    let admin = server.admin().await;
    let watch = || {
        let request = http::Request::get(format!("{CONFIGMAPS}?watch=1"));
        let empty = http_body_util::Full::new(bytes::Bytes::new());
        admin.request(request.body(empty).unwrap())
    };
    let open = [watch().await, watch().await];
    assert!(open.iter().all(|answer| answer.status() == StatusCode::OK));
    let refused = watch().await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    // Other requests go on, and a watch that ends makes room.
    assert_eq!(admin.get(CONFIGMAPS).await.status, StatusCode::OK);
    drop(open);
    let again = async {
        while watch().await.status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    let limit = super::harness::LIMIT;
    tokio::time::timeout(limit, again).await.expect("room");
}

//! Who sees and may change which clusters.

use http::StatusCode;
use serde_json::json;

use super::harness::{TestServer, cluster, clusters, object, registration_tokens, users};

#[tokio::test]
async fn strangers_see_nothing_members_read_owners_change() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    let (bob, bob_id) = server.user(&admin, "bob").await;
    let (eve, _) = server.user(&admin, "eve").await;
    let members = json!([{"userId": ann_id, "role": "owner"}, {"userId": bob_id}]);
    let spec = json!({"spec": {"displayName": "prod", "members": members}});
    let mut prod = admin
        .post(&clusters(), &object("Cluster", "prod", spec))
        .await
        .json();
    admin
        .post(&clusters(), &object("Cluster", "other", json!({})))
        .await;

    for member in [&ann, &bob] {
        let listed = member.get(&clusters()).await.json();
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        assert_eq!(member.get(&cluster("prod")).await.status, StatusCode::OK);
        member.get("/k8s/clusters/prod/api").await.refusal(503);
        member.get("/k8s/clusters/other/api").await.refusal(403);
        member.get("/metrics").await.refusal(403);
    }
    assert_eq!(eve.get(&clusters()).await.json()["items"], json!([]));
    let hidden = eve.get(&cluster("prod")).await.refusal(403);
    let absent = eve.get(&cluster("none")).await.refusal(403);
    assert_eq!(hidden.replace("prod", "none"), absent);
    eve.get("/k8s/clusters/prod/api").await.refusal(403);

    prod["spec"]["description"] = json!("changed");
    bob.put(&cluster("prod"), &prod).await.refusal(403);
    bob.post(
        &registration_tokens("prod"),
        &object("ClusterRegistrationToken", "", json!({})),
    )
    .await
    .refusal(403);
    assert_eq!(
        ann.put(&cluster("prod"), &prod).await.status,
        StatusCode::OK
    );
    let token = object("ClusterRegistrationToken", "", json!({}));
    assert_eq!(
        ann.post(&registration_tokens("prod"), &token).await.status,
        StatusCode::CREATED
    );
    ann.post(&clusters(), &object("Cluster", "", json!({})))
        .await
        .refusal(403);
    ann.post(&users(), &object("User", "", json!({"username": "x"})))
        .await
        .refusal(403);
}

#[tokio::test]
async fn a_user_does_not_make_an_administrator_of_itself() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, id) = server.user(&admin, "ann").await;
    let path = format!("{}/{id}", users());
    let mut user = ann.get(&path).await.json();
    user["administrator"] = json!(true);
    ann.put(&path, &user).await.refusal(403);
}

//! kubeconfig files, used by a Kubernetes client.

use http::StatusCode;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use super::harness::{Client, TestServer, cluster, clusters, object};

async fn generated(admin: &Client, id: &str, input: &Value) -> Kubeconfig {
    let path = format!("/v3/clusters/{id}?action=generateKubeconfig");
    let answer = admin.post(&path, input).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let output = answer.json();
    assert_eq!(output["type"], "generateKubeconfigOutput");
    Kubeconfig::from_yaml(output["config"].as_str().unwrap()).unwrap()
}

/// What a client with that file is told when it asks the cluster.
async fn told(kubeconfig: Kubeconfig) -> Box<kube::core::Status> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    let client = kube::Client::try_from(config).unwrap();
    match client.apiserver_version().await.unwrap_err() {
        kube::Error::Api(status) => status,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn both_forms_lead_to_the_cluster() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let spec = json!({"spec": {"displayName": "prod: \"EU\""}});
    admin
        .post(&clusters(), &object("Cluster", "c-1", spec))
        .await;

    let by_path = generated(&admin, "c-1", &json!({})).await;
    assert_eq!(by_path.current_context.as_deref(), Some("prod: \"EU\""));
    let address = by_path.clusters[0]
        .cluster
        .as_ref()
        .unwrap()
        .server
        .clone()
        .unwrap();
    assert!(address.ends_with("/k8s/clusters/c-1"));
    let by_name = generated(&admin, "c-1", &json!({"serverName": true})).await;
    let entry = by_name.clusters[0].cluster.clone().unwrap();
    assert_eq!(
        entry.tls_server_name.as_deref(),
        Some("c-1.clusters.lariat.internal")
    );
    assert!(!entry.server.unwrap().contains("c-1"));
    // A client of kube-rs asks again and again where it is told to come back later (503), so the
    // answer for a cluster that is gone is the one to be seen here.
    admin.delete(&cluster("c-1")).await;
    for kubeconfig in [by_path, by_name] {
        let status = told(kubeconfig).await;
        assert_eq!(status.code, 404, "{status:?}");
        assert!(status.message.contains("c-1"));
    }
}

#[tokio::test]
async fn the_token_is_for_that_cluster_and_clusters_of_one_name_are_told_apart() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for id in ["c-1", "c-2"] {
        let spec = json!({"spec": {"displayName": "prod"}});
        admin.post(&clusters(), &object("Cluster", id, spec)).await;
    }
    let first = generated(&admin, "c-1", &json!({})).await;
    assert_eq!(first.current_context.as_deref(), Some("prod-c-1"));
    let user = first.auth_infos[0].auth_info.clone().unwrap();
    let token: String = {
        use secrecy::ExposeSecret;
        user.token.unwrap().expose_secret().to_owned()
    };
    assert!(token.starts_with("kubeconfig-u-"));
    let bearer = admin.with_token(&token);
    bearer.get("/k8s/clusters/c-1/api").await.refusal(503);
    bearer.get("/k8s/clusters/c-2/api").await.refusal(403);
    let more = bearer
        .post("/v3/clusters/c-1?action=generateKubeconfig", &json!({}))
        .await;
    assert_eq!(more.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_token_of_a_file_may_be_good_for_reading_only() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let endpoint = json!({"enabled": true, "fqdn": "api.example.org"});
    let spec = json!({"spec": {"localClusterAuthEndpoint": endpoint}});
    admin
        .post(&clusters(), &object("Cluster", "c-1", spec))
        .await;
    let file = generated(&admin, "c-1", &json!({"readOnly": true})).await;
    assert_eq!(file.contexts.len(), 1, "none past the server");
    let user = file.auth_infos[0].auth_info.clone().unwrap();
    let token: String = {
        use secrecy::ExposeSecret;
        user.token.unwrap().expose_secret().to_owned()
    };
    let reader = admin.with_token(&token);
    reader.get("/k8s/clusters/c-1/api").await.refusal(503);
    let refused = reader
        .post("/k8s/clusters/c-1/api/v1/namespaces", &json!({}))
        .await
        .refusal(403);
    assert_eq!(refused, "the token is good for reading only");
    // Where the command line gives the token, it is told so.
    let asked = json!({"readOnly": true, "exec": true});
    let file = generated(&admin, "c-1", &asked).await;
    let user = file.auth_infos[0].auth_info.clone().unwrap();
    let args = user.exec.unwrap().args.unwrap();
    assert_eq!(args.last().map(String::as_str), Some("--read-only"));
    let file = generated(&admin, "c-1", &json!({"exec": true})).await;
    assert_eq!(file.contexts.len(), 2);
    let user = file.auth_infos[0].auth_info.clone().unwrap();
    let args = user.exec.unwrap().args.unwrap();
    assert!(!args.contains(&"--read-only".to_owned()), "{args:?}");
}

#[tokio::test]
async fn only_who_may_reach_a_cluster_gets_a_file_for_it() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    admin
        .post(&clusters(), &object("Cluster", "c-1", json!({})))
        .await;
    let (eve, _) = server.user(&admin, "eve").await;
    for id in ["c-1", "none", "..%2f"] {
        let path = format!("/v3/clusters/{id}?action=generateKubeconfig");
        let status = eve.post(&path, &json!({})).await.status;
        assert!(
            status == StatusCode::FORBIDDEN || status == StatusCode::BAD_REQUEST,
            "{status}"
        );
    }
    let absent = admin
        .post("/v3/clusters/none?action=generateKubeconfig", &json!({}))
        .await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
}

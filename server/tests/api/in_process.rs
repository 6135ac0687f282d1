//! Controllers run against the management API in process.

use std::sync::Arc;

use apiserver::serve::User;
use futures::StreamExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};
use lariat_api::{Cluster, GROUP_ADMINISTRATORS};
use serde_json::json;

use super::harness::{LIMIT, TestServer};

fn controller_user() -> User {
    User {
        name: "system:controller".into(),
        groups: vec![GROUP_ADMINISTRATORS.into()],
        ..User::default()
    }
}

async fn reconcile(cluster: Arc<Cluster>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let clusters: Api<Cluster> = Api::all(Client::clone(&client));
    let applied = json!({
        "apiVersion": "management.cattle.io/v3", "kind": "Cluster",
        "metadata": {"labels": {"seen": "yes"}},
    });
    let params = PatchParams::apply("seer").force();
    clusters
        .patch(&cluster.name_any(), &params, &Patch::Apply(applied))
        .await?;
    Ok(Action::await_change())
}

#[tokio::test]
async fn a_controller_runs_against_it() {
    let server = TestServer::start().await;
    let client = server.app.client(&controller_user());
    let clusters: Api<Cluster> = Api::all(client.clone());
    let controller = Controller::new(clusters.clone(), watcher::Config::default()).run(
        reconcile,
        |_, error, _| panic!("{error}"),
        Arc::new(client),
    );
    let controller = tokio::spawn(controller.for_each(|_| async {}));
    clusters
        .create(&PostParams::default(), &Cluster::new("prod"))
        .await
        .unwrap();
    let seen = tokio::time::timeout(LIMIT, async {
        loop {
            let found = clusters.list(&Default::default()).await.unwrap();
            if let Some(seen) = found
                .items
                .into_iter()
                .find(|one| one.labels().contains_key("seen"))
            {
                break seen;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let seen = seen.await.expect("reconciled in time");
    let managers: Vec<_> = seen
        .managed_fields()
        .iter()
        .map(|entry| entry.manager.clone())
        .collect();
    assert!(managers.contains(&Some("seer".into())), "{managers:?}");
    clusters
        .delete(&seen.name_any(), &DeleteParams::default())
        .await
        .unwrap();
    controller.abort();
}

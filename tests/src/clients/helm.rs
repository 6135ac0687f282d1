//! A release whose objects are of the management API.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::Value;

use super::{World, succeed};
use crate::{helm, lariat::Api};

const CHART: [(&str, &str); 3] = [
    ("Chart.yaml", include_str!("../../charts/fleet/Chart.yaml")),
    (
        "values.yaml",
        include_str!("../../charts/fleet/values.yaml"),
    ),
    (
        "templates/all.yaml",
        include_str!("../../charts/fleet/templates/all.yaml"),
    ),
];

/// Installs, upgrades, rolls back and uninstalls; each time the clusters are as the chart says.
pub(super) async fn helm(world: &World) -> Result<String> {
    let (server, kubeconfig) = world.server("helm").await?;
    let api = server.api().await?;
    let chart = server.folder().join("chart");
    helm::write_chart(&chart, &CHART)?;
    let chart = chart.to_str().context("a path that is text")?;
    let home = server.folder().join("helm");
    let helm = |words: &[&str]| {
        let helm = tokio::task::block_in_place(|| helm::command(&home, &kubeconfig))?;
        succeed({ helm }.args(words))
    };
    helm(&["install", "hi", chart, "--wait"])?;
    ensure!(regions(&api).await? == [("ams", "north"), ("osl", "north")].map(owned));
    let south = "region=south,clusters={ams,rom}";
    helm(&["upgrade", "hi", chart, "--wait", "--set", south])?;
    ensure!(regions(&api).await? == [("ams", "south"), ("rom", "south")].map(owned));
    helm(&["rollback", "hi", "1", "--wait"])?;
    ensure!(regions(&api).await? == [("ams", "north"), ("osl", "north")].map(owned));
    let history: Value = serde_json::from_str(&helm(&["history", "hi", "--output", "json"])?)?;
    let revisions = history.as_array().map_or(0, Vec::len);
    ensure!(revisions == 3, "three revisions: {history}");
    helm(&["uninstall", "hi", "--wait"])?;
    ensure!(
        regions(&api).await?.is_empty(),
        "what was uninstalled is there"
    );
    Ok(format!("{revisions} revisions, then uninstalled"))
}

fn owned((name, region): (&str, &str)) -> (String, String) {
    (name.to_owned(), region.to_owned())
}

/// The clusters that there are, each with the region in its labels.
async fn regions(api: &Api) -> Result<Vec<(String, String)>> {
    let path = "/apis/management.cattle.io/v3/clusters?labelSelector=region";
    let list = api.call(Method::GET, path, None).await?;
    let items = list["items"].as_array().context("items")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((items.iter())
        .map(|item| &item["metadata"])
        .map(|meta| (text(&meta["name"]), text(&meta["labels"]["region"])))
        .collect())
}

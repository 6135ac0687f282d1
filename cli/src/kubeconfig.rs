//! `lariat kubeconfig`

use anyhow::{Context, bail};
use http::Method;
use lariat_api::{Cluster, Kind};
use serde_json::{Value, json};

use crate::args::Kubeconfig;
use crate::kubeconfig_file::{self, Merged};
use crate::server::Server;

const DAY_MILLISECONDS: u64 = 24 * 3600 * 1000;

/// Prints a kubeconfig file, or adds to one.
pub async fn run(server: &Server, args: Kubeconfig) -> anyhow::Result<()> {
    let one = args.cluster.is_some();
    let clusters = match &args.cluster {
        Some(wanted) => vec![server.cluster(wanted).await?],
        None => server.clusters().await?,
    };
    if clusters.is_empty() {
        bail!("there are no clusters; create one with: lariat cluster create NAME");
    }
    let mut files = Vec::new();
    for cluster in &clusters {
        files.push(
            generate(
                server,
                cluster,
                &json!({
                    "serverName": args.server_name,
                    "ttl": args.days * DAY_MILLISECONDS,
                    "exec": args.exec.then_some(true),
                    "readOnly": args.read_only,
                }),
            )
            .await?,
        );
    }
    if args.print {
        let mut merged = Merged::default();
        for file in files {
            merged.add(&file, one)?;
        }
        print!("{}", merged.to_yaml()?);
        return Ok(());
    }
    let path = match args.file {
        Some(path) => path,
        None => kubeconfig_file::default_path()?,
    };
    let contexts = kubeconfig_file::add(&path, files, one)?;
    let shown = path.display();
    println!("Added to {shown}: {}.", contexts.join(", "));
    match contexts.as_slice() {
        [context] => println!("It is the current context: {context}"),
        _ => println!("Use one with: kubectl --context NAME"),
    }
    Ok(())
}

/// A kubeconfig file for one cluster, as `input` wants it.
pub async fn generate(server: &Server, cluster: &Cluster, input: &Value) -> anyhow::Result<Value> {
    let path = format!("/v3/clusters/{}?action=generateKubeconfig", cluster.name());
    let answer = server.send(Method::POST, &path, input).await?;
    let config = answer["config"]
        .as_str()
        .context("the server gave no kubeconfig")?;
    serde_saphyr::from_str(config).context("the server's kubeconfig does not parse")
}

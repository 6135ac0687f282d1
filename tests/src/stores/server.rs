//! A backup of a running server, over its command line.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use http::Method;

use super::World;
use crate::lariat::{Server, ServerOptions, binary};

const CLUSTERS: &str = "/apis/management.cattle.io/v3/clusters";

/// Takes a backup while the server runs, changes something, and goes back.
pub(super) async fn backup(world: &World) -> Result<String> {
    let options = ServerOptions::loopback(world.folder.join("server"));
    let mut server = Server::start(&world.testbed, options).await?;
    let kept = server.api().await?.create_cluster("before").await?;
    let file = world.folder.join("server.backup");
    let said = run(&server, &["backup", path(&file)], &[])?;
    let again = run(&server, &["backup", path(&file)], &[]);
    ensure!(again.is_err(), "an older backup is overwritten");
    let gone = server.api().await?.create_cluster("after").await?;

    let restore = ["restore", path(&file), "--overwrite"];
    let refused = run(&server, &restore, &[]).unwrap_or_else(|error| error.to_string());
    ensure!(
        refused.contains("in use"),
        "restored beneath a running server: {refused}"
    );
    server.kill();
    let refused = run(&server, &restore[..2], &[]).unwrap_or_else(|error| error.to_string());
    ensure!(
        refused.contains("--overwrite"),
        "overwritten without being told: {refused}"
    );
    run(&server, &restore, &[])?;
    let resting = world.folder.join("resting.backup");
    run(&server, &["backup", path(&resting)], &[])?;
    server.restart().await?;

    let api = server.api().await?;
    api.call(Method::GET, &format!("{CLUSTERS}/{kept}"), None)
        .await?;
    let missing = api
        .call(Method::GET, &format!("{CLUSTERS}/{gone}"), None)
        .await;
    ensure!(missing.is_err(), "what was made after the backup is there");
    api.create_cluster("later").await?;
    Ok(format!(
        "{}; restored, with what was made later gone",
        said.trim()
    ))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// Runs `lariat-server` on the server's data directory; what it prints.
pub(super) fn run(server: &Server<'_>, words: &[&str], flags: &[String]) -> Result<String> {
    run_in(&server.folder().join("data"), words, flags)
}

/// The same on any data directory.
pub(super) fn run_in(data: &Path, words: &[&str], flags: &[String]) -> Result<String> {
    let output = Command::new(binary("lariat-server")?)
        .args(words)
        .arg("--data-dir")
        .arg(data)
        .args(flags)
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a text is in a file, or in any file in a folder.
pub(super) fn is_in(path: &Path, text: &str) -> Result<bool> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            if is_in(&entry?.path(), text)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let bytes = std::fs::read(path)?;
    let found = bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes());
    Ok(found)
}

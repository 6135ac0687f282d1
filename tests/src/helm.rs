//! helm as a process, and charts where it can read them.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use testbed::clients;

/// A helm that keeps its own files in `home`.
///
/// # Errors
/// When it cannot be fetched.
pub fn command(home: &Path, kubeconfig: &Path) -> Result<Command> {
    let mut helm = Command::new(clients::helm()?);
    helm.env("KUBECONFIG", kubeconfig)
        .env("HELM_CACHE_HOME", home)
        .env("HELM_CONFIG_HOME", home)
        .env("HELM_DATA_HOME", home);
    Ok(helm)
}

/// Writes the files of a chart, whose paths are relative to `folder`.
///
/// # Errors
/// When they cannot be written.
pub fn write_chart(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).context("make a folder for the chart")?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

//! Requests and answers as they are on the wire.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::lariat::Raw;

/// What a server has answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Their names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

/// Sends a request, and reads its answer to the end.
///
/// # Errors
/// When there is none, or it is no HTTP.
pub(super) async fn ask(
    raw: &Raw,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &str,
) -> Result<Answer> {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let (status, text) = raw.request(method, path, &headers, body).await?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .context("an answer without a body")?;
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let headers: BTreeMap<_, _> = headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    ensure!(
        !headers.contains_key("transfer-encoding"),
        "an answer of this face is sent whole: {headers:?}"
    );
    Ok(Answer {
        status,
        headers,
        body: body.to_owned(),
    })
}

/// The path of an address, with its query; what is a path already stays as it is.
///
/// # Errors
/// When it is neither.
pub(super) fn path_of(address: &str) -> Result<String> {
    if address.starts_with('/') {
        return Ok(address.to_owned());
    }
    let rest = address
        .strip_prefix("https://")
        .context("neither a path nor an address")?;
    let (_, path) = rest.split_once('/').context("an address without a path")?;
    Ok(format!("/{path}"))
}

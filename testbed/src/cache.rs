//! Things in the cache that are fetched or made once, whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Result, error::Step, tools};

/// The folder `part/name` of the cache, filled by `fill` when it is not there. Several processes
/// may call this at once: one fills, the others wait.
pub(crate) fn filled(
    part: &str,
    name: &str,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let cache = tools::cache_folder()?.join(part);
    fs::create_dir_all(&cache).at("create", &cache)?;
    let folder = cache.join(name);
    if folder.exists() {
        return Ok(folder);
    }
    let _lock = tools::lock(&cache.join("fetch.lock"), &format!("making of {name}"))?;
    if folder.exists() {
        return Ok(folder);
    }
    let draft = cache.join("fetching");
    if draft.exists() {
        fs::remove_dir_all(&draft).at("remove", &draft)?;
    }
    fs::create_dir_all(&draft).at("create", &draft)?;
    fill(&draft)?;
    fs::rename(&draft, &folder).at("put in place", &folder)?;
    Ok(folder)
}

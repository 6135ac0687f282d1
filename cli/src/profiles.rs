//! The servers that you are logged in to, in `~/.config/lariat/config.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::private_file;

/// All servers.
#[derive(Debug)]
pub struct Profiles {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Content {
    /// URL of the server last logged in to.
    current: Option<String>,
    /// By URL.
    servers: BTreeMap<String, Profile>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// URL without a slash at its end.
    pub url: String,
    /// Bearer token, `name:secret`.
    pub token: String,
    /// The server's CA (PEM), if the platform does not trust its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

impl Profiles {
    /// Reads the file. There need not be one.
    pub fn load() -> anyhow::Result<Self> {
        Self::load_from(path()?)
    }

    fn load_from(path: PathBuf) -> anyhow::Result<Self> {
        let content = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| {
                let path = path.display();
                format!("{path} does not parse; mend it, or delete it and log in again")
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Content::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        Ok(Self { path, content })
    }

    /// The server with that URL, or the one last logged in to.
    pub fn choose(&self, url: Option<&str>) -> anyhow::Result<Profile> {
        let url = url.map(|url| url.trim_end_matches('/'));
        let Some(url) = url.or(self.content.current.as_deref()) else {
            bail!("you are not logged in; log in with: lariat login https://SERVER");
        };
        let profile = self.content.servers.get(url).cloned();
        profile.with_context(|| format!("you are not logged in there; run: lariat login {url}"))
    }

    /// Remembers a server and makes it the current one.
    pub fn remember(&mut self, profile: Profile) -> anyhow::Result<()> {
        self.content.current = Some(profile.url.clone());
        self.content.servers.insert(profile.url.clone(), profile);
        self.save()
    }

    /// Takes over a new token for a server that is known. The current server stays the same.
    pub fn update(&mut self, profile: Profile) -> anyhow::Result<()> {
        self.content.servers.insert(profile.url.clone(), profile);
        self.save()
    }

    /// Forgets a server.
    pub fn forget(&mut self, url: &str) -> anyhow::Result<()> {
        self.content.servers.remove(url);
        if self.content.current.as_deref() == Some(url) {
            self.content.current = self.content.servers.keys().next().cloned();
        }
        self.save()
    }

    /// Where they are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn save(&self) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.content)?;
        private_file::write(&self.path, &text)
    }
}

fn path() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(path) = set("LARIAT_CLI_CONFIG") {
        return Ok(path.into());
    }
    let folder = match set("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let home = set("HOME").context("neither XDG_CONFIG_HOME nor HOME is set")?;
            Path::new(&home).join(".config")
        }
    };
    Ok(folder.join("lariat").join("config.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(url: &str) -> Profile {
        Profile {
            url: url.to_owned(),
            token: "token-1:s".to_owned(),
            authority: None,
        }
    }

    #[test]
    fn the_last_login_is_the_current_one_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lariat/config.json");
        let mut profiles = Profiles::load_from(path.clone()).unwrap();
        assert!(
            profiles
                .choose(None)
                .unwrap_err()
                .to_string()
                .contains("lariat login")
        );
        profiles.remember(profile("https://a")).unwrap();
        profiles.remember(profile("https://b")).unwrap();
        let mut profiles = Profiles::load_from(path).unwrap();
        assert_eq!(profiles.choose(None).unwrap().url, "https://b");
        assert_eq!(
            profiles.choose(Some("https://a/")).unwrap().url,
            "https://a"
        );
        assert!(profiles.choose(Some("https://c")).is_err());
        profiles.forget("https://b").unwrap();
        assert_eq!(profiles.choose(None).unwrap().url, "https://a");
    }

    #[test]
    fn a_damaged_file_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, "{").unwrap();
        let error = Profiles::load_from(path.clone()).unwrap_err().to_string();
        assert!(error.contains("config.json does not parse"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "{");
    }
}

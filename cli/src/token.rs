//! `lariat token`: the credential plugin of kubeconfig files (`client.authentication.k8s.io`).
//!
//! kubectl runs it for each command. It gives out a token that is good for one cluster and an hour, which
//! is kept in a private file and made anew with the login that `lariat login` has left.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::args::TokenArgs;
use crate::private_file;
use crate::profiles::{Profile, Profiles};
use crate::server::Server;
use crate::{device_login, login};

const TOKENS: &str = "/apis/management.cattle.io/v3/tokens";

/// How long a token is good, in milliseconds.
const TTL_MILLISECONDS: u64 = 3600 * 1000;

/// A token that ends sooner than this is replaced.
const LEFT: SignedDuration = SignedDuration::from_mins(5);

/// How long it is believed that a token was not revoked.
const BELIEVED: SignedDuration = SignedDuration::from_secs(60);

const GROUP: &str = "client.authentication.k8s.io";

/// Tokens that are kept, by server and cluster.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Kept(BTreeMap<String, One>);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct One {
    token: String,
    expires_at: Timestamp,
    /// When the server last said that it is good.
    seen_at: Timestamp,
    /// Name of the login's token with which it was made: another login makes another one.
    by: String,
}

/// What kubectl asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    version: String,
    interactive: bool,
}

impl Asked {
    /// From the value of `KUBERNETES_EXEC_INFO`; without one, somebody tries it out.
    fn parse(info: Option<&str>) -> anyhow::Result<Self> {
        let Some(info) = info.filter(|info| !info.is_empty()) else {
            return Ok(Self {
                version: "v1".to_owned(),
                interactive: std::io::stdin().is_terminal(),
            });
        };
        let info: Value =
            serde_json::from_str(info).context("KUBERNETES_EXEC_INFO does not parse")?;
        let version = info["apiVersion"].as_str().and_then(|version| {
            let version = version.strip_prefix(GROUP)?.strip_prefix('/')?;
            ["v1", "v1beta1"].contains(&version).then_some(version)
        });
        let Some(version) = version else {
            let found = &info["apiVersion"];
            bail!("{found} is not known; the kubeconfig must say {GROUP}/v1 or v1beta1");
        };
        Ok(Self {
            version: version.to_owned(),
            interactive: info["spec"]["interactive"].as_bool().unwrap_or(false),
        })
    }

    fn credential(&self, one: &One) -> Value {
        json!({
            "apiVersion": format!("{GROUP}/{}", self.version),
            "kind": "ExecCredential",
            "status": {"token": one.token, "expirationTimestamp": one.expires_at},
        })
    }
}

/// Prints a credential for one cluster.
pub async fn run(
    profiles: &mut Profiles,
    args: &TokenArgs,
    server: Option<&str>,
) -> anyhow::Result<()> {
    let asked = Asked::parse(std::env::var("KUBERNETES_EXEC_INFO").ok().as_deref())?;
    let path = cache()?;
    let now = Timestamp::now();
    let profile = profiles.choose(server)?;
    let key = key(&profile.url, args);
    let mut kept = Kept::load(&path);
    let one = match good(&kept, &key, &profile, now).await? {
        Some(one) => one,
        None => match made(&profile, args, now).await? {
            Some(one) => one,
            None => {
                let profile = log_in_again(profiles, &profile, &asked).await?;
                let made = made(&profile, args, now).await?;
                made.with_context(|| log_in_first(&profile))?
            }
        },
    };
    kept.0.retain(|_, one| one.expires_at > now);
    if kept
        .0
        .insert(key, one.clone())
        .is_none_or(|before| before.seen_at != one.seen_at)
    {
        kept.save(&path)?;
    }
    println!("{}", asked.credential(&one));
    Ok(())
}

/// Where a token is kept. One that is good for more is never given for one that only reads.
fn key(url: &str, args: &TokenArgs) -> String {
    let scope = if args.read_only { " read-only" } else { "" };
    format!("{url} {}{scope}", args.cluster)
}

/// The token that is kept, if it is good for a while.
async fn good(
    kept: &Kept,
    key: &str,
    profile: &Profile,
    now: Timestamp,
) -> anyhow::Result<Option<One>> {
    let Some(one) = kept.usable(key, profile, now) else {
        return Ok(None);
    };
    if now.duration_since(one.seen_at) < BELIEVED {
        return Ok(Some(one.clone()));
    }
    // One who may do nothing but use a cluster may still ask who they are.
    let shown = Profile {
        token: one.token.clone(),
        ..profile.clone()
    };
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (status, _) = Server::connect(&shown)?
        .ask(Method::POST, path, &review)
        .await?;
    Ok((status != StatusCode::UNAUTHORIZED).then(|| One {
        seen_at: now,
        ..one.clone()
    }))
}

/// A new token; nothing, if the login is good no more.
async fn made(profile: &Profile, args: &TokenArgs, now: Timestamp) -> anyhow::Result<Option<One>> {
    let new = json!({
        "apiVersion": "management.cattle.io/v3",
        "kind": "Token",
        "clusterName": args.cluster,
        "readOnly": args.read_only,
        "ttl": TTL_MILLISECONDS,
        "description": "kubectl, by lariat token",
    });
    let server = Server::connect(profile)?;
    let (status, answer) = server.ask(Method::POST, TOKENS, &new).await?;
    if status == StatusCode::UNAUTHORIZED {
        return Ok(None);
    }
    let message = answer["message"].as_str().unwrap_or("no reason was given");
    if !status.is_success() {
        bail!("{message}");
    }
    let token = answer["token"]
        .as_str()
        .context("the server gave no token")?;
    let expires_at = answer["expiresAt"]
        .as_str()
        .and_then(|text| text.parse().ok());
    Ok(Some(One {
        token: token.to_owned(),
        expires_at: expires_at.context("the server's token has no end")?,
        seen_at: now,
        by: server.token_name().to_owned(),
    }))
}

/// Logs in by a browser, if somebody is there.
async fn log_in_again(
    profiles: &mut Profiles,
    profile: &Profile,
    asked: &Asked,
) -> anyhow::Result<Profile> {
    if !asked.interactive {
        bail!("{}", log_in_first(profile));
    }
    let nobody = Profile {
        token: String::new(),
        ..profile.clone()
    };
    let server = Server::connect(&nobody)?;
    let answer = device_login::log_in(&server, &login::description(), login::show).await?;
    let token = answer["token"]
        .as_str()
        .context("the server gave no token")?;
    let profile = Profile {
        token: token.to_owned(),
        ..nobody
    };
    profiles.update(profile.clone())?;
    Ok(profile)
}

fn log_in_first(profile: &Profile) -> String {
    let url = &profile.url;
    format!("the login at {url} has ended; run: lariat login --browser {url}")
}

impl Kept {
    /// Those in a file. What does not parse is made anew.
    fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn save(&self, path: &Path) -> anyhow::Result<()> {
        private_file::write(path, &serde_json::to_string(self)?)
    }

    fn usable(&self, key: &str, profile: &Profile, now: Timestamp) -> Option<&One> {
        let by = profile.token.split(':').next().unwrap_or_default();
        let one = self.0.get(key)?;
        (one.by == by && one.expires_at.duration_since(now) > LEFT).then_some(one)
    }
}

/// `~/.cache/lariat/tokens.json`
fn cache() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = match set("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let home = set("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
            Path::new(&home).join(".cache")
        }
    };
    Ok(folder.join("lariat").join("tokens.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_was_asked_for_is_answered() {
        for version in ["v1", "v1beta1"] {
            let info = json!({"apiVersion": format!("{GROUP}/{version}"), "kind": "ExecCredential",
                "spec": {"interactive": false}});
            let asked = Asked::parse(Some(&info.to_string())).unwrap();
            assert!(!asked.interactive);
            let one = One {
                token: "kubeconfig-1:s".into(),
                expires_at: Timestamp::UNIX_EPOCH,
                seen_at: Timestamp::UNIX_EPOCH,
                by: "token-1".into(),
            };
            let credential = asked.credential(&one);
            assert_eq!(credential["apiVersion"], format!("{GROUP}/{version}"));
            assert_eq!(credential["status"]["token"], "kubeconfig-1:s");
            let end = &credential["status"]["expirationTimestamp"];
            assert_eq!(*end, "1970-01-01T00:00:00Z");
        }
        for unknown in [
            "{",
            "{}",
            r#"{"apiVersion":"client.authentication.k8s.io/v9"}"#,
        ] {
            assert!(Asked::parse(Some(unknown)).is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_token_that_only_reads_is_kept_apart() {
        let key = |read_only: bool| {
            let args = TokenArgs {
                cluster: "c-1".into(),
                read_only,
            };
            key("https://a", &args)
        };
        assert_eq!(key(false), "https://a c-1");
        assert_ne!(key(false), key(true));
    }

    #[test]
    fn a_token_is_kept_for_its_login_until_it_is_about_to_end() {
        let end = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        let one = One {
            token: "token-2:s".into(),
            expires_at: end,
            seen_at: Timestamp::UNIX_EPOCH,
            by: "token-1".into(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lariat/tokens.json");
        Kept([("key".to_owned(), one)].into()).save(&path).unwrap();
        let kept = Kept::load(&path);
        let profile = |token: &str| Profile {
            url: "https://a".into(),
            token: token.into(),
            authority: None,
        };
        let mine = profile("token-1:x");
        let now = Timestamp::UNIX_EPOCH;
        assert!(kept.usable("key", &mine, now).is_some());
        assert!(kept.usable("other", &mine, now).is_none());
        assert!(kept.usable("key", &profile("token-9:x"), now).is_none());
        assert!(kept.usable("key", &mine, end - LEFT).is_none());
        std::fs::write(&path, "{").unwrap();
        assert!(Kept::load(&path).0.is_empty());
    }
}

//! What clients ask of the server, and what steers it while it runs, as Settings.

use futures::future::try_join_all;
use kube::api::{Api, Patch, PatchParams};
use lariat_api::Setting;
use serde_json::json;

use super::client::MANAGER;
use crate::config::Config;
use crate::edge::CertificateKeeper;
use crate::inactive_users::{DELETE_AFTER, DISABLE_AFTER};

/// Namespaces that clusters themselves need, and what usually runs in them for all.
const SYSTEM_NAMESPACES: &str = "kube-system,kube-public,kube-node-lease,cattle-system,\
    cattle-fleet-system,cattle-fleet-local-system,cattle-monitoring-system,cattle-logging-system,\
    cattle-gatekeeper-system,cattle-resources-system,cattle-neuvector-system,cis-operator-system,\
    longhorn-system,calico-system,calico-apiserver,tigera-operator,ingress-nginx,cert-manager,\
    metallb-system,istio-system";

/// A setting that is a number, with the name that Rancher's users know where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// Seconds after which login providers are asked again about who has tokens.
    UserInfoMaxAge,
    /// Minutes until a login ends, at the latest.
    SessionTtl,
    /// Minutes after which a login ends that nobody uses.
    SessionIdleTtl,
    /// How many logins a user has at once; 0: as many as they like.
    MaxSessions,
    /// Minutes for which a new token is good at most; 0: as long as tokens may be.
    TokenMaxTtl,
}

/// Whether a token is put into kubeconfig files: `true` or `false`, as Rancher's users know it.
pub(crate) const GENERATE_TOKEN: &str = "kubeconfig-generate-token";

/// The value of a setting is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from {least} to {most}")]
pub struct NotANumber {
    least: u64,
    most: u64,
}

impl Number {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::UserInfoMaxAge,
        Self::SessionTtl,
        Self::SessionIdleTtl,
        Self::MaxSessions,
        Self::TokenMaxTtl,
    ];

    /// The name of the Setting.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UserInfoMaxAge => "auth-user-info-max-age-seconds",
            Self::SessionTtl => "auth-user-session-ttl-minutes",
            Self::SessionIdleTtl => "auth-user-session-idle-ttl-minutes",
            Self::MaxSessions => "auth-user-max-sessions",
            Self::TokenMaxTtl => "auth-token-max-ttl-minutes",
        }
    }

    /// What applies when nobody has said anything.
    #[must_use]
    pub fn default(self) -> u64 {
        match self {
            Self::UserInfoMaxAge => 3600,
            Self::SessionTtl | Self::SessionIdleTtl => 960,
            Self::MaxSessions | Self::TokenMaxTtl => 0,
        }
    }

    /// The setting of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|number| number.name() == name)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(self, value: &str) -> Result<u64, NotANumber> {
        const MINUTES_OF_A_YEAR: u64 = 365 * 24 * 60;
        let (least, most) = match self {
            Self::UserInfoMaxAge => (1, MINUTES_OF_A_YEAR * 60),
            Self::SessionTtl | Self::SessionIdleTtl => (1, MINUTES_OF_A_YEAR),
            Self::MaxSessions => (0, 1000),
            Self::TokenMaxTtl => (0, MINUTES_OF_A_YEAR),
        };
        let read = value.parse().ok();
        let read = read.filter(|number| (least..=most).contains(number));
        read.ok_or(NotANumber { least, most })
    }
}

/// Shows as Settings what clients ask there: the server's URL, its CA and its version; and what can be
/// changed there, with its defaults.
///
/// # Errors
/// When the store fails.
pub(crate) async fn ensure(
    client: &kube::Client,
    config: &Config,
    certificates: &CertificateKeeper,
) -> kube::Result<()> {
    let settings: Api<Setting> = Api::all(client.clone());
    let apply = PatchParams::apply(MANAGER).force();
    let url = config.server_url.as_str().trim_end_matches('/').to_owned();
    let shown = [
        ("cacerts", certificates.trusted().to_string()),
        ("server-url", url),
        ("server-version", format!("v{}", env!("CARGO_PKG_VERSION"))),
    ];
    let made = shown.map(|(name, value)| {
        let wanted = json!({
            "apiVersion": "management.cattle.io/v3", "kind": "Setting",
            "metadata": {"name": name}, "default": value, "source": "config",
        });
        let (settings, apply) = (&settings, &apply);
        async move { settings.patch(name, apply, &Patch::Apply(wanted)).await }
    });
    try_join_all(made).await?;
    // Where its value comes from is left as it is.
    let name = Setting::SYSTEM_NAMESPACES;
    let wanted = json!({
        "apiVersion": "management.cattle.io/v3", "kind": "Setting",
        "metadata": {"name": name}, "default": SYSTEM_NAMESPACES,
    });
    settings.patch(name, &apply, &Patch::Apply(wanted)).await?;
    let numbers = Number::ALL.map(|number| (number.name(), number.default().to_string()));
    let changeable = numbers
        .into_iter()
        .chain([(GENERATE_TOKEN, "true".to_owned())])
        .chain([DISABLE_AFTER, DELETE_AFTER].map(|name| (name, String::new())));
    let made = changeable.map(|(name, default)| {
        let wanted = json!({
            "apiVersion": "management.cattle.io/v3", "kind": "Setting",
            "metadata": {"name": name}, "default": default,
        });
        let (settings, apply) = (&settings, &apply);
        async move { settings.patch(name, apply, &Patch::Apply(wanted)).await }
    });
    try_join_all(made).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_default_that_can_be_set() {
        for number in Number::ALL {
            let default = number.default();
            assert_eq!(number.parse(&default.to_string()), Ok(default));
            assert_eq!(Number::of_name(number.name()), Some(number));
            for bad in ["", "-1", "1.5", "1h", "99999999999"] {
                assert!(number.parse(bad).is_err(), "{bad}");
            }
        }
        let refused = Number::SessionTtl.parse("0").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "must be a whole number from 1 to 525600"
        );
    }
}

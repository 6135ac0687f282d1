//! The bound that the cluster's owner sets on the server: the policy of the cluster agent.
//!
//! The server writes tokens and users into this cluster. What it writes there opens no more than it could
//! ask for through the tunnel: no other users, no other groups, and nothing at all where the policy allows
//! reading alone or single namespaces, since whoever is let in here is bound by RBAC alone.

use serde::Deserialize;

/// Reserved groups that everybody may be in.
const HARMLESS_GROUPS: [&str; 1] = ["system:authenticated"];

/// What the names of users begin with that are nobody's token.
const RESERVED_USERS: [&str; 2] = ["system:", "lariat:"];

/// Why the policy does not let somebody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no usable policy, or one that cannot be held here.
    #[error("the policy of the cluster's agent lets nobody in here: {0}")]
    Everybody(String),
    /// A user outside the policy.
    #[error("the policy of the cluster's agent does not allow user {0:?}")]
    User(String),
    /// A group outside the policy, or a reserved one.
    #[error("the policy of the cluster's agent does not allow group {0:?}")]
    Group(String),
}

/// Who may be let in.
#[derive(Clone, Debug)]
pub struct Policy {
    impersonate: Impersonate,
    denies: Option<String>,
}

/// What of the agent's policy matters here. The agent refuses keys that it does not know; here they need not
/// be known, as whatever is not there allows nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    impersonate: Impersonate,
    access: String,
    namespaces: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Impersonate {
    users: Vec<String>,
    groups: Vec<String>,
}

impl Policy {
    /// Lets nobody in.
    pub fn denying(reason: &str) -> Self {
        Self {
            impersonate: Impersonate::default(),
            denies: Some(reason.to_owned()),
        }
    }

    /// Reads the agent's policy. One that cannot be read lets nobody in.
    pub fn read(text: &str) -> Self {
        let written: Written = match serde_saphyr::from_str(text) {
            Ok(written) => written,
            Err(error) => {
                // A parser's message goes on with an excerpt of the text.
                let error = error.to_string();
                let first = error.lines().next().unwrap_or_default();
                return Self::denying(&format!("it cannot be read: {first}"));
            }
        };
        let everywhere = written.namespaces.iter().any(|name| name == "*");
        let denies = if written.access != "readWrite" {
            Some("it allows reading alone, which cannot be held here")
        } else if !everywhere {
            Some("it allows single namespaces, which cannot be held here")
        } else {
            None
        };
        Self {
            impersonate: written.impersonate,
            denies: denies.map(str::to_owned),
        }
    }

    /// Whether that user with those groups may be let in.
    pub fn check(&self, user: &str, groups: &[String]) -> Result<(), Denied> {
        if let Some(reason) = &self.denies {
            return Err(Denied::Everybody(reason.clone()));
        }
        // Those are the cluster's own components and the server's controllers: no people.
        let reserved = RESERVED_USERS
            .iter()
            .any(|beginning| user.starts_with(beginning));
        if reserved || !covered(&self.impersonate.users, user) {
            return Err(Denied::User(user.to_owned()));
        }
        // Reserved groups hold the cluster's own components and, with system:masters, everything.
        let refused = groups.iter().find(|group| {
            let harmless = HARMLESS_GROUPS.contains(&group.as_str());
            let reserved = group.starts_with("system:");
            !harmless && (reserved || !covered(&self.impersonate.groups, group))
        });
        match refused {
            Some(group) => Err(Denied::Group(group.clone())),
            None => Ok(()),
        }
    }
}

/// Whether a list has the name, or the beginning of it followed by `*`.
fn covered(patterns: &[String], name: &str) -> bool {
    let covers = |pattern: &String| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    };
    patterns.iter().any(covers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = "impersonate: {users: ['u-*'], groups: ['lariat:*']}\n\
                         access: readWrite\nnamespaces: ['*']\ndialTargets: []\n";

    fn groups(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn users_and_groups_of_the_server_are_let_in_and_no_others() {
        let policy = Policy::read(USUAL);
        let usual = groups(&["lariat:authenticated", "system:authenticated"]);
        assert_eq!(policy.check("u-1", &usual), Ok(()));
        for user in [
            "system:admin",
            "system:kube-scheduler",
            "kubernetes-admin",
            "",
        ] {
            assert_eq!(
                policy.check(user, &usual),
                Err(Denied::User(user.to_owned()))
            );
        }
        for group in ["system:masters", "system:nodes", "ops", ""] {
            let asked = groups(&["lariat:authenticated", group]);
            assert_eq!(
                policy.check("u-1", &asked),
                Err(Denied::Group(group.to_owned()))
            );
        }
    }

    #[test]
    fn reserved_names_are_refused_even_if_the_policy_has_them() {
        let policy = Policy::read(&USUAL.replace("'u-*'", "'*'").replace("'lariat:*'", "'*'"));
        assert_eq!(policy.check("ann", &groups(&["ops"])), Ok(()));
        assert!(policy.check("system:admin", &[]).is_err());
        assert!(policy.check("lariat:controllers", &[]).is_err());
        assert!(policy.check("ann", &groups(&["system:masters"])).is_err());
    }

    #[test]
    fn a_policy_that_cannot_be_held_or_read_lets_nobody_in() {
        for (from, to) in [
            ("readWrite", "readOnly"),
            ("namespaces: ['*']", "namespaces: ['shop']"),
            ("namespaces: ['*']", ""),
            ("access: readWrite", ""),
            ("impersonate: {", "impersonate: ["),
        ] {
            let text = USUAL.replace(from, to);
            assert_ne!(text, USUAL);
            let denied = Policy::read(&text).check("u-1", &[]);
            assert!(
                matches!(denied, Err(Denied::Everybody(_))),
                "{text}: {denied:?}"
            );
        }
    }
}

//! Names of objects as checked types.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::kind::rule;

/// A name is not a valid id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct InvalidId {
    what: &'static str,
    value: String,
    rule: &'static str,
}

const LABEL_RULE: &str =
    "must consist of lower-case letters, digits and '-', and start and end with a letter or digit";

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $prefix:literal, $max:literal, $length_rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schema($prefix, $max)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let fault = |rule| InvalidId { what: $what, value: shortened(text), rule };
                if text.is_empty() || text.len() > $max {
                    return Err(fault($length_rule));
                }
                if !text.starts_with($prefix) {
                    return Err(fault(concat!("must begin with '", $prefix, "'")));
                }
                if !is_label(text) {
                    return Err(fault(LABEL_RULE));
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Id of a cluster: `c-xxxxx`, `local`, or a name given by the user. A DNS label (at most 63
    /// characters), because it is also the first label of a TLS server name and a namespace.
    ClusterId, "cluster id", "", 63, "must have 1 to 63 characters"
}

id! {
    /// Id of a user: `u-xxxxx`, or a name given by an administrator, which also begins with `u-`:
    /// so it can never be the name of somebody that a connected cluster knows by itself. At most 63
    /// characters.
    UserId, "user id", "u-", 63, "must have 1 to 63 characters"
}

id! {
    /// Id of a project: `p-xxxxx`, or a name given by the user, which also begins with `p-`: it is the
    /// name of a namespace, and so can never be that of a cluster or of a user. Unique on the server. At
    /// most 63 characters.
    ProjectId, "project id", "p-", 63, "must have 1 to 63 characters"
}

id! {
    /// Name of a token: `token-xxxxx` for logins and API keys, `kubeconfig-<user>-xxxxx` for the
    /// ones in kubeconfig files. Not secret. At most 120 characters.
    TokenName, "token name", "", 120, "must have 1 to 120 characters"
}

impl ClusterId {
    /// A new id `c-xxxxx` from the low 25 of `bits`.
    #[must_use]
    pub fn from_random(bits: u64) -> Self {
        Self(format!("c-{}", suffix(bits)))
    }

    /// The TLS server name that chooses this cluster.
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("{}.{}", self.0, crate::CLUSTER_SERVER_NAME_SUFFIX)
    }

    /// The cluster chosen by a TLS server name; `None` for every other name.
    #[must_use]
    pub fn from_server_name(name: &str) -> Option<Self> {
        let label = name
            .strip_suffix(crate::CLUSTER_SERVER_NAME_SUFFIX)?
            .strip_suffix('.')?;
        label.parse().ok()
    }
}

impl UserId {
    /// What the principals of local accounts begin with.
    pub const LOCAL: &str = "local://";

    /// A new id `u-xxxxx` from the low 25 of `bits`.
    #[must_use]
    pub fn from_random(bits: u64) -> Self {
        Self(format!("u-{}", suffix(bits)))
    }

    /// The principal of this user as a local account, `local://u-xxxxx`.
    #[must_use]
    pub fn local_principal(&self) -> String {
        format!("{}{}", Self::LOCAL, self.0)
    }
}

impl ProjectId {
    /// A new id `p-xxxxx` from the low 25 of `bits`.
    #[must_use]
    pub fn from_random(bits: u64) -> Self {
        Self(format!("p-{}", suffix(bits)))
    }
}

impl TokenName {
    /// A new name `token-xxxxx` from the low 25 of `bits`.
    #[must_use]
    pub fn from_random(bits: u64) -> Self {
        Self(format!("token-{}", suffix(bits)))
    }

    /// A new name `kubeconfig-<user>-xxxxx` from the low 25 of `bits`.
    #[must_use]
    pub fn kubeconfig(user: &UserId, bits: u64) -> Self {
        Self(format!("kubeconfig-{user}-{}", suffix(bits)))
    }
}

/// What [`FromStr`] asks, as a schema.
fn schema(prefix: &str, max: usize) -> Schema {
    let label = "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')";
    let mut rules = vec![rule(label, LABEL_RULE)];
    if !prefix.is_empty() {
        let prefixed = format!("self.startsWith('{prefix}')");
        rules.push(rule(&prefixed, &format!("must begin with '{prefix}'")));
    }
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": max,
        "x-kubernetes-validations": rules,
    })
}

/// Five characters of Crockford's base 32 in lower case: no `i`, `l`, `o` and `u`.
fn suffix(bits: u64) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    (0..5)
        .map(|place| char::from(ALPHABET[(bits >> (5 * place)) as usize % 32]))
        .collect()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let outer = |byte: Option<&u8>| byte.is_some_and(|byte| inner(byte) && *byte != b'-');
    bytes.iter().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

/// At most 80 characters of what somebody sent, for an error message.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_that_users_give_are_kept() {
        for good in ["c-abc12", "local", "prod", "a", "0", "eu-west-1"] {
            assert_eq!(good.parse::<ClusterId>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn names_that_could_escape_a_path_are_refused() {
        for bad in [
            "", ".", "..", "a/b", "a%2fb", "-a", "a-", "A", "a.b", "a b", "ä",
        ] {
            assert!(bad.parse::<ClusterId>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(64).parse::<ClusterId>().is_err());
    }

    #[test]
    fn a_server_name_is_one_label_before_the_suffix() {
        let id: ClusterId = "c-abc12".parse().unwrap();
        assert_eq!(id.server_name(), "c-abc12.clusters.lariat.internal");
        assert_eq!(ClusterId::from_server_name(&id.server_name()), Some(id));
        for other in [
            "clusters.lariat.internal",
            ".clusters.lariat.internal",
            "a.b.clusters.lariat.internal",
            "c-abc12clusters.lariat.internal",
            "example.org",
        ] {
            assert_eq!(ClusterId::from_server_name(other), None, "{other}");
        }
    }

    #[test]
    fn the_error_names_value_and_rule() {
        let error = "C-1".parse::<ClusterId>().unwrap_err().to_string();
        assert_eq!(
            error,
            format!("cluster id \"C-1\" is not valid: {LABEL_RULE}")
        );
    }

    proptest! {
        #[test]
        fn random_ids_parse(bits: u64) {
            let cluster = ClusterId::from_random(bits);
            prop_assert_eq!(cluster.as_str().len(), 7);
            prop_assert_eq!(cluster.as_str().parse::<ClusterId>().unwrap(), cluster);
            let user = UserId::from_random(bits);
            let project = ProjectId::from_random(bits);
            prop_assert_eq!(project.as_str().parse::<ProjectId>().unwrap(), project);
            let token = TokenName::kubeconfig(&user, bits);
            prop_assert_eq!(token.as_str().parse::<TokenName>().unwrap(), token);
        }

        #[test]
        fn parsing_never_panics(text: String) {
            let _ = text.parse::<ClusterId>();
            let _ = ClusterId::from_server_name(&text);
        }
    }
}

//! A person or program that logs in.

use kube::core::{ClusterResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::resource;
use crate::{ApiVersion, Column, InvalidField, Kind, KindName, UserId};

/// Somebody who can log in. Its name is its stable id, `u-xxxxx`.
///
/// The password is not part of the object that is read: it is kept elsewhere, hashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `User`.
    pub kind: KindName<User>,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Name used to log in. Unique among users; compared exactly.
    #[serde(default)]
    pub username: String,
    /// Name shown to people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Password to set. Written only; never in an answer. At least 12 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Whether the user may log in and use tokens. Defaults to true.
    #[serde(default = "enabled_by_default")]
    pub enabled: bool,
    /// Whether the user must change the password before anything else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_change_password: bool,
    /// Whether the user administers the server: may do everything in the management API and
    /// reach every cluster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub administrator: bool,
    /// Identities of the user at the login providers, `local://u-xxxxx` for a local account.
    /// Only the server writes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principal_ids: Vec<String>,
}

fn enabled_by_default() -> bool {
    true
}

impl User {
    /// Fewest characters of a password.
    pub const MIN_PASSWORD_CHARACTERS: usize = 12;
    /// Most bytes of a password: hashing takes time in proportion to it.
    pub const MAX_PASSWORD_BYTES: usize = 1024;

    /// An enabled local user who logs in as `username`.
    #[must_use]
    pub fn new(id: &UserId, username: &str) -> Self {
        Self {
            api_version: ApiVersion,
            kind: KindName::default(),
            metadata: ObjectMeta {
                name: Some(id.to_string()),
                ..ObjectMeta::default()
            },
            username: username.to_owned(),
            display_name: String::new(),
            description: String::new(),
            password: None,
            enabled: true,
            must_change_password: false,
            administrator: false,
            principal_ids: vec![id.local_principal()],
        }
    }

    /// Checks a password against the rules for new ones.
    ///
    /// # Errors
    /// Names the rule, never the password.
    pub fn check_new_password(password: &str) -> Result<(), InvalidField> {
        let rule = if password.chars().count() < Self::MIN_PASSWORD_CHARACTERS {
            "must have at least 12 characters"
        } else if password.len() > Self::MAX_PASSWORD_BYTES {
            "must have at most 1024 bytes"
        } else {
            return Ok(());
        };
        Err(InvalidField::new("password", "(hidden)", rule))
    }
}

resource!(User, ClusterResourceScope);

impl Kind for User {
    const KIND: &'static str = "User";
    const PLURAL: &'static str = "users";
    const SINGULAR: &'static str = "user";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::new("Username", "string", "Name used to log in"),
        Column::new("Display Name", "string", "Name shown to people"),
        Column::new("Enabled", "boolean", "Whether the user may log in"),
        Column::new(
            "Administrator",
            "boolean",
            "Whether the user administers the server",
        ),
    ];

    fn cells(&self) -> Vec<Value> {
        vec![
            json!(self.username),
            json!(self.display_name),
            json!(self.enabled),
            json!(self.administrator),
        ]
    }

    fn validate(&self) -> Result<(), InvalidField> {
        if let Some(name) = &self.metadata.name {
            name.parse::<UserId>()
                .map_err(|error| InvalidField::new("metadata.name", name, error.to_string()))?;
        }
        let length = self.username.chars().count();
        if !(1..=128).contains(&length) || self.username.chars().any(char::is_control) {
            let shown: String = self.username.chars().take(40).collect();
            let rule = "must have 1 to 128 characters, none of them a control character";
            return Err(InvalidField::new("username", shown, rule));
        }
        self.password
            .as_deref()
            .map_or(Ok(()), Self::check_new_password)
    }

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.principal_ids = stored.map_or_else(Vec::new, |stored| stored.principal_ids.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_enabled_unless_it_says_otherwise() {
        let text = r#"{"apiVersion":"management.cattle.io/v3","kind":"User","username":"ann"}"#;
        let user: User = serde_json::from_str(text).unwrap();
        assert!(user.enabled && !user.administrator);
    }

    #[test]
    fn a_short_password_is_refused_without_repeating_it() {
        let error = User::check_new_password("hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(User::check_new_password("correct horse"), Ok(()));
    }

    #[test]
    fn a_user_needs_a_username() {
        let id: UserId = "u-1".parse().unwrap();
        assert_eq!(User::new(&id, "").validate().unwrap_err().field, "username");
        assert_eq!(User::new(&id, "ann").validate(), Ok(()));
    }
}

//! A person or program that logs in.

use kube::core::{ClusterResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::{Named, printable, resource, rule_at};
use crate::{ApiVersion, Column, Condition, Kind, KindName, UserId};

/// Somebody who can log in. Its name is its stable id, `u-xxxxx`.
///
/// The password is not part of the object that is read: it is kept elsewhere, hashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = of_a_user()))]
pub struct User {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `User`.
    pub kind: KindName<User>,
    /// Standard object metadata.
    #[serde(default)]
    #[schemars(with = "Named<UserId>")]
    pub metadata: ObjectMeta,
    /// Name used to log in with a password of the server, of at most 128 characters, none of them a
    /// control character. Unique among users; compared exactly. Empty: the user logs in by a provider
    /// alone. Cannot be changed.
    #[schemars(length(max = 128), extend("x-kubernetes-validations" = [printable()]))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Name shown to people. At most 253 characters, none of them a control character.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [printable()]))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Free text. At most 4096 characters.
    #[schemars(length(max = 4096))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Password to set. Written only; never in an answer. At least 12 characters, at most 1024.
    #[schemars(length(max = Self::MAX_PASSWORD_CHARACTERS))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Whether the user may log in and use tokens. Defaults to true.
    #[serde(default = "enabled_by_default")]
    pub enabled: bool,
    /// Whether the user must change the password before anything else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_change_password: bool,
    /// Identities of the user at the login providers, at most 50: `local://u-xxxxx` for the account of the
    /// server itself, which is always there, and others such as `openldap_user://DN`. No two users have the
    /// same. The server adds those by which somebody logs in; administrators may, and nobody else.
    #[schemars(length(max = 50), inner(length(min = 1, max = 1024)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principal_ids: Vec<String>,
    /// What the server sees of the user. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<UserStatus>,
}

/// What the server sees of a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UserStatus {
    /// `InitialRolesPopulated`: the user has been given the roles of new users.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

fn enabled_by_default() -> bool {
    true
}

impl User {
    /// The label of the first administrator.
    pub const BOOTSTRAPPING_LABEL: &str = "authz.management.cattle.io/bootstrapping";

    /// Fewest characters of a password.
    pub const MIN_PASSWORD_CHARACTERS: usize = 12;
    /// Most characters of a password: hashing takes time in proportion to it.
    pub const MAX_PASSWORD_CHARACTERS: usize = 1024;

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
            principal_ids: vec![id.local_principal()],
            status: None,
        }
    }

    /// Checks a password against the rules for new ones.
    ///
    /// # Errors
    /// Names the rule, never the password.
    pub fn check_new_password(password: &str) -> Result<(), InvalidPassword> {
        match password.chars().count() {
            0..Self::MIN_PASSWORD_CHARACTERS => Err(InvalidPassword::TooShort),
            Self::MIN_PASSWORD_CHARACTERS..=Self::MAX_PASSWORD_CHARACTERS => Ok(()),
            _ => Err(InvalidPassword::TooLong),
        }
    }
}

/// A password cannot be set. The text never holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    /// It is easily found out.
    #[error("must have at least {} characters", User::MIN_PASSWORD_CHARACTERS)]
    TooShort,
    /// It takes long to hash.
    #[error("must have at most {} characters", User::MAX_PASSWORD_CHARACTERS)]
    TooLong,
}

/// The rules of a user.
fn of_a_user() -> Value {
    let name = |of: &str| format!("(has({of}.username) ? {of}.username : '')");
    let same = format!("{} == {}", name("self"), name("oldSelf"));
    let stays = rule_at(".username", &same, "cannot be changed");
    Value::Array(vec![password_rule(), stays])
}

/// The rule of new passwords. It is one of the object, as a refusal shows the value that breaks one of
/// a field.
fn password_rule() -> Value {
    let least = User::MIN_PASSWORD_CHARACTERS;
    json!({
        "rule": format!("!has(self.password) || self.password.size() >= {least}"),
        "message": InvalidPassword::TooShort.to_string(),
        "fieldPath": ".password",
    })
}

resource!(User, ClusterResourceScope);

impl Kind for User {
    const KIND: &'static str = "User";
    const PLURAL: &'static str = "users";
    const SINGULAR: &'static str = "user";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field("Username", "string", ".username", "Name used to log in"),
        Column::field(
            "Display Name",
            "string",
            ".displayName",
            "Name shown to people",
        ),
        Column::field(
            "Enabled",
            "boolean",
            ".enabled",
            "Whether the user may log in",
        ),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        // Who says nothing of them means those that there are.
        if self.principal_ids.is_empty()
            && let Some(stored) = stored
        {
            self.principal_ids.clone_from(&stored.principal_ids);
        }
        self.status = stored.and_then(|stored| stored.status.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_enabled_unless_it_says_otherwise() {
        let text = r#"{"apiVersion":"management.cattle.io/v3","kind":"User","username":"ann"}"#;
        let user: User = serde_json::from_str(text).unwrap();
        assert!(user.enabled);
    }

    #[test]
    fn a_short_password_is_refused_without_repeating_it() {
        let error = User::check_new_password("hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(User::check_new_password("correct horse"), Ok(()));
    }
}

//! To whom a binding gives a role, and what bindings have in common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::{given, printable, rule, settled};
use crate::{Condition, UserId};

/// Who gets a role: exactly one of the fields says it. It cannot be changed: another subject needs another
/// binding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// Id of a user, `u-xxxxx`. The binding goes with the user.
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = [user_id()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_name: String,
    /// Somebody as a login provider knows them, `openldap_user://…`, be it that they have never logged in.
    #[schemars(length(max = 1024), extend("x-kubernetes-validations" = [user_principal(), printable()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_principal_name: String,
    /// A group, organisation or team as a login provider knows it, `openldap_group://…`.
    #[schemars(length(max = 1024), extend("x-kubernetes-validations" = [group_principal(), printable()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_principal_name: String,
}

const FIELDS: [&str; 3] = ["userName", "userPrincipalName", "groupPrincipalName"];

/// Who gets a role, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// The user of that id.
    User(&'a str),
    /// The user whom a login provider knows by that name.
    Principal(&'a str),
    /// All of that group.
    Group(&'a str),
}

impl Subject {
    /// The user of that id.
    #[must_use]
    pub fn user(id: &str) -> Self {
        Self {
            user_name: id.to_owned(),
            ..Self::default()
        }
    }

    /// Who it is; `None` if nobody is named. The principal of a local account is its user.
    #[must_use]
    pub fn who(&self) -> Option<Who<'_>> {
        let local = self.user_principal_name.strip_prefix(UserId::LOCAL);
        match (self.user_name.as_str(), local) {
            ("", Some(id)) => Some(Who::User(id)),
            ("", None) if !self.user_principal_name.is_empty() => {
                Some(Who::Principal(&self.user_principal_name))
            }
            ("", None) if self.group_principal_name.is_empty() => None,
            ("", None) => Some(Who::Group(&self.group_principal_name)),
            (id, _) => Some(Who::User(id)),
        }
    }

    /// The user, for the column of that name.
    pub(crate) fn user_column(&self) -> Value {
        match self.who() {
            Some(Who::User(name) | Who::Principal(name)) => json!(name),
            _ => Value::Null,
        }
    }
}

/// How far a binding has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BindingStatus {
    /// One word for all: `Completed`, `InProgress` or `Error`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The same for the management API alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary_local: String,
    /// The same for the connected cluster alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary_remote: String,
    /// What was seen of it in the connected cluster.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_conditions: Vec<Condition>,
}

/// How far something has come that is only in the management API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleStatus {
    /// One word for all: `Completed`, `InProgress` or `Error`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// What was seen of it, one of each type.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The rules of an object with a subject, and with more texts that stay.
pub(crate) fn of_a_binding(others: &[&str]) -> Value {
    let named = FIELDS.map(given).join(", ");
    let one = rule(
        &format!("[{named}].exists_one(named, named)"),
        "must name exactly one of userName, userPrincipalName and groupPrincipalName",
    );
    let stays = FIELDS.iter().chain(others).map(|field| settled(field));
    std::iter::once(one).chain(stays).collect()
}

/// The rule of fields that Rancher has and that are not taken here.
pub(crate) fn refused(why: &str) -> Value {
    rule("self == ''", why)
}

fn user_id() -> Value {
    let expression = "self == '' || self.matches('^u-[-a-z0-9]*[a-z0-9]$')";
    rule(
        expression,
        "must be the id of a user, which begins with 'u-'",
    )
}

fn user_principal() -> Value {
    let expression = "self == '' || self.matches('^[a-z0-9]+(_user)?://.+')";
    rule(
        expression,
        "must be the principal of a user, such as openldap_user://NAME",
    )
}

fn group_principal() -> Value {
    let expression = "self == '' || self.matches('^[a-z0-9]+_(group|org|team)://.+')";
    rule(
        expression,
        "must be the principal of a group, such as openldap_group://NAME",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_principal_is_its_user() {
        let principal = |name: &str| Subject {
            user_principal_name: name.to_owned(),
            ..Subject::default()
        };
        assert_eq!(Subject::default().who(), None);
        assert_eq!(Subject::user("u-1").who(), Some(Who::User("u-1")));
        assert_eq!(principal("local://u-1").who(), Some(Who::User("u-1")));
        let elsewhere = "openldap_user://uid=ann,dc=example";
        assert_eq!(principal(elsewhere).who(), Some(Who::Principal(elsewhere)));
        let group = Subject {
            group_principal_name: "github_org://5".to_owned(),
            ..Subject::default()
        };
        assert_eq!(group.who(), Some(Who::Group("github_org://5")));
        assert_eq!(group.user_column(), Value::Null);
    }
}

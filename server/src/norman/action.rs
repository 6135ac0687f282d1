//! What can be done with objects and collections besides reading and writing them.

use super::caller::Caller;
use super::field::{Field, Fields};
use super::users;

/// An action.
#[derive(Debug)]
pub(super) struct Action {
    /// Its name in URLs.
    pub(super) name: &'static str,
    /// The type of what is sent.
    pub(super) input: Option<Structure>,
    /// The type of the answer.
    pub(super) output: Option<Structure>,
    /// Whether it is offered to somebody with the object of that namespace and name; both are empty for a collection.
    pub(super) is_offered: fn(&Caller, &str, &str) -> bool,
}

/// The id of a type, and its fields; none if they are described elsewhere.
pub(super) type Structure = (&'static str, fn() -> Fields);

const OF_CLUSTERS: [Action; 1] = [Action {
    name: "generateKubeconfig",
    input: Some(("generateKubeconfigInput", || {
        fields(&[
            ("readOnly", "boolean"),
            ("serverName", "boolean"),
            ("ttl", "int"),
        ])
    })),
    output: Some(("generateKubeconfigOutput", || {
        fields(&[("config", "string")])
    })),
    is_offered: |_, _, _| true,
}];

const OF_USERS: [Action; 2] = [
    Action {
        name: "setpassword",
        input: Some(("setPasswordInput", || {
            fields(&[("newPassword", "password")])
        })),
        output: Some(("user", Fields::new)),
        is_offered: |caller, _, name| caller.is_allowed("patch", "users", "", name),
    },
    REFRESH,
];

/// Has the login providers asked again about a user, or about all.
const REFRESH: Action = Action {
    name: "refreshauthprovideraccess",
    input: None,
    output: None,
    is_offered: |caller, _, _| users::may_refresh(&caller.who).is_ok(),
};

const OF_NAMESPACES: [Action; 1] = [Action {
    name: "move",
    input: Some(("namespaceMove", || {
        fields(&[("projectId", "reference[project]")])
    })),
    output: None,
    is_offered: |_, _, _| true,
}];

const OF_ALL_TOKENS: [Action; 2] = [
    Action {
        name: "logout",
        input: None,
        output: None,
        is_offered: |_, _, _| true,
    },
    Action {
        name: "logoutAll",
        input: None,
        output: Some(("authConfigLogoutOutput", || {
            fields(&[("idpRedirectUrl", "string")])
        })),
        is_offered: |_, _, _| true,
    },
];

const OF_ALL_USERS: [Action; 2] = [
    Action {
        name: "changepassword",
        input: Some(("changePasswordInput", || {
            fields(&[("currentPassword", "password"), ("newPassword", "password")])
        })),
        output: None,
        is_offered: |_, _, _| true,
    },
    REFRESH,
];

/// The actions of objects of a type.
pub(super) fn of_objects(id: &str) -> &'static [Action] {
    match id {
        "cluster" => &OF_CLUSTERS,
        "user" => &OF_USERS,
        "namespace" => &OF_NAMESPACES,
        _ => &[],
    }
}

/// The actions of its collection.
pub(super) fn of_collections(id: &str) -> &'static [Action] {
    match id {
        "token" => &OF_ALL_TOKENS,
        "user" => &OF_ALL_USERS,
        _ => &[],
    }
}

/// Fields that are sent or shown as they are.
pub(super) fn fields(fields: &[(&str, &str)]) -> Fields {
    let fields = fields.iter().map(|(name, kind)| {
        let field = Field {
            write_only: *kind == "password",
            ..Field::written(kind, &[], "")
        };
        ((*name).to_owned(), field)
    });
    fields.collect()
}

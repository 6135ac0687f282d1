//! What schemas, operations and their groups are called.

use crate::registry::Resource;

/// For example `patchExampleOrgV1NamespacedWidgetStatus`.
pub(super) fn operation(verb: &str, resource: &Resource, version: &str, rest: &str) -> String {
    let group = camel(group_name(&resource.group));
    format!("{verb}{group}{}{rest}", camel(version))
}

/// For example `exampleOrg_v1`.
pub(super) fn tag(group: &str, version: &str) -> String {
    let mut tag = camel(group_name(group));
    if let Some(first) = tag.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    format!("{tag}_{version}")
}

fn group_name(group: &str) -> &str {
    match group {
        "" => "core",
        group => group.strip_suffix(".k8s.io").unwrap_or(group),
    }
}

/// A text's words together, each with a capital letter first.
pub(super) fn camel(text: &str) -> String {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    let capital = |word: &str| {
        let mut word = word.to_owned();
        if let Some(first) = word.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        word
    };
    words.map(capital).collect()
}

/// The path of the documents and of the resources of a version: `api/v1`, `apis/example.org/v1`.
pub(super) fn root(group: &str, version: &str) -> String {
    match group {
        "" => format!("api/{version}"),
        group => format!("apis/{group}/{version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_become_words() {
        assert_eq!(camel("rbac.authorization"), "RbacAuthorization");
        assert_eq!(
            tag("rbac.authorization.k8s.io", "v1"),
            "rbacAuthorization_v1"
        );
        assert_eq!(tag("", "v1"), "core_v1");
        assert_eq!(root("", "v1"), "api/v1");
    }
}

//! Names, labels and annotations of what is made in clusters: those that Rancher's users know.

use sha2::{Digest as _, Sha256};

use crate::authz::Holder;

/// On all that is made here, and on nothing else: only what has it is changed or deleted.
pub(super) const MANAGED: &str = "authz.lariat.internal/managed";

/// Label of bindings: namespace and name of the one in the management API.
pub(super) const OWNER: &str = "authz.cluster.cattle.io/rtb-owner-updated";

/// Annotation of ClusterRoles: the RoleTemplate.
pub(super) const TEMPLATE: &str = "authz.cluster.cattle.io/clusterrole-owner";

/// Label of ResourceQuotas that split the quota of a project.
pub(super) const QUOTA: &str = "resourcequota.management.cattle.io/default-resource-quota";

/// Annotation of namespaces: the quota that one asks for itself.
pub(super) const ASKED: &str = "field.cattle.io/resourceQuota";

/// Annotation of namespaces: why one does not get the quota that it asks for.
pub(super) const REFUSED: &str = "field.cattle.io/resourceQuotaRefused";

/// The ClusterRole, and the binding of it, that let the agent ask in the name of groups of login providers.
pub(super) const GROUPS: &str = "cattle-cluster-agent-groups";

/// The admission policy of the import manifest, and its binding, that check in which project namespaces are.
pub(super) const POLICY: &str = "lariat-projects";

/// The agent's account, as the import manifest makes it: namespace and name.
pub(super) const AGENT: (&str, &str) = ("cattle-system", "cattle");

/// Longest value of a label.
const MAX_LABEL: usize = 63;

/// Name of the ClusterRoleBinding that gives somebody a role.
pub(super) fn cluster_binding(role: &str, holder: &Holder) -> String {
    format!("crb-{}", short(&["", role, kind(holder), name(holder)]))
}

/// Name of the RoleBinding that gives somebody a role in a namespace.
pub(super) fn binding(namespace: &str, role: &str, holder: &Holder) -> String {
    let parts = [namespace, role, kind(holder), name(holder)];
    format!("rb-{}", short(&parts))
}

/// Name of the ClusterRoleBinding of an administrator of the server.
pub(super) fn administrator(holder: &Holder) -> String {
    match holder {
        Holder::User(id) => format!("globaladmin-{id}"),
        Holder::Group(name) => format!("globaladmin-{}", short(&["Group", name])),
    }
}

/// Name of the ClusterRole with what of a role for projects is outside of namespaces.
pub(super) fn promoted(role: &str) -> String {
    format!("{role}-promoted")
}

/// Name of the ClusterRole of those who make namespaces in a project.
pub(super) fn edits(project: &str) -> String {
    format!("{project}-namespaces-edit")
}

/// The value of [`OWNER`]: shortened, and made distinct by a hash, if it is too long for a label.
pub(super) fn owner(namespace: &str, name: &str) -> String {
    let whole = match namespace {
        "" => name.to_owned(),
        namespace => format!("{namespace}_{name}"),
    };
    if whole.len() <= MAX_LABEL {
        return whole;
    }
    let hash = hex::encode(&digest(&[&whole])[..3]);
    let kept = whole.get(..MAX_LABEL - 7).unwrap_or_default();
    format!("{}-{hash}", kept.trim_end_matches(['-', '_', '.']))
}

/// What RBAC calls the one who holds a right.
pub(super) fn kind(holder: &Holder) -> &'static str {
    match holder {
        Holder::User(_) => "User",
        Holder::Group(_) => "Group",
    }
}

/// The name under which a cluster knows the one who holds a right.
pub(super) fn name(holder: &Holder) -> &str {
    match holder {
        Holder::User(name) | Holder::Group(name) => name,
    }
}

/// Ten characters of base 32.
fn short(parts: &[&str]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = digest(parts);
    let bits = digest.iter().take(8);
    let bits = bits.fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let letter = |place: u32| ALPHABET[(bits >> (59 - 5 * place)) as usize % 32];
    (0..10).map(|place| char::from(letter(place))).collect()
}

fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        // No two lists of parts read the same.
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_apart_what_differs_and_are_short() {
        let user = |id: &str| Holder::User(id.to_owned());
        let group = Holder::Group("u-1".to_owned());
        let names = [
            cluster_binding("edit", &user("u-1")),
            cluster_binding("edit", &user("u-2")),
            cluster_binding("edit", &group),
            cluster_binding("view", &user("u-1")),
            cluster_binding("editUser", &user("-1")),
            binding("a", "edit", &user("u-1")),
            binding("b", "edit", &user("u-1")),
        ];
        for name in &names {
            let hash = name.split_once('-').unwrap().1;
            assert_eq!(hash.len(), 10, "{name}");
        }
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert_eq!(administrator(&user("u-1")), "globaladmin-u-1");
    }

    #[test]
    fn the_owner_of_a_binding_fits_a_label() {
        assert_eq!(owner("c-1", "crtb-2"), "c-1_crtb-2");
        assert_eq!(owner("", "grb-2"), "grb-2");
        let (long, other) = ("x".repeat(200), format!("{}y", "x".repeat(200)));
        let (long, other) = (owner("c-1", &long), owner("c-1", &other));
        assert_ne!(long, other);
        for label in [long, other] {
            assert!(
                label.len() <= MAX_LABEL && label.starts_with("c-1_xxx"),
                "{label}"
            );
        }
        let edge = owner("c-1", &format!("{}{}", "x".repeat(51), "-".repeat(60)));
        assert!(edge.as_bytes()[edge.len() - 8] != b'-', "{edge}");
    }
}

//! What an object says of its owners and of its deletion.

use serde::Deserialize;

/// Waits until its dependents are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// Lets its dependents go.
pub(super) const ORPHAN: &str = "orphan";

/// A uid. Those that are no UUID belong to nobody here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Uid(pub(super) u128);

/// What of an object matters here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    uid: String,
    deletion_timestamp: Option<String>,
    finalizers: Vec<String>,
    pub(super) owner_references: Vec<OwnerReference>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct OwnerReference {
    pub(super) uid: String,
    pub(super) block_owner_deletion: bool,
}

#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    metadata: Meta,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Deletion {
    /// It is not being deleted.
    #[default]
    No,
    /// It waits for somebody else's finalizers.
    Begun,
    /// It waits until its dependents are gone.
    Foreground,
    /// It waits until its dependents are let go.
    Orphaning,
}

impl Uid {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let hex: String = text.chars().filter(|character| *character != '-').collect();
        let number = (hex.len() == 32).then(|| u128::from_str_radix(&hex, 16).ok())?;
        number.map(Self)
    }
}

impl Meta {
    /// Of an entry of the store.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let described: Described = serde_json::from_slice(value).ok()?;
        Some(described.metadata)
    }

    pub(super) fn uid(&self) -> Option<Uid> {
        Uid::parse(&self.uid)
    }

    pub(super) fn deletion(&self) -> Deletion {
        let has = |name: &str| self.finalizers.iter().any(|finalizer| finalizer == name);
        match self.deletion_timestamp {
            None => Deletion::No,
            Some(_) if has(ORPHAN) => Deletion::Orphaning,
            Some(_) if has(FOREGROUND) => Deletion::Foreground,
            Some(_) => Deletion::Begun,
        }
    }
}

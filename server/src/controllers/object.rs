//! Objects that are kept in clusters, and what of them counts.

use std::collections::BTreeMap;

use kube::api::Api;
use kube::core::ObjectMeta;
use lariat_api::Amount;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// What is remembered of an object: as much as to see whether it is as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) uid: String,
    pub(super) print: Print,
    /// Of a quota, the most of each resource.
    pub(super) most: BTreeMap<String, Amount>,
    /// Of a quota, the project of which it is a part.
    pub(super) project: String,
}

/// A fingerprint of what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    /// Of what cannot be changed: another object has to take its place.
    pub(super) fixed: [u8; 16],
    pub(super) rest: [u8; 16],
}

/// A kind that is kept.
pub(super) trait Kept:
    kube::Resource<DynamicType = ()>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Its name, for people.
    const KIND: &'static str;

    /// The label of those that may be changed and deleted here.
    const LABEL: &'static str;

    fn print(&self) -> Print;

    /// Where an object is read and written.
    fn api(client: &kube::Client, namespace: &str) -> Api<Self>;

    /// Where all of them are listed.
    fn everywhere(client: &kube::Client) -> Api<Self> {
        Api::all(client.clone())
    }

    /// Whether an object is one of those that may be changed and deleted here.
    fn is_ours(meta: &ObjectMeta) -> bool {
        let labels = meta.labels.as_ref();
        labels.is_some_and(|labels| labels.contains_key(Self::LABEL))
    }

    /// What is remembered of an object that a cluster told of. Nothing of one that is not ours.
    fn seen(&self) -> Option<Seen> {
        let meta = self.meta();
        if !Self::is_ours(meta) {
            return None;
        }
        Some(Seen {
            uid: meta.uid.clone().unwrap_or_default(),
            print: self.print(),
            most: self.most(),
            project: self.project().to_owned(),
        })
    }

    /// What a quota allows.
    fn most(&self) -> BTreeMap<String, Amount> {
        BTreeMap::new()
    }

    /// The project of which a quota is a part.
    fn project(&self) -> &str {
        ""
    }
}

impl Print {
    /// Of what cannot be changed, and of the rest.
    pub(super) fn of(fixed: &impl Serialize, rest: &impl Serialize) -> Self {
        Self {
            fixed: digest(fixed),
            rest: digest(rest),
        }
    }
}

fn digest(value: &impl Serialize) -> [u8; 16] {
    // What Kubernetes' types are written as has no keys but texts, which cannot fail.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let whole: [u8; 32] = Sha256::digest(text).into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

//! In which project each namespace of a cluster is. The annotation says it; what it must not say is put
//! right, and what it leaves open is decided.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use lariat_api::Project;
use serde_json::{Value, json};

use super::apply::{Failure, Report};
use super::mirror::{Key, Mirror};
use super::names;
use crate::authz::{InCluster, Purpose};
use crate::controllers::client::MANAGER;

/// A namespace, as far as projects are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Space {
    uid: String,
    /// What the annotation says. Empty: nothing.
    named: String,
    /// What the label says, by which others select the namespaces of a project.
    label: String,
    /// When it was made, in seconds since 1970.
    pub(super) made: i64,
    /// The quota that it asks for itself.
    pub(super) quota: String,
    /// What it has been told of that.
    told: String,
}

impl Space {
    /// What counts of a namespace; nothing of one that is going, as nothing can be made in it.
    pub(super) fn read(namespace: &PartialObjectMeta<Namespace>) -> Option<Self> {
        let meta = &namespace.metadata;
        if meta.deletion_timestamp.is_some() {
            return None;
        }
        let text = |texts: &Option<BTreeMap<String, String>>, name: &str| {
            let found = texts.as_ref().and_then(|texts| texts.get(name));
            found.cloned().unwrap_or_default()
        };
        Some(Self {
            uid: meta.uid.clone().unwrap_or_default(),
            named: text(&meta.annotations, Project::ID_ANNOTATION),
            label: text(&meta.labels, Project::ID_ANNOTATION),
            made: meta
                .creation_timestamp
                .as_ref()
                .map_or(0, |at| at.0.as_second()),
            quota: text(&meta.annotations, names::ASKED),
            told: text(&meta.annotations, names::REFUSED),
        })
    }

    /// The project in a cluster that the annotation names.
    pub(super) fn project(&self, cluster: &str) -> Option<&str> {
        let (of, project) = self.named.split_once(':')?;
        (of == cluster).then_some(project)
    }
}

/// The namespaces of each project, in order.
pub(super) fn by_project(spaces: &Mirror<Space>, cluster: &str) -> BTreeMap<String, Vec<String>> {
    let mut projects: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, space) in spaces.iter() {
        if let Some(project) = space.project(cluster) {
            let namespaces = projects.entry(project.to_owned()).or_default();
            namespaces.push(key.name.clone());
        }
    }
    projects
        .values_mut()
        .for_each(|names| names.sort_unstable());
    projects
}

/// A namespace that has to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Move {
    name: String,
    to: Space,
}

/// The namespaces that are not as they shall be, in a cluster with these projects.
///
/// One without a project gets that for what the cluster itself needs if it is one of `system`, and the
/// namespace `default` that which is for the rest; others stay without. Where a project is named that is not
/// there any more, none is. A project of another cluster is left alone: that may be connected again.
pub(super) fn moves(
    spaces: &Mirror<Space>,
    cluster: &str,
    projects: &BTreeMap<String, InCluster>,
    system: &BTreeSet<&str>,
) -> Vec<Move> {
    let of = |purpose| {
        let mut found = projects
            .iter()
            .filter(move |(_, one)| one.purpose == purpose);
        found.next().map(|(project, _)| project.as_str())
    };
    let mut moves = Vec::new();
    for (key, space) in spaces.iter() {
        let given = if system.contains(key.name.as_str()) {
            of(Purpose::System)
        } else if key.name == "default" {
            of(Purpose::Default)
        } else {
            None
        };
        let own = space.project(cluster);
        let there = own.filter(|project| projects.contains_key(*project));
        let to = match (there.or(given), own) {
            (Some(project), _) => Space {
                named: format!("{cluster}:{project}"),
                label: project.to_owned(),
                ..space.clone()
            },
            (None, None) if !space.named.is_empty() => Space {
                label: Some(&space.label)
                    .filter(|label| !projects.contains_key(*label))
                    .cloned()
                    .unwrap_or_default(),
                ..space.clone()
            },
            (None, _) => Space {
                named: String::new(),
                label: String::new(),
                ..space.clone()
            },
        };
        if to != *space {
            let name = key.name.clone();
            moves.push(Move { name, to });
        }
    }
    moves
}

/// Writes namespaces.
pub(super) async fn carry_out(
    moves: Vec<Move>,
    client: &kube::Client,
    spaces: &mut Mirror<Space>,
    report: &mut Report,
) {
    for Move { name, to } in moves {
        let mut metadata = json!({
            "uid": to.uid,
            "labels": {Project::ID_ANNOTATION: some(&to.label)},
        });
        let known = spaces.get(&Key::whole(&name));
        // Somebody may have moved it since: what is right already is not written again.
        if known.is_none_or(|known| known.named != to.named) {
            metadata["annotations"] = json!({Project::ID_ANNOTATION: some(&to.named)});
        }
        write(&name, &metadata, to, client, spaces, report).await;
    }
}

/// Tells namespaces, by name, why they do not get the quota that they ask for. Empty: nothing is wrong.
pub(super) async fn tell(
    told: BTreeMap<String, String>,
    client: &kube::Client,
    spaces: &mut Mirror<Space>,
    report: &mut Report,
) {
    for (name, told) in told {
        let known = spaces.get(&Key::whole(&name));
        let Some(space) = known.filter(|space| space.told != told) else {
            continue;
        };
        let annotations = json!({names::REFUSED: some(&told)});
        let metadata = json!({"uid": space.uid, "annotations": annotations});
        let to = Space {
            told,
            ..space.clone()
        };
        write(&name, &metadata, to, client, spaces, report).await;
    }
}

/// What is empty is taken away.
fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

async fn write(
    name: &str,
    metadata: &Value,
    to: Space,
    client: &kube::Client,
    spaces: &mut Mirror<Space>,
    report: &mut Report,
) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"metadata": metadata}));
    match namespaces.patch_metadata(name, &params, &patch).await {
        Ok(_) => {
            report.changes += 1;
            if let Err(error) = spaces.put(Key::whole(name), to) {
                report.failures.push(error.into());
            }
        }
        // Another one of that name, or none: the watch will tell.
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
        Err(error) => {
            let what = format!("Namespace {name}");
            report.failures.push(Failure::new(what, &error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(named: &str, label: &str) -> Space {
        Space {
            uid: "1".to_owned(),
            named: named.to_owned(),
            label: label.to_owned(),
            made: 0,
            quota: String::new(),
            told: String::new(),
        }
    }

    fn moved(name: &str, from: Space) -> Option<Space> {
        let mut spaces = Mirror::default();
        spaces.put(Key::whole(name), from).unwrap();
        let projects = [
            ("p-default", Purpose::Default),
            ("p-shop", Purpose::Other),
            ("p-system", Purpose::System),
        ];
        let projects = projects.map(|(name, purpose)| (name.to_owned(), InCluster::of(purpose)));
        let (projects, system) = (projects.into(), ["kube-system"].into());
        let mut moves = moves(&spaces, "c-1", &projects, &system);
        moves.pop().map(|moved| moved.to)
    }

    #[test]
    fn what_is_nobodys_is_the_systems_the_default_ones_or_nobodys() {
        let none = || space("", "");
        let system = space("c-1:p-system", "p-system");
        assert_eq!(moved("kube-system", none()), Some(system));
        let default = space("c-1:p-default", "p-default");
        assert_eq!(moved("default", none()), Some(default));
        assert_eq!(moved("other", none()), None);
    }

    #[test]
    fn a_namespace_stays_in_the_project_that_it_names_and_is_labelled_so() {
        let shop = || space("c-1:p-shop", "p-shop");
        for name in ["kube-system", "default", "other"] {
            assert_eq!(moved(name, shop()), None);
            for label in ["", "p-system"] {
                assert_eq!(moved(name, space("c-1:p-shop", label)), Some(shop()));
            }
        }
    }

    #[test]
    fn a_project_that_is_gone_is_not_named_any_more() {
        let gone = || space("c-1:p-gone", "p-gone");
        assert_eq!(moved("other", gone()), Some(space("", "")));
        let default = space("c-1:p-default", "p-default");
        assert_eq!(moved("default", gone()), Some(default));
        assert_eq!(moved("other", space("", "p-shop")), Some(space("", "")));
    }

    #[test]
    fn projects_of_other_clusters_are_left_alone() {
        let elsewhere = || space("c-2:p-far", "p-far");
        assert_eq!(moved("other", elsewhere()), None);
        // Who selects the namespaces of a project finds none of another cluster's.
        let forged = space("c-2:p-far", "p-shop");
        assert_eq!(moved("other", forged), Some(space("c-2:p-far", "")));
        let system = space("c-1:p-system", "p-system");
        assert_eq!(moved("kube-system", elsewhere()), Some(system));
    }
}

//! Which object owns which, and what follows from it.

use super::meta::{Deletion, FOREGROUND, Meta, ORPHAN, Uid};
use std::collections::{HashMap, HashSet};

/// All objects, by what they own and who owns them.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, HashSet<Uid>>,
}

#[derive(Debug, Default)]
struct Node {
    /// In the store; empty where nothing is ever done to it.
    key: Box<str>,
    owners: Box<[Owner]>,
    deletion: Deletion,
}

#[derive(Debug)]
struct Owner {
    uid: Option<Uid>,
    text: Box<str>,
    /// Whether the owner's deletion in the foreground waits for this.
    blocks: bool,
}

/// What is to be done about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// Its owners are gone. `foreground`: its own dependents first.
    Delete {
        key: String,
        foreground: bool,
    },
    /// Some of its owners are gone.
    Disown {
        key: String,
        owners: Vec<String>,
    },
    /// Its dependents are to be deleted first.
    DeleteDependents {
        keys: Vec<String>,
    },
    /// Its dependents are to be let go first.
    Orphan {
        owner: String,
        keys: Vec<String>,
    },
    /// Nothing keeps it any more but this finalizer.
    LetGo {
        key: String,
        finalizer: &'static str,
    },
}

impl Graph {
    /// An object is there, or has changed. Returns whom to look at.
    pub(super) fn put(&mut self, key: &str, meta: &Meta) -> Vec<Uid> {
        let Some(uid) = meta.uid() else {
            return Vec::new();
        };
        let mut look = self.unlink(uid);
        let deletion = meta.deletion();
        let owners: Box<[Owner]> = meta
            .owner_references
            .iter()
            .map(|reference| Owner {
                uid: Uid::parse(&reference.uid),
                text: reference.uid.as_str().into(),
                blocks: reference.block_owner_deletion,
            })
            .collect();
        for owner in owners.iter().filter_map(|owner| owner.uid) {
            self.dependents.entry(owner).or_default().insert(uid);
            look.push(owner);
        }
        let before = self
            .nodes
            .get(&uid)
            .map_or(Deletion::No, |node| node.deletion);
        if deletion != before {
            look.extend(self.dependents_of(uid));
        }
        let matters = !owners.is_empty() || deletion != Deletion::No;
        let key = if matters { key } else { "" };
        let key = key.into();
        self.nodes.insert(
            uid,
            Node {
                key,
                owners,
                deletion,
            },
        );
        if matters {
            look.push(uid);
        }
        look
    }

    /// An object is gone. Returns whom to look at.
    pub(super) fn remove(&mut self, meta: &Meta) -> Vec<Uid> {
        let Some(uid) = meta.uid() else {
            return Vec::new();
        };
        let mut look = self.unlink(uid);
        self.nodes.remove(&uid);
        look.extend(self.dependents_of(uid));
        look
    }

    /// Takes an object from its owners. Returns those.
    fn unlink(&mut self, uid: Uid) -> Vec<Uid> {
        let owners = self.nodes.get(&uid).map(|node| &node.owners);
        let owners = owners.into_iter().flatten().filter_map(|owner| owner.uid);
        let owners: Vec<_> = owners.collect();
        for owner in &owners {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(&uid);
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
        owners
    }

    fn dependents_of(&self, uid: Uid) -> impl Iterator<Item = Uid> {
        self.dependents.get(&uid).into_iter().flatten().copied()
    }

    /// What is to be done about an object.
    pub(super) fn verdict(&self, uid: Uid) -> Verdict {
        let Some(node) = self.nodes.get(&uid) else {
            return Verdict::Keep;
        };
        match node.deletion {
            Deletion::Begun => Verdict::Keep,
            Deletion::Orphaning => self.orphan(uid, node),
            Deletion::Foreground => self.foreground(uid, node),
            Deletion::No => self.owned(uid, node),
        }
    }

    fn orphan(&self, uid: Uid, node: &Node) -> Verdict {
        let mut owner = String::new();
        let mut keys = Vec::new();
        for dependent in self
            .dependents_of(uid)
            .filter_map(|uid| self.nodes.get(&uid))
        {
            let reference = dependent.owners.iter().find(|owner| owner.uid == Some(uid));
            owner = reference.map_or_else(String::new, |owner| owner.text.to_string());
            keys.push(dependent.key.to_string());
        }
        if keys.is_empty() {
            return node.let_go(ORPHAN);
        }
        Verdict::Orphan { owner, keys }
    }

    fn foreground(&self, uid: Uid, node: &Node) -> Verdict {
        let dependents = self
            .dependents_of(uid)
            .filter_map(|uid| self.nodes.get(&uid));
        let (mut blocked, mut keys) = (false, Vec::new());
        for dependent in dependents {
            let mut owners = dependent.owners.iter();
            blocked |= owners.any(|owner| owner.uid == Some(uid) && owner.blocks);
            if dependent.deletion == Deletion::No {
                keys.push(dependent.key.to_string());
            }
        }
        match (blocked, keys.is_empty()) {
            (false, _) => node.let_go(FOREGROUND),
            (true, true) => Verdict::Keep,
            (true, false) => Verdict::DeleteDependents { keys },
        }
    }

    fn owned(&self, uid: Uid, node: &Node) -> Verdict {
        if node.owners.is_empty() {
            return Verdict::Keep;
        }
        let owner_node = |owner: &Owner| self.nodes.get(&owner.uid?);
        let is_solid = |owner: &&Owner| {
            owner_node(owner).is_some_and(|owner| owner.deletion != Deletion::Foreground)
        };
        let key = node.key.to_string();
        let solid = node.owners.iter().filter(is_solid).count();
        if solid == node.owners.len() {
            return Verdict::Keep;
        }
        if solid > 0 {
            let gone = node.owners.iter().filter(|owner| !is_solid(owner));
            let owners = gone.map(|owner| owner.text.to_string()).collect();
            return Verdict::Disown { key, owners };
        }
        let waited_for = node.owners.iter().any(|owner| owner_node(owner).is_some());
        let foreground = waited_for && self.dependents_of(uid).next().is_some();
        Verdict::Delete { key, foreground }
    }
}

impl Node {
    fn let_go(&self, finalizer: &'static str) -> Verdict {
        let key = self.key.to_string();
        Verdict::LetGo { key, finalizer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn uid(number: u8) -> String {
        format!("00000000-0000-4000-8000-0000000000{number:02x}")
    }

    fn object(number: u8, owners: &[u8], deleting: Option<&str>) -> Meta {
        let owners = owners
            .iter()
            .map(|owner| json!({"uid": uid(*owner), "blockOwnerDeletion": true}));
        let mut meta = json!({
            "uid": uid(number), "ownerReferences": owners.collect::<Vec<_>>(),
            "finalizers": deleting.into_iter().collect::<Vec<_>>(),
        });
        if deleting.is_some() {
            meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Meta::read(json!({"metadata": meta}).to_string().as_bytes()).unwrap()
    }

    fn verdict(graph: &Graph, number: u8) -> Verdict {
        graph.verdict(Uid::parse(&uid(number)).unwrap())
    }

    #[test]
    fn an_object_goes_with_the_last_of_its_owners() {
        let mut graph = Graph::default();
        graph.put("a", &object(1, &[], None));
        graph.put("b", &object(2, &[], None));
        graph.put("c", &object(3, &[1, 2], None));
        assert_eq!(verdict(&graph, 3), Verdict::Keep);
        let look = graph.remove(&object(1, &[], None));
        assert_eq!(look, [Uid::parse(&uid(3)).unwrap()]);
        let owners = vec![uid(1)];
        assert_eq!(
            verdict(&graph, 3),
            Verdict::Disown {
                key: "c".into(),
                owners
            }
        );
        graph.remove(&object(2, &[], None));
        let foreground = false;
        assert_eq!(
            verdict(&graph, 3),
            Verdict::Delete {
                key: "c".into(),
                foreground
            }
        );
        graph.remove(&object(3, &[1, 2], None));
        assert!(graph.nodes.is_empty() && graph.dependents.is_empty());
    }

    #[test]
    fn an_owner_that_never_was_is_gone() {
        let mut graph = Graph::default();
        let mut meta = object(1, &[9], None);
        meta.owner_references[0].uid = "made-up".into();
        graph.put("a", &meta);
        assert!(matches!(verdict(&graph, 1), Verdict::Delete { .. }));
    }

    #[test]
    fn deletion_in_the_foreground_goes_from_the_leaves() {
        let mut graph = Graph::default();
        graph.put("a", &object(1, &[], Some(FOREGROUND)));
        graph.put("b", &object(2, &[1], None));
        graph.put("c", &object(3, &[2], None));
        let keys = vec!["b".to_owned()];
        assert_eq!(verdict(&graph, 1), Verdict::DeleteDependents { keys });
        let foreground = true;
        assert_eq!(
            verdict(&graph, 2),
            Verdict::Delete {
                key: "b".into(),
                foreground
            }
        );
        let look = graph.put("b", &object(2, &[1], Some(FOREGROUND)));
        assert!(look.contains(&Uid::parse(&uid(3)).unwrap()));
        assert_eq!(verdict(&graph, 1), Verdict::Keep);
        graph.remove(&object(3, &[2], None));
        let finalizer = FOREGROUND;
        assert_eq!(
            verdict(&graph, 2),
            Verdict::LetGo {
                key: "b".into(),
                finalizer
            }
        );
        graph.remove(&object(2, &[1], None));
        assert_eq!(
            verdict(&graph, 1),
            Verdict::LetGo {
                key: "a".into(),
                finalizer
            }
        );
    }

    #[test]
    fn orphans_are_let_go_first() {
        let mut graph = Graph::default();
        graph.put("a", &object(1, &[], Some(ORPHAN)));
        graph.put("b", &object(2, &[1], None));
        let (owner, keys) = (uid(1), vec!["b".to_owned()]);
        assert_eq!(verdict(&graph, 1), Verdict::Orphan { owner, keys });
        graph.put("b", &object(2, &[], None));
        let finalizer = ORPHAN;
        assert_eq!(
            verdict(&graph, 1),
            Verdict::LetGo {
                key: "a".into(),
                finalizer
            }
        );
    }
}

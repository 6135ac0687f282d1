//! Sets of fields: what a manager owns of an object.

use std::collections::BTreeMap;

use super::path::{Path, PathElement};

/// A set of paths to fields.
///
/// A path may be in the set without those below it, and the other way round. The empty path, which
/// is the object itself, is in no set: nobody owns all of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    nodes: BTreeMap<PathElement, Node>,
}

/// What a set says of one value: whether it is a member, and which fields below it are.
///
/// In a set there is no node that says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) is_member: bool,
    pub(super) below: FieldSet,
}

impl Node {
    pub(super) fn member() -> Self {
        Self {
            is_member: true,
            below: FieldSet::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.is_member && self.below.is_empty()
    }
}

impl FieldSet {
    /// Whether no path is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many paths are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        let count = |node: &Node| usize::from(node.is_member) + node.below.len();
        self.nodes.values().map(count).sum()
    }

    /// Puts a path into the set, alone: neither those above nor those below it.
    pub fn insert(&mut self, path: Path) {
        let mut elements = path.0.into_iter();
        let Some(first) = elements.next() else { return };
        let mut node = self.nodes.entry(first).or_default();
        for element in elements {
            node = node.below.nodes.entry(element).or_default();
        }
        node.is_member = true;
    }

    /// Whether this very path is in the set.
    #[must_use]
    pub fn contains(&self, path: &Path) -> bool {
        let Some((first, rest)) = path.0.split_first() else {
            return false;
        };
        let node = rest
            .iter()
            .try_fold(self.nodes.get(first), |node, element| {
                Some(node?.below.nodes.get(element))
            });
        node.flatten().is_some_and(|node| node.is_member)
    }

    /// The paths in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.extend(other);
        union
    }

    fn extend(&mut self, other: &Self) {
        for (element, theirs) in &other.nodes {
            if let Some(ours) = self.nodes.get_mut(element) {
                ours.is_member |= theirs.is_member;
                ours.below.extend(&theirs.below);
            } else {
                self.nodes.insert(element.clone(), theirs.clone());
            }
        }
    }

    /// The paths in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.map(|element, ours| {
            let theirs = other.nodes.get(element)?;
            Some(Node {
                is_member: ours.is_member && theirs.is_member,
                below: ours.below.intersection(&theirs.below),
            })
        })
    }

    /// The paths of this set that are not in the other one.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.map(|element, ours| {
            let Some(theirs) = other.nodes.get(element) else {
                return Some(ours.clone());
            };
            Some(Node {
                is_member: ours.is_member && !theirs.is_member,
                below: ours.below.difference(&theirs.below),
            })
        })
    }

    /// The paths of this set that are neither in the other one nor below a path in it.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.map(|element, ours| match other.nodes.get(element) {
            None => Some(ours.clone()),
            Some(theirs) if theirs.is_member => None,
            Some(theirs) => Some(Node {
                is_member: ours.is_member,
                below: ours.below.recursive_difference(&theirs.below),
            }),
        })
    }

    /// The paths of the set that have no other path of it below them.
    #[must_use]
    pub fn leaves(&self) -> Self {
        self.map(|_, node| {
            Some(Node {
                is_member: node.is_member && node.below.is_empty(),
                below: node.below.leaves(),
            })
        })
    }

    /// All paths: on each level its members first, then what is below each.
    #[must_use]
    pub fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.push_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn push_paths(&self, prefix: &mut Vec<PathElement>, paths: &mut Vec<Path>) {
        for (element, node) in &self.nodes {
            if node.is_member {
                let mut path = prefix.clone();
                path.push(element.clone());
                paths.push(Path(path));
            }
        }
        for (element, node) in &self.nodes {
            prefix.push(element.clone());
            node.below.push_paths(prefix, paths);
            prefix.pop();
        }
    }

    /// What the set says of one value.
    pub(super) fn node(&self, element: &PathElement) -> Option<&Node> {
        self.nodes.get(element)
    }

    /// All that the set says, in the order of its encoding.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&PathElement, &Node)> {
        self.nodes.iter()
    }

    /// Adds what is said of one value.
    pub(super) fn add(&mut self, element: PathElement, node: Node) {
        if node.is_empty() {
            return;
        }
        let ours = self.nodes.entry(element).or_default();
        ours.is_member |= node.is_member;
        if ours.below.is_empty() {
            ours.below = node.below;
        } else {
            ours.below.extend(&node.below);
        }
    }

    /// The set of what each node becomes.
    pub(super) fn map(&self, change: impl Fn(&PathElement, &Node) -> Option<Node>) -> Self {
        let nodes = self.nodes.iter().filter_map(|(element, node)| {
            let node = change(element, node).filter(|node| !node.is_empty())?;
            Some((element.clone(), node))
        });
        Self {
            nodes: nodes.collect(),
        }
    }
}

impl FromIterator<Path> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Path>>(paths: I) -> Self {
        let mut set = Self::default();
        paths.into_iter().for_each(|path| set.insert(path));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&[&str]]) -> FieldSet {
        paths.iter().map(|path| Path::of_fields(path)).collect()
    }

    #[test]
    fn set_operations_tell_a_field_from_what_is_below_it() {
        let parent = set(&[&["a"]]);
        let child = set(&[&["a", "b"]]);
        let both = set(&[&["a"], &["a", "b"]]);
        assert_eq!(parent.union(&child), both);
        assert_eq!(both.intersection(&child), child);
        assert_eq!(parent.difference(&child), parent);
        assert_eq!(child.difference(&parent), child);
        assert_eq!(both.difference(&child), parent);
        assert!(both.recursive_difference(&parent).is_empty());
        assert_eq!(both.recursive_difference(&child), parent);
        assert_eq!(both.leaves(), child);
        assert_eq!(both.len(), 2);
    }

    #[test]
    fn only_the_very_path_is_contained() {
        let set = set(&[&["a", "b"]]);
        assert!(set.contains(&Path::of_fields(&["a", "b"])));
        assert!(!set.contains(&Path::of_fields(&["a"])));
        assert!(!set.contains(&Path::of_fields(&["a", "b", "c"])));
        assert!(!set.contains(&Path::default()));
    }

    #[test]
    fn paths_come_level_by_level() {
        let set = set(&[&["a", "b"], &["c"], &["a", "a", "x"]]);
        let printed: Vec<_> = set.paths().iter().map(Path::to_string).collect();
        assert_eq!(printed, [".c", ".a.b", ".a.a.x"]);
    }
}

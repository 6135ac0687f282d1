//! Whether somebody who holds some rules may hand on others.

use super::Rule;
use std::collections::{BTreeMap, BTreeSet};

/// Most combinations of verb, group, resource and name that are looked at one by one. Lists multiply:
/// a role of a few kilobytes can stand for billions.
const MAX_COMBINATIONS: usize = 20_000;

/// Most lines of a refusal.
const MAX_LINES: usize = 50;

/// What of some rules is not held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// These, each with one verb, group, resource and name.
    Rules(Vec<Rule>),
    /// The rules stand for too many combinations.
    TooMany,
}

/// What of `wanted` is not covered by `held`; `None` if all is.
#[must_use]
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Option<Missing> {
    let covered = |rule: &Rule| held.iter().any(|held| held.covers(rule));
    let open: Vec<_> = wanted.iter().filter(|rule| !covered(rule)).collect();
    let combinations = open.iter().map(|rule| combinations(rule));
    if combinations.fold(0, usize::saturating_add) > MAX_COMBINATIONS {
        return Some(Missing::TooMany);
    }
    let parts = open.into_iter().flat_map(parts);
    let missing: Vec<_> = parts.filter(|part| !covered(part)).collect();
    (!missing.is_empty()).then_some(Missing::Rules(missing))
}

fn combinations(rule: &Rule) -> usize {
    let product = |lengths: &[usize]| {
        lengths
            .iter()
            .fold(1, |product: usize, length| product.saturating_mul(*length))
    };
    let resources = product(&[
        rule.verbs.len(),
        rule.api_groups.len(),
        rule.resources.len(),
        rule.resource_names.len().max(1),
    ]);
    resources.saturating_add(product(&[rule.verbs.len(), rule.non_resource_urls.len()]))
}

/// A rule as rules with one verb, group, resource and name, or one verb and path.
fn parts(rule: &Rule) -> Vec<Rule> {
    let one = |text: &String| vec![text.clone()];
    let mut names: Vec<Vec<String>> = rule.resource_names.iter().map(one).collect();
    if names.is_empty() {
        names.push(Vec::new());
    }
    let mut parts = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                parts.extend(names.iter().map(|names| Rule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    resource_names: names.clone(),
                    non_resource_urls: Vec::new(),
                }));
            }
        }
    }
    for url in &rule.non_resource_urls {
        parts.extend(rule.verbs.iter().map(|verb| Rule {
            verbs: one(verb),
            non_resource_urls: one(url),
            ..Rule::default()
        }));
    }
    parts
}

impl std::fmt::Display for Missing {
    /// One line for each resource with the verbs that are missing, in kube-apiserver's words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rules = match self {
            Self::Rules(rules) => rules,
            Self::TooMany => {
                return write!(
                    f,
                    "(the rules combine to more than {MAX_COMBINATIONS} permissions, which are not looked at one by one)"
                );
            }
        };
        let lines: BTreeSet<String> = compact(rules).iter().map(shown).collect();
        let shown: Vec<_> = lines.iter().take(MAX_LINES).map(String::as_str).collect();
        f.write_str(&shown.join("\n"))?;
        match lines.len().checked_sub(MAX_LINES) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n(and {more} more)"),
        }
    }
}

/// Rules of the same resource become one with all verbs.
fn compact(rules: &[Rule]) -> Vec<Rule> {
    let mut compacted = Vec::new();
    let mut together: BTreeMap<_, Rule> = BTreeMap::new();
    for rule in rules {
        if !rule.non_resource_urls.is_empty() {
            compacted.push(rule.clone());
            continue;
        }
        let key = (&rule.api_groups, &rule.resources, &rule.resource_names);
        match together.get_mut(&key) {
            Some(known) => known.verbs.extend(rule.verbs.iter().cloned()),
            None => drop(together.insert(key, rule.clone())),
        }
    }
    compacted.extend(together.into_values());
    compacted
}

fn shown(rule: &Rule) -> String {
    let fields = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ];
    let fields = fields.iter().filter(|(_, list)| !list.is_empty());
    let fields = fields.map(|(name, list)| format!("{name}:{}", quoted(list)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
}

/// A list of texts as Go writes it: `["a" "b"]`.
pub(super) fn quoted(list: &[String]) -> String {
    let texts = list.iter().map(|text| format!("{text:?}"));
    format!("[{}]", texts.collect::<Vec<_>>().join(" "))
}

//! Rules, and which requests they allow.

use crate::serve::{Attributes, ResourceAttributes};
use serde::{Deserialize, Deserializer, Serialize};

/// Stands for everything in a list of a rule.
const ALL: &str = "*";

/// What may be done: a `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Verbs.
    #[serde(default, deserialize_with = "listed")]
    pub verbs: Vec<String>,
    /// API groups; the core group is the empty text.
    #[serde(default, deserialize_with = "listed")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources: `pods`, `pods/log`, `*/scale`.
    #[serde(default, deserialize_with = "listed")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names of objects; none for all.
    #[serde(default, deserialize_with = "listed")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths that are no resources. A star at the end stands for anything.
    #[serde(default, rename = "nonResourceURLs", deserialize_with = "listed")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// What is absent may also be written as null.
pub(super) fn listed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Rule {
    /// The rules that allow everything.
    #[must_use]
    pub fn everything() -> Vec<Self> {
        let all = || vec![ALL.to_owned()];
        let resources = Self {
            verbs: all(),
            api_groups: all(),
            resources: all(),
            ..Self::default()
        };
        let paths = Self {
            verbs: all(),
            non_resource_urls: all(),
            ..Self::default()
        };
        vec![resources, paths]
    }

    /// Whether the rule allows that.
    #[must_use]
    pub fn allows(&self, what: &Attributes<'_>) -> bool {
        match what {
            Attributes::Resource(what) => {
                self.is_about(what)
                    && (self.resource_names.is_empty() || has(&self.resource_names, what.name))
            }
            Attributes::Path { verb, path } => {
                let mut urls = self.non_resource_urls.iter();
                has_or_all(&self.verbs, verb) && urls.any(|url| url_covers(url, path))
            }
        }
    }

    /// Whether the rule allows that with an object of some name.
    #[must_use]
    pub fn is_about(&self, what: &ResourceAttributes<'_>) -> bool {
        has_or_all(&self.verbs, what.verb)
            && has_or_all(&self.api_groups, what.group)
            && self.means(what.resource, what.subresource)
    }

    fn means(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|meant| {
            let part = |of: &str| meant.strip_prefix(of)?.strip_prefix('/');
            meant == ALL
                || match subresource {
                    "" => meant == resource,
                    _ => part(resource) == Some(subresource) || part(ALL) == Some(subresource),
                }
        })
    }

    /// Whether the rule allows at least what each combination in another one does.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let resources = has(&self.resources, ALL)
            || other.resources.iter().all(|wanted| {
                has(&self.resources, wanted)
                    || wanted
                        .split_once('/')
                        .is_some_and(|(_, part)| has(&self.resources, &format!("{ALL}/{part}")))
            });
        let names = self.resource_names.is_empty()
            || !other.resource_names.is_empty()
                && has_all(&self.resource_names, &other.resource_names);
        let mut urls = other.non_resource_urls.iter();
        resources
            && names
            && has_all_or_star(&self.verbs, &other.verbs)
            && has_all_or_star(&self.api_groups, &other.api_groups)
            && urls.all(|wanted| {
                let mut held = self.non_resource_urls.iter();
                held.any(|held| url_covers(held, wanted))
            })
    }
}

fn has(list: &[String], text: &str) -> bool {
    list.iter().any(|one| one == text)
}

fn has_or_all(list: &[String], text: &str) -> bool {
    list.iter().any(|one| one == ALL || one == text)
}

fn has_all(list: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|wanted| has(list, wanted))
}

fn has_all_or_star(list: &[String], wanted: &[String]) -> bool {
    has(list, ALL) || has_all(list, wanted)
}

fn url_covers(url: &str, path: &str) -> bool {
    url == path || url.ends_with(ALL) && path.starts_with(url.trim_end_matches(ALL))
}

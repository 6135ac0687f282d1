//! Which requests are alike.

use crate::request::{ListOptions, Verb};

/// Most objects of a page that is as cheap as one object.
const PAGE: usize = 500;

/// Requests that share seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// One object, or one page: what people wait for.
    Interactive,
    /// A whole collection: it takes long, and much memory.
    Bulk,
}

impl Level {
    /// The level of a request with that query.
    #[must_use]
    pub fn of(verb: Verb, query: &str) -> Self {
        let is_short = |query: &str| match ListOptions::parse(query) {
            Ok(options) => {
                let one = options.fields.wanted("metadata.name").is_some();
                one || options.limit.is_some_and(|limit| limit <= PAGE)
            }
            // It will be refused.
            Err(_) => true,
        };
        match verb {
            Verb::List if !is_short(query) => Self::Bulk,
            Verb::DeleteCollection => Self::Bulk,
            Verb::Watch if begins_with_all(query) => Self::Bulk,
            _ => Self::Interactive,
        }
    }

    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
        }
    }
}

/// Whether a watch is told of all objects first.
fn begins_with_all(query: &str) -> bool {
    use crate::request::RevisionMatch;
    ListOptions::parse(query).is_ok_and(|options| {
        let from_one = matches!(options.revision, RevisionMatch::NotOlderThan(_));
        options.send_initial_events || !from_one
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_bulk() {
        for (verb, query, expected) in [
            (Verb::Get, "", Level::Interactive),
            (Verb::Patch, "", Level::Interactive),
            (Verb::List, "", Level::Bulk),
            (Verb::List, "limit=500", Level::Interactive),
            (Verb::List, "limit=501", Level::Bulk),
            (
                Verb::List,
                "fieldSelector=metadata.name%3Da",
                Level::Interactive,
            ),
            (Verb::DeleteCollection, "", Level::Bulk),
            (Verb::Watch, "watch=1", Level::Bulk),
            (Verb::Watch, "watch=1&resourceVersion=7", Level::Interactive),
        ] {
            assert_eq!(Level::of(verb, query), expected, "{verb} {query}");
        }
    }
}

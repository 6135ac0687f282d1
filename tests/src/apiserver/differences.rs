//! What may differ.

use std::path::Path;

use anyhow::{Context as _, Result};
use regex::Regex;
use serde::Deserialize;

use super::{cases, compare::Difference};

/// Intended differences with one reason, as they are written down. All but the reason are regular
/// expressions that match from beginning to end; what is absent is the word `nothing`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    why: String,
    cases: Vec<String>,
    differ: Vec<WrittenPlace>,
}

/// What both servers say at a place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPlace {
    at: String,
    ours: String,
    theirs: String,
}

/// All intended differences.
pub struct Differences {
    entries: Vec<Entry>,
}

struct Entry {
    why: String,
    cases: Vec<Counted<Regex>>,
    places: Vec<Counted<Place>>,
}

struct Place {
    at: Regex,
    ours: Regex,
    theirs: Regex,
}

/// Something with how often it occurred.
struct Counted<T> {
    what: T,
    written: String,
    times: usize,
}

impl Differences {
    /// Reads them from their file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let written: Vec<Written> = cases::read_file(path)?;
        let entries = written.into_iter().map(Entry::new);
        Ok(Self {
            entries: entries.collect::<Result<_>>()?,
        })
    }

    /// Those differences of a case that nobody intended.
    pub fn unintended(&mut self, case: &str, found: Vec<Difference>) -> Vec<Difference> {
        let mut left = Vec::new();
        for difference in found {
            let mut entries = self.entries.iter_mut();
            if !entries.any(|entry| entry.covers(case, &difference)) {
                left.push(difference);
            }
        }
        left
    }

    /// What was intended and did not occur: cases and places.
    pub fn unused(&self) -> impl Iterator<Item = String> {
        self.entries.iter().flat_map(|entry| {
            let cases = entry.cases.iter().filter(|case| case.times == 0);
            let places = entry.places.iter().filter(|place| place.times == 0);
            let unused = cases
                .map(|case| &case.written)
                .chain(places.map(|place| &place.written));
            unused.map(|written| format!("{written}: {}", entry.why))
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Entry {
    fn new(written: Written) -> Result<Self> {
        let case = |case: String| Counted::new(whole(&case)?, case);
        let place = |place: WrittenPlace| {
            let regexes = Place {
                at: whole(&place.at)?,
                ours: whole(&place.ours)?,
                theirs: whole(&place.theirs)?,
            };
            Counted::new(regexes, place.at)
        };
        Ok(Self {
            why: written.why,
            cases: written.cases.into_iter().map(case).collect::<Result<_>>()?,
            places: written
                .differ
                .into_iter()
                .map(place)
                .collect::<Result<_>>()?,
        })
    }

    fn covers(&mut self, case: &str, difference: &Difference) -> bool {
        let said = |found: &Option<String>| found.clone().unwrap_or_else(|| "nothing".to_owned());
        let (ours, theirs) = (said(&difference.ours), said(&difference.theirs));
        let Some(case) = self.cases.iter_mut().find(|one| one.what.is_match(case)) else {
            return false;
        };
        let mut places = self.places.iter_mut();
        let Some(place) = places.find(|place| {
            let place = &place.what;
            place.at.is_match(&difference.at)
                && place.ours.is_match(&ours)
                && place.theirs.is_match(&theirs)
        }) else {
            return false;
        };
        case.times += 1;
        place.times += 1;
        true
    }
}

impl<T> Counted<T> {
    #[expect(clippy::unnecessary_wraps, reason = "it ends chains that may fail")]
    fn new(what: T, written: String) -> Result<Self> {
        let times = 0;
        Ok(Self {
            what,
            written,
            times,
        })
    }
}

fn whole(pattern: &str) -> Result<Regex> {
    Regex::new(&format!("(?s)^(?:{pattern})$"))
        .with_context(|| format!("the expression {pattern:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences() -> Differences {
        let written = Written {
            why: "a reason".into(),
            cases: vec!["a: .*".into(), "b: .*".into()],
            differ: vec![WrittenPlace {
                at: "/code".into(),
                ours: "400".into(),
                theirs: "nothing".into(),
            }],
        };
        Differences {
            entries: vec![Entry::new(written).unwrap()],
        }
    }

    fn difference(ours: &str) -> Difference {
        Difference {
            at: "/code".into(),
            ours: Some(ours.into()),
            theirs: None,
        }
    }

    #[test]
    fn other_values_than_the_intended_ones_are_reported() {
        let mut differences = differences();
        let intended = vec![difference("400")];
        assert!(differences.unintended("a: x", intended).is_empty());
        let other = vec![difference("500")];
        assert_eq!(differences.unintended("a: x", other.clone()), other);
        let elsewhere = vec![difference("400")];
        assert_eq!(differences.unintended("c: x", elsewhere.clone()), elsewhere);
    }

    #[test]
    fn each_case_and_place_must_occur() {
        let mut differences = differences();
        assert_eq!(differences.unused().count(), 3);
        differences.unintended("a: x", vec![difference("400")]);
        assert_eq!(
            differences.unused().collect::<Vec<_>>(),
            ["b: .*: a reason"]
        );
    }
}

//! What may differ.

use std::path::Path;

use anyhow::{Context as _, Result};
use regex::Regex;
use serde::Deserialize;

use super::{cases, compare::Difference};

/// An intended difference as it is written down. All but the reason are regular expressions that
/// match from beginning to end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    case: String,
    at: String,
    #[serde(default)]
    ours: Option<String>,
    #[serde(default)]
    theirs: Option<String>,
    why: String,
}

/// All intended differences.
pub struct Differences {
    entries: Vec<Entry>,
}

struct Entry {
    case: Regex,
    at: Regex,
    ours: Option<Regex>,
    theirs: Option<Regex>,
    why: String,
    used: usize,
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
            let entries = self.entries.iter_mut();
            let mut covering = entries.filter(|entry| entry.covers(case, &difference));
            match covering.next() {
                Some(entry) => entry.used += 1,
                None => left.push(difference),
            }
        }
        left
    }

    /// Those that did not occur.
    pub fn unused(&self) -> impl Iterator<Item = String> {
        let unused = self.entries.iter().filter(|entry| entry.used == 0);
        unused.map(|entry| format!("{} at {}: {}", entry.case, entry.at, entry.why))
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
        let whole = |pattern: &String| {
            Regex::new(&format!("(?s)^(?:{pattern})$"))
                .with_context(|| format!("the expression {pattern:?}"))
        };
        Ok(Self {
            case: whole(&written.case)?,
            at: whole(&written.at)?,
            ours: written.ours.as_ref().map(whole).transpose()?,
            theirs: written.theirs.as_ref().map(whole).transpose()?,
            why: written.why,
            used: 0,
        })
    }

    fn covers(&self, case: &str, difference: &Difference) -> bool {
        let fits = |wanted: &Option<Regex>, found: &Option<String>| {
            let found = found.as_deref().unwrap_or_default();
            wanted.as_ref().is_none_or(|wanted| wanted.is_match(found))
        };
        self.case.is_match(case)
            && self.at.is_match(&difference.at)
            && fits(&self.ours, &difference.ours)
            && fits(&self.theirs, &difference.theirs)
    }
}

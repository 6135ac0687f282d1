//! What a watch's request asks for, and how it is asked for again.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use url::form_urlencoded::{byte_serialize, parse};

use super::events::{Next, Start};

const VERSION: &str = "resourceVersion";
const TIMEOUT: &str = "timeoutSeconds";

/// More seconds than this are as good as no end.
const LONGEST_TIME: u64 = 10 * 365 * 24 * 3600;

/// What belongs to the beginning of a watch and to no later one.
const BEGINNING: [&str; 3] = [VERSION, "resourceVersionMatch", "sendInitialEvents"];

/// The path and the query of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked(Box<str>);

/// The request by which a watch goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Again {
    path_and_query: String,
    ends: Option<Instant>,
}

impl Again {
    /// Path and query for the rest of the watch's time; `None` when that is over.
    pub(super) fn path_and_query(&self, now: Instant) -> Option<Cow<'_, str>> {
        let Some(ends) = self.ends else {
            return Some(Cow::from(&self.path_and_query));
        };
        let left = ends.saturating_duration_since(now).as_secs();
        let path = &self.path_and_query;
        let mark = if path.contains('?') { '&' } else { '?' };
        (left > 0).then(|| format!("{path}{mark}{TIMEOUT}={left}").into())
    }
}

impl Asked {
    /// Keeps them.
    pub(super) fn new(path_and_query: &str) -> Self {
        Self(path_and_query.into())
    }

    /// Where the watch begins. kube-apiserver counts the first of several values.
    pub(super) fn start(&self) -> Start {
        let marks = self.first("sendInitialEvents");
        if marks.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false")) {
            return Start::StateWithMark;
        }
        match self.first(VERSION).as_deref() {
            None | Some("" | "0") => Start::State,
            Some(version) => Start::After(version.to_owned()),
        }
    }

    /// How the watch goes on that began then; `None` when it cannot.
    pub(super) fn again(&self, next: Next<'_>, began: Instant) -> Option<Again> {
        let version = match next {
            Next::Never => return None,
            Next::AsItWas => None,
            Next::After(version) => Some(version),
        };
        let time = self.first(TIMEOUT).and_then(|value| value.parse().ok());
        // Without a time, or with none, the API server chooses one.
        let time = time.filter(|time| (1..=LONGEST_TIME).contains(time));
        let is_kept = |pair: &&str| {
            let name = parse(pair.as_bytes()).next().map(|(name, _)| name);
            let name = name.as_deref().unwrap_or_default();
            let is_replaced =
                version.is_some() && BEGINNING.contains(&name) || time.is_some() && name == TIMEOUT;
            !pair.is_empty() && !is_replaced
        };
        let (path, query) = self.split();
        let mut pairs: Vec<_> = query.split('&').filter(is_kept).map(Cow::from).collect();
        if let Some(version) = version {
            let version: String = byte_serialize(version.as_bytes()).collect();
            pairs.push(format!("{VERSION}={version}").into());
        }
        let query = pairs.join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        Some(Again {
            path_and_query: format!("{path}{mark}{query}"),
            ends: time.map(|time| began + Duration::from_secs(time)),
        })
    }

    fn first(&self, wanted: &str) -> Option<Cow<'_, str>> {
        let mut pairs = parse(self.split().1.as_bytes());
        pairs
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value)
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_once('?').unwrap_or((&self.0, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_begins_where_its_request_says() {
        let after = |version: &str| Start::After(version.to_owned());
        for (query, expected) in [
            ("watch=1&resourceVersion=7", after("7")),
            ("watch=1&resource%56ersion=a%2Fb", after("a/b")),
            ("watch=1&resourceVersion=7&resourceVersion=0", after("7")),
            ("resourceVersion=7&sendInitialEvents=false", after("7")),
            ("resourceVersion=7&sendInitialEvents=0", after("7")),
            (
                "resourceVersion=7&sendInitialEvents=true",
                Start::StateWithMark,
            ),
            ("sendInitialEvents=", Start::StateWithMark),
            ("resourceVersion=", Start::State),
            ("resourceVersion=0", Start::State),
            ("watch=1", Start::State),
            ("", Start::State),
        ] {
            let asked = Asked::new(&format!("/api/v1/pods?{query}"));
            assert_eq!(asked.start(), expected, "{query}");
        }
        assert_eq!(Asked::new("/api/v1/watch/pods").start(), Start::State);
    }

    #[test]
    fn it_goes_on_behind_the_last_version_for_the_rest_of_its_time() {
        let began = Instant::now();
        let now = began + Duration::from_millis(10_500);
        let again = |path: &str, next| {
            let again = Asked::new(path).again(next, began)?;
            Some(again.path_and_query(now)?.into_owned())
        };
        for (query, next, expected) in [
            (
                "watch=1&resourceVersion=7&labelSelector=a%3Db",
                Next::After("9"),
                Some("watch=1&labelSelector=a%3Db&resourceVersion=9"),
            ),
            (
                "watch=1&timeoutSeconds=60&resourceVersion=7",
                Next::After("9"),
                Some("watch=1&resourceVersion=9&timeoutSeconds=49"),
            ),
            (
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&watch=1&allowWatchBookmarks=true",
                Next::After("9"),
                Some("watch=1&allowWatchBookmarks=true&resourceVersion=9"),
            ),
            (
                "resource%56ersion=7&watch=1&resourceVersion=8",
                Next::After("a&watch=0"),
                Some("watch=1&resourceVersion=a%26watch%3D0"),
            ),
            (
                "watch=1&sendInitialEvents=true&timeoutSeconds=60",
                Next::AsItWas,
                Some("watch=1&sendInitialEvents=true&timeoutSeconds=49"),
            ),
            (
                "watch=1&timeoutSeconds=0",
                Next::After("9"),
                Some("watch=1&timeoutSeconds=0&resourceVersion=9"),
            ),
            ("watch=1&timeoutSeconds=11", Next::After("9"), None),
            ("watch=1&timeoutSeconds=5", Next::AsItWas, None),
            ("watch=1&resourceVersion=7", Next::Never, None),
        ] {
            let expected = expected.map(|query| format!("/api/v1/pods?{query}"));
            let found = again(&format!("/api/v1/pods?{query}"), next);
            assert_eq!(found, expected, "{query}");
        }
        let by_path = "/api/v1/watch/pods";
        let expected = format!("{by_path}?resourceVersion=9");
        assert_eq!(again(by_path, Next::After("9")), Some(expected));
        assert_eq!(again(by_path, Next::AsItWas).unwrap(), by_path);
    }
}

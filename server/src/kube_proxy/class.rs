//! What a request is for in the tunnel: who waits for what.

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use tunnel_proto::stream::Class;

use crate::authz::Action;

/// A body from this length on, in bytes, is carried beside what people wait for.
const LONG: u64 = 1024 * 1024;

/// So many lines of a log are what somebody looks at.
const FEW_LINES: u64 = 1000;

/// The class of a request: what somebody waits for, what stays open and is mostly quiet, and what carries a lot.
/// A stream that turns out to carry a lot is counted as bulk by the multiplexer, whatever is said here.
pub(super) fn of(action: &Action, query: &str, headers: &HeaderMap) -> Class {
    let query = Query(query);
    let subresource = action.subresource();
    if action.is_watch() || (subresource == "log" && query.is_set("follow")) {
        return Class::Watch;
    }
    let is_bulk = match subresource {
        "exec" => copies_files(query),
        "attach" | "portforward" => false,
        "log" => !is_short_log(query),
        _ => length(headers) >= LONG,
    };
    if is_bulk {
        Class::Bulk
    } else {
        Class::Interactive
    }
}

/// Whether a command is what `kubectl cp` runs: `tar`, or a shell for it where a copy goes on that was broken off.
fn copies_files(query: Query<'_>) -> bool {
    let mut words = query.all("command");
    match words.next().as_deref() {
        Some("tar") => true,
        Some("sh") => {
            words.next().as_deref() == Some("-c")
                && words.next().is_some_and(|line| line.starts_with("tar "))
        }
        _ => false,
    }
}

fn is_short_log(query: Query<'_>) -> bool {
    let below = |name, most| {
        let said = query.all(name).next().and_then(|said| said.parse().ok());
        said.is_some_and(|said: u64| said <= most)
    };
    below("tailLines", FEW_LINES) || below("limitBytes", LONG)
}

fn length(headers: &HeaderMap) -> u64 {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    length
        .and_then(|length| length.parse().ok())
        .unwrap_or_default()
}

#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn all(self, name: &'static str) -> impl Iterator<Item = std::borrow::Cow<'a, str>> {
        let pairs = url::form_urlencoded::parse(self.0.as_bytes());
        pairs.filter_map(move |(key, value)| (key == name).then_some(value))
    }

    /// As Kubernetes reads a boolean.
    fn is_set(self, name: &'static str) -> bool {
        let mut values = self.all(name);
        values
            .next()
            .is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn the_class_is_that_of_what_is_asked_for() {
        let pod = "/api/v1/namespaces/a/pods/p";
        for (path, expected) in [
            ("/api/v1/pods?watch=true&x=1", Class::Watch),
            ("/api/v1/watch/pods", Class::Watch),
            ("/api/v1/pods?limit=500", Class::Interactive),
            ("/watch=true", Class::Interactive),
            ("POD/log?follow=true", Class::Watch),
            ("POD/log?container=c&follow=1&tailLines=5", Class::Watch),
            ("POD/log?follow=false", Class::Bulk),
            ("POD/log", Class::Bulk),
            ("POD/log?previous=true&tailLines=100000", Class::Bulk),
            ("POD/log?tailLines=20", Class::Interactive),
            ("POD/log?limitBytes=4096", Class::Interactive),
            ("POD?follow=true", Class::Interactive),
            (
                "POD/exec?command=sh&tty=true&watch=true",
                Class::Interactive,
            ),
            (
                "POD/exec?command=tar&command=cf&command=-&command=%2Fx",
                Class::Bulk,
            ),
            (
                "POD/exec?command=sh&command=-c&command=tar+cf+-+%2Fx+%7C+tail",
                Class::Bulk,
            ),
            ("POD/exec?command=ls&command=tar", Class::Interactive),
            (
                "POD/exec?command=sh&command=-c&command=ls",
                Class::Interactive,
            ),
            ("POD/attach?command=tar", Class::Interactive),
            ("POD/portforward?ports=80", Class::Interactive),
        ] {
            let path = path.replace("POD", pod);
            let action = Action::parse(&Method::GET, &path);
            let query = path.split_once('?').map_or("", |(_, query)| query);
            assert_eq!(of(&action, query, &HeaderMap::new()), expected, "{path}");
        }
    }

    #[test]
    fn a_long_body_is_bulk() {
        for (method, path, length, expected) in [
            (
                Method::POST,
                "/api/v1/namespaces/a/configmaps",
                "1048575",
                Class::Interactive,
            ),
            (
                Method::PUT,
                "/api/v1/namespaces/a/configmaps/c",
                "1048576",
                Class::Bulk,
            ),
            (
                Method::POST,
                "/api/v1/namespaces/a/services/s/proxy/upload",
                "99999999",
                Class::Bulk,
            ),
            (
                Method::POST,
                "/api/v1/namespaces/a/pods",
                "much",
                Class::Interactive,
            ),
            (
                Method::POST,
                "/api/v1/namespaces/a/pods/p/attach",
                "99999999",
                Class::Interactive,
            ),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_LENGTH, length.parse().unwrap())]);
            let action = Action::parse(&method, path);
            assert_eq!(
                of(&action, "", &headers),
                expected,
                "{method} {path} {length}"
            );
        }
    }
}

//! Where a request goes, decided once from its path.
//!
//! Paths towards a cluster are kept byte for byte. What could be read in two ways is refused, not
//! repaired.

use lariat_api::ClusterId;

use crate::pages::Page;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/ping`
    Ping,
    /// `/livez`, `/readyz`, `/healthz`, and one of their checks.
    Probe {
        /// Which of them.
        probe: Probe,
        /// The name of the check; empty for all.
        check: &'a str,
    },
    /// `/metrics`
    Metrics,
    /// `/cacerts`
    CaCertificates,
    /// `/version`
    Version,
    /// To the API server of a cluster.
    Cluster {
        /// The cluster.
        id: ClusterId,
        /// What its API server is asked: path and query, byte for byte.
        rest: &'a str,
    },
    /// `/v3/connect`: an agent opens a tunnel.
    Connect,
    /// `/v3/import/<file>`
    Import {
        /// Name of the file, `TOKEN.yaml`.
        file: &'a str,
    },
    /// `/api-ui/<file>`: what the page needs that shows `/v3` in a browser.
    ApiPage {
        /// Name of the file.
        file: &'a str,
    },
    /// Anything else under `/v3`, `/v3-public` and `/v1-public`.
    Norman {
        /// Its segments after `/v3` or `/v3-public`; those under `/v1-public` with that.
        segments: Vec<&'a str>,
        /// Whether it is under `/v3-public` or `/v1-public`.
        public: bool,
    },
    /// A page of the server itself, or what belongs to one.
    Page(Page<'a>),
    /// `/api`, `/apis`, `/openapi` and below.
    Management,
    /// Nothing is there.
    NotFound,
}

/// What machines ask about the server's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether to restart it.
    Live,
    /// Whether to send it requests.
    Ready,
    /// Whether it is well.
    Health,
}

/// A path that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A segment means "here" or "up", plainly or encoded.
    #[error("path has a '.' or '..' segment, plain or encoded, which is refused")]
    Dots,
    /// What names the cluster is not an id.
    #[error("path does not name a cluster by a valid id")]
    ClusterId,
}

impl<'a> Route<'a> {
    /// Decides. `path_and_query` is the request's, as it came; `chosen` is the cluster chosen by
    /// the TLS server name, to which every path goes.
    ///
    /// # Errors
    /// When the path could be read in two ways.
    pub fn parse(path_and_query: &'a str, chosen: Option<&ClusterId>) -> Result<Self, PathError> {
        let path = path_of(path_and_query);
        if let Some(id) = chosen {
            check_segments(path)?;
            return Ok(Self::Cluster {
                id: id.clone(),
                rest: path_and_query,
            });
        }
        if let Some(rest) = path_and_query.strip_prefix("/k8s/clusters/") {
            return Self::cluster(rest);
        }
        check_segments(path)?;
        Ok(match path {
            "/ping" => Self::Ping,
            "/metrics" => Self::Metrics,
            "/cacerts" => Self::CaCertificates,
            "/version" => Self::Version,
            "/v3/connect" => Self::Connect,
            _ => Self::by_segments(path),
        })
    }

    fn cluster(rest: &'a str) -> Result<Self, PathError> {
        let id_ends = rest.find(['/', '?']).unwrap_or(rest.len());
        let (id, rest) = rest.split_at(id_ends);
        let id = id.parse().map_err(|_| PathError::ClusterId)?;
        check_segments(path_of(rest))?;
        let rest = if rest.is_empty() { "/" } else { rest };
        if !rest.starts_with('/') {
            // `/k8s/clusters/ID?query` has no path of its own to forward.
            return Err(PathError::ClusterId);
        }
        Ok(Self::Cluster { id, rest })
    }

    fn probe(probe: Probe, check: &[&'a str]) -> Self {
        match check {
            [] => Self::Probe { probe, check: "" },
            [check] => Self::Probe { probe, check },
            _ => Self::NotFound,
        }
    }

    fn by_segments(path: &'a str) -> Self {
        let segments: Vec<_> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        match segments.as_slice() {
            ["livez", check @ ..] => Self::probe(Probe::Live, check),
            ["readyz", check @ ..] => Self::probe(Probe::Ready, check),
            ["healthz", check @ ..] => Self::probe(Probe::Health, check),
            ["api-ui", file] => Self::ApiPage { file },
            ["v3", "import", file] => Self::Import { file },
            ["v3", rest @ ..] => Self::Norman {
                segments: rest.to_vec(),
                public: false,
            },
            ["v3-public", rest @ ..] => Self::Norman {
                segments: rest.to_vec(),
                public: true,
            },
            ["v1-public", ..] => Self::Norman {
                segments,
                public: true,
            },
            ["api" | "apis" | "openapi", ..] => Self::Management,
            other => Page::at(other).map_or(Self::NotFound, Self::Page),
        }
    }
}

/// Refuses segments that mean "here" or "up" for anybody on the way: as they are, percent-encoded,
/// or behind an encoded slash or a backslash.
fn check_segments(path: &str) -> Result<(), PathError> {
    if !path.contains(['.', '%']) {
        return Ok(());
    }
    for segment in path.split('/') {
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(segment).collect();
        let mut parts = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
        // Parameters after a semicolon are cut off by some servers before they look at dots.
        let means_dots = |part: &[u8]| {
            let name = part.split(|byte| *byte == b';').next().unwrap_or_default();
            name == b"." || name == b".."
        };
        if parts.any(means_dots) {
            return Err(PathError::Dots);
        }
    }
    Ok(())
}

fn path_of(path_and_query: &str) -> &str {
    path_and_query
        .split_once('?')
        .map_or(path_and_query, |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rest(path: &str) -> Result<String, PathError> {
        match Route::parse(path, None)? {
            Route::Cluster { id, rest } => {
                assert_eq!(id.as_str(), "c-1");
                Ok(rest.to_owned())
            }
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn a_path_towards_a_cluster_is_kept_byte_for_byte() {
        for (path, expected) in [
            ("/k8s/clusters/c-1", "/"),
            ("/k8s/clusters/c-1/", "/"),
            ("/k8s/clusters/c-1/api//v1/", "/api//v1/"),
            (
                "/k8s/clusters/c-1/a%2Fb?x=%2e%2e/../&y",
                "/a%2Fb?x=%2e%2e/../&y",
            ),
            ("/k8s/clusters/c-1/a.b/...;/c", "/a.b/...;/c"),
        ] {
            assert_eq!(rest(path).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        for path in [
            "/k8s/clusters/c-1/../c-2/api",
            "/k8s/clusters/c-1/%2e%2e/c-2/api",
            "/k8s/clusters/c-1/.%2E/c-2/api",
            "/k8s/clusters/c-1/..%2fc-2/api",
            "/k8s/clusters/c-1/a%2f..%2fb",
            "/k8s/clusters/c-1/a%5c..%5cb",
            "/k8s/clusters/c-1/..;/b",
            "/k8s/clusters/c-1/./api",
            "/k8s/clusters/c-1/api/..",
            "/v3/../metrics",
            "/..%2fmetrics",
        ] {
            assert_eq!(Route::parse(path, None), Err(PathError::Dots), "{path}");
        }
        let chosen: ClusterId = "c-1".parse().unwrap();
        assert_eq!(Route::parse("/a/../b", Some(&chosen)), Err(PathError::Dots));
    }

    #[test]
    fn a_cluster_is_named_by_its_id_alone() {
        for path in [
            "/k8s/clusters//api",
            "/k8s/clusters/..",
            "/k8s/clusters/%2e%2e/api",
            "/k8s/clusters/%63-1/api",
            "/k8s/clusters/c-1%2fapi",
            "/k8s/clusters/C-1/api",
            "/k8s/clusters/c-1?x",
        ] {
            assert_eq!(
                Route::parse(path, None),
                Err(PathError::ClusterId),
                "{path}"
            );
        }
    }

    #[test]
    fn every_path_goes_to_the_cluster_chosen_by_server_name() {
        let id: ClusterId = "c-1".parse().unwrap();
        for path in [
            "/",
            "/ping",
            "/k8s/clusters/c-2/api",
            "/v3/connect",
            "/api/v1?x=1",
        ] {
            let rest = path;
            let expected = Route::Cluster {
                id: id.clone(),
                rest,
            };
            assert_eq!(Route::parse(path, Some(&id)), Ok(expected));
        }
    }

    #[test]
    fn look_alikes_are_not_found() {
        for path in [
            "/",
            "/K8S/clusters/c-1",
            "/k8s%2fclusters/c-1",
            "//ping",
            "*",
            "",
        ] {
            assert_eq!(Route::parse(path, None), Ok(Route::NotFound), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics_and_no_rest_climbs(path in "/k8s/clusters/c-1/[./%2eEfF5cC;a]{0,12}") {
            if let Ok(Route::Cluster { rest, .. }) = Route::parse(&path, None) {
                prop_assert!(path.ends_with(rest));
                let decoded = percent_encoding::percent_decode_str(rest).decode_utf8_lossy();
                let climbs = decoded.split(['/', '\\']).any(|part| part == "..");
                prop_assert!(!climbs);
            }
        }

        #[test]
        fn nothing_panics(path: String) {
            let _ = Route::parse(&path, None);
        }
    }
}

//! Addresses in answers. They are of the host that the client has asked, so that it can follow them.

use http::Uri;
use http::header::HOST;
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded::Serializer;

use super::kinds::{Home, Type};
use super::place::Scope;
use crate::config::Config;

/// Longest name of a host, with its port.
const LONGEST_HOST: usize = 261;

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b':');

/// Makes the addresses of one answer.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// `https://HOST`.
    host: String,
    /// The address that was asked for, without its query.
    asked: String,
    query: String,
}

impl Links {
    pub(super) fn of(request: &Parts, config: &Config) -> Self {
        let host = match host(request) {
            Some(host) => format!("https://{host}"),
            None => config.server_url.as_str().trim_end_matches('/').to_owned(),
        };
        Self {
            asked: format!("{host}{}", request.uri.path()),
            query: request.uri.query().unwrap_or_default().to_owned(),
            host,
        }
    }

    pub(super) fn root(&self) -> String {
        format!("{}/v3", self.host)
    }

    /// Below `/v3-public`.
    pub(super) fn public(&self, path: &str) -> String {
        let slash = if path.is_empty() { "" } else { "/" };
        format!("{}/v3-public{slash}{path}", self.host)
    }

    /// Where types are described that one needs before a login.
    pub(super) fn public_schemas(&self) -> String {
        self.public("schemas")
    }

    /// What was asked for.
    pub(super) fn asked(&self) -> &str {
        &self.asked
    }

    /// The same with other parameters: those of these names replace what was given.
    pub(super) fn asked_with(&self, parameters: &[(&str, &str)], without: &[&str]) -> String {
        let given = url::form_urlencoded::parse(self.query.as_bytes());
        let mut query = Serializer::new(String::new());
        for (name, value) in given {
            let replaced = parameters.iter().any(|(other, _)| *other == name);
            if !replaced && !without.contains(&&*name) {
                query.append_pair(&name, &value);
            }
        }
        for (name, value) in parameters {
            query.append_pair(name, value);
        }
        format!("{}?{}", self.asked, query.finish())
    }

    /// Where types are described that are in that scope.
    pub(super) fn schemas(&self, scope: &Scope) -> String {
        format!("{}/schemas", self.version(scope))
    }

    /// What the addresses of types in a scope begin with.
    pub(super) fn version(&self, scope: &Scope) -> String {
        match scope {
            Scope::All => self.root(),
            Scope::Cluster(id) => format!("{}/cluster/{id}", self.root()),
            Scope::Project(cluster, project) => {
                format!("{}/project/{cluster}:{project}", self.root())
            }
        }
    }

    /// All objects of a type, or those in a scope.
    pub(super) fn collection(&self, of: &Type, scope: &Scope) -> String {
        let base = match (of.home, scope) {
            (Home::Inside, scope) => self.version(scope),
            _ => self.root(),
        };
        format!("{base}/{}", of.plural.to_lowercase())
    }

    /// Those of a type that belong to a cluster or a project.
    pub(super) fn below(&self, parent: &str, id: &str, plural: &str) -> String {
        let (root, plural) = (self.root(), plural.to_lowercase());
        format!("{root}/{parent}/{}/{plural}", encoded(id))
    }

    /// One object.
    pub(super) fn object(&self, of: &Type, scope: &Scope, id: &str) -> String {
        format!("{}/{}", self.collection(of, scope), encoded(id))
    }
}

/// An id in a path.
fn encoded(id: &str) -> String {
    utf8_percent_encode(id, PLAIN).to_string()
}

/// The host that the client names, if it is one.
fn host(request: &Parts) -> Option<&str> {
    let authority = request.uri.authority().map(|authority| authority.as_str());
    let named = request
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let host = authority.or(named)?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let fits = !host.is_empty() && host.len() <= LONGEST_HOST && host.bytes().all(good);
    (fits && format!("https://{host}/").parse::<Uri>().is_ok()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(value: &str) -> Option<String> {
        let request = http::Request::get("/v3").header(HOST, value);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        host(&parts).map(str::to_owned)
    }

    #[test]
    fn a_host_is_a_name_and_a_port() {
        for good in ["lariat.example.org", "127.0.0.1:8443", "[::1]:8443"] {
            assert_eq!(host_of(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "a/b",
            "user@host",
            "a b",
            "\"><script>",
            &"a".repeat(300),
        ] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
    }
}

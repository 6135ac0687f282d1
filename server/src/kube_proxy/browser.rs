//! Answers of clusters to browsers. They stand under this server's name, beside its own pages: they are
//! shown, and neither run nor remembered.

use http::{HeaderMap, HeaderName, HeaderValue};

/// What an answer may say about itself. The rest speaks for all of this server's name: cookies, what
/// other sites may read, where errors are reported, how long to trust which certificate.
const KEPT: &[&str] = &[
    "accept-ranges",
    "age",
    "allow",
    "audit-id",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location",
    "pragma",
    "retry-after",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "warning",
    "x-kubernetes-pf-flowschema-uid",
    "x-kubernetes-pf-prioritylevel-uid",
    "x-stream-protocol-version",
];

const ADDED: [(&str, &str); 3] = [
    ("content-security-policy", "default-src 'none'; sandbox"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
];

/// Leaves of an answer what is safe to show in a browser.
pub(super) fn contain(headers: &mut HeaderMap) {
    let dropped: Vec<_> = headers
        .keys()
        .filter(|name| !is_kept(name))
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
    for (name, value) in ADDED {
        let name = HeaderName::from_static(name);
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn is_kept(name: &HeaderName) -> bool {
    KEPT.binary_search(&name.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_nothing_for_the_whole_server() {
        assert!(KEPT.is_sorted());
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/html"),
            ("set-cookie", "R_SESS=token-1:planted; Path=/"),
            ("set-cookie", "CSRF=planted; Path=/"),
            ("access-control-allow-origin", "https://evil.example"),
            ("content-security-policy", "default-src *"),
            ("clear-site-data", "\"cookies\""),
            ("service-worker-allowed", "/"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        contain(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "content-security-policy",
                "content-type",
                "cross-origin-resource-policy",
                "x-content-type-options",
            ]
        );
        assert_eq!(
            headers["content-security-policy"],
            "default-src 'none'; sandbox"
        );
    }
}

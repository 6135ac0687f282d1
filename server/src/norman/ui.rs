//! The page that a browser gets at the addresses of this face. It is the same for all of them and holds no data:
//! its script asks for the JSON of the address, as the one who looks at it, and shows that as text.

use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use apiserver::error::ApiError;

use crate::edge::{Body, with_type};

const PAGE: &str = include_str!("ui/index.html");
const SCRIPT: &str = include_str!("ui/app.js");
const FORM: &str = include_str!("ui/form.js");
const STYLE: &str = include_str!("ui/style.css");

/// Scripts, styles and requests of this server alone, and nobody puts the page into a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-cache"),
    (VARY, "Accept"),
];

/// Whether a request comes from somebody who opens an address in a browser.
pub(super) fn is_wanted<B>(request: &Request<B>) -> bool {
    *request.method() == Method::GET && prefers_html(request.headers())
}

/// The page.
pub(super) fn page() -> Response<Body> {
    file("text/html; charset=utf-8", PAGE)
}

/// `GET /api-ui/FILE`: what the page needs.
///
/// # Errors
/// 404 for other files, 405 for other methods.
pub(crate) fn asset(method: &Method, name: &str) -> Result<Response<Body>, ApiError> {
    let script = "text/javascript; charset=utf-8";
    let (media_type, text) = match name {
        "app.js" => (script, SCRIPT),
        "form.js" => (script, FORM),
        "style.css" => ("text/css; charset=utf-8", STYLE),
        _ => return Err(ApiError::no_such_path()),
    };
    match *method {
        Method::GET => Ok(file(media_type, text)),
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn file(media_type: &'static str, text: &'static str) -> Response<Body> {
    let mut response = with_type(StatusCode::OK, media_type, text);
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Browsers name HTML first; programs name JSON or anything.
fn prefers_html(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(',')).map(|one| {
        let name = one.split(';').next().unwrap_or_default();
        name.trim().to_ascii_lowercase()
    });
    let first = types.find(|one| one == "text/html" || one.ends_with("json"));
    first.is_some_and(|first| first == "text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_browser_gets_the_page() {
        let wanted = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            prefers_html(&headers)
        };
        assert!(wanted(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        ));
        for program in ["*/*", "application/json", "application/json, text/html", ""] {
            assert!(!wanted(program), "{program}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }

    /// What data is made of never becomes HTML, code or an address of its own.
    #[test]
    fn the_page_builds_no_html_from_data() {
        for script in [SCRIPT, FORM] {
            for way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "Function(",
                "DOMParser",
                "srcdoc",
                "createContextualFragment",
                "javascript:",
                "setTimeout(\"",
            ] {
                assert!(!script.contains(way), "{way}");
            }
        }
        assert!(!PAGE.contains("<script>") && !PAGE.contains("style=") && !PAGE.contains(" on"));
    }
}

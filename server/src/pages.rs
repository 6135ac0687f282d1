//! The pages of the server itself: logging in, and confirming the login of a command line. They are
//! static; what they show, their scripts ask of the API and put into the page as text.

mod verify;

use std::sync::Arc;

use apiserver::error::ApiError;
use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use lariat_api::AuthConfigType;
use url::Url;

use crate::edge::{Body, RequestContext, empty, with_type};
use crate::logins::{self, Purpose};
use crate::state::App;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Nothing but what this server serves is loaded, run or asked, and no other site shows these pages.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The longest path of this server to go on to after a login, in bytes.
const MAX_NEXT: usize = 1024;

/// A page, or what belongs to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page<'a> {
    /// `/login`
    Login,
    /// `/login/with/PROVIDER`: sends the browser there.
    Begin(&'a str),
    /// `/verify-auth`: where providers send browsers back to.
    Verify,
    /// `/device`: confirms the login of a command line.
    Device,
    /// `/login/FILE`
    File(&'a str),
}

impl<'a> Page<'a> {
    /// The page at a path, by its segments.
    #[must_use]
    pub fn at(segments: &[&'a str]) -> Option<Self> {
        Some(match segments {
            ["login"] => Self::Login,
            ["login", "with", provider] => Self::Begin(provider),
            ["login", file] => Self::File(file),
            ["verify-auth"] => Self::Verify,
            ["device"] => Self::Device,
            _ => return None,
        })
    }
}

/// Answers a request for a page.
///
/// # Errors
/// 404 and 405 where there is none, or it is not asked for with GET.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: &Request<Incoming>,
    context: &RequestContext,
    page: Page<'_>,
) -> Result<Response<Body>, ApiError> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    match page {
        Page::Login => Ok(shown(HTML, include_str!("pages/login.html"))),
        Page::Device => Ok(shown(HTML, include_str!("pages/device.html"))),
        Page::File("login.js") => Ok(shown(SCRIPT, include_str!("pages/login.js"))),
        Page::File("device.js") => Ok(shown(SCRIPT, include_str!("pages/device.js"))),
        Page::File("test.js") => Ok(shown(SCRIPT, include_str!("pages/test.js"))),
        Page::File("session.js") => Ok(shown(SCRIPT, include_str!("pages/session.js"))),
        Page::File("style.css") => Ok(shown(STYLE, include_str!("pages/style.css"))),
        Page::File(_) => Err(ApiError::no_such_path()),
        Page::Begin(provider) => begin(app, request, context, provider).await,
        Page::Verify => verify::verify(app, request, context).await,
    }
}

/// Sends a browser to a provider.
async fn begin(
    app: &Arc<App>,
    request: &Request<Incoming>,
    context: &RequestContext,
    provider: &str,
) -> Result<Response<Body>, ApiError> {
    let type_ = AuthConfigType::of_name(provider).filter(|type_| type_.redirects());
    if let Some(type_) = type_ {
        context.audit.set_login_provider(type_);
    }
    if let Err(error) = app.login_limits.check_address(context.connection.peer.ip()) {
        return Ok(verify::problem(context, &error));
    }
    let type_ = type_.ok_or_else(ApiError::no_such_path)?;
    let next = next(app, request.uri().query());
    let begun = async {
        let provider = app.providers.get(type_).await?;
        logins::begin(app, type_, &*provider, Purpose::Session { next }).await
    };
    match begun.await {
        Ok(begun) => {
            let mut response = go_to(begun.url.as_str());
            let cookie = app.flows.cookie(&begun.flow)?;
            response.headers_mut().append(SET_COOKIE, cookie);
            Ok(response)
        }
        Err(error) => Ok(verify::problem(context, &error)),
    }
}

/// Where to go on after a login: a path of this server.
fn next(app: &App, query: Option<&str>) -> String {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let wanted = pairs.into_iter().find(|(key, _)| key == "next");
    wanted
        .and_then(|(_, path)| own_path(&app.config.server_url, &path))
        .unwrap_or_else(|| "/login".to_owned())
}

fn own_path(server: &Url, path: &str) -> Option<String> {
    // What a browser takes for another host, or for a path of this one, is for a browser's parser to say.
    let url = server.join(path).ok()?;
    let is_own = path.starts_with('/') && url.origin() == server.origin();
    (is_own && path.len() <= MAX_NEXT).then(|| url[url::Position::BeforePath..].to_owned())
}

/// A page or a file of one.
fn shown(media_type: &'static str, text: &'static str) -> Response<Body> {
    let mut response = with_type(StatusCode::OK, media_type, text);
    protect(&mut response);
    response
}

/// Sends a browser elsewhere.
fn go_to(place: &str) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    protect(&mut response);
    response
}

fn protect(response: &mut Response<Body>) {
    for (name, value) in [
        (http::header::CONTENT_SECURITY_POLICY, POLICY),
        (http::header::X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Codes of providers are in addresses.
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_on_to_this_server_alone() {
        let server = Url::parse("https://lariat.test:8443/").unwrap();
        let own = |path: &str| own_path(&server, path);
        assert_eq!(own("/device?code=A").as_deref(), Some("/device?code=A"));
        assert_eq!(own("/a/../b#c").as_deref(), Some("/b#c"));
        for foreign in [
            "",
            "device",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            " //evil.example",
        ] {
            assert_eq!(own(foreign), None, "{foreign:?}");
        }
        assert_eq!(own(&format!("/{}", "a".repeat(MAX_NEXT))), None);
    }

    #[test]
    fn no_page_has_a_script_or_a_style_in_it() {
        for page in [
            include_str!("pages/login.html"),
            include_str!("pages/device.html"),
            include_str!("pages/test.html"),
        ] {
            assert!(!page.contains("<style") && !page.contains(" style="));
            assert!(!page.contains("onclick=") && !page.contains("onload="));
            for script in page.split("<script").skip(1) {
                assert!(script.contains("src=\"/login/"), "{script}");
                assert!(script.contains("></script>"), "{script}");
            }
        }
        for script in [
            include_str!("pages/login.js"),
            include_str!("pages/device.js"),
            include_str!("pages/test.js"),
            include_str!("pages/session.js"),
        ] {
            for word in [
                "innerHTML",
                "outerHTML",
                "document.write",
                "eval(",
                "insertAdjacent",
            ] {
                assert!(!script.contains(word), "{word}");
            }
        }
    }
}

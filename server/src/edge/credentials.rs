//! Who makes a request: what it shows, and whether a page of another site made a browser show it.

use apiserver::error::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST, ORIGIN, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use url::Url;

use super::context::RequestContext;
use super::reading;
use crate::authn::{Bearer, Identity, session};
use crate::authz::{Denied, READING_ONLY};
use crate::kube_proxy::refuse_impersonation;
use crate::state::App;

/// Written by browsers, and by no page.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Which page made a browser send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// One of this server.
    Own,
    /// One of another site, or one that hides which.
    Foreign,
    /// None, as far as it says: it comes from no browser, or somebody typed the address.
    Unsaid,
}

/// Who makes a request: by its `Authorization` (a bearer token, or its name and secret as Basic), or
/// else by its session cookie. One of them decides alone; what it shows is accepted or refused.
///
/// # Errors
/// 401 when nothing good is shown; 403 when a page of another site may have asked for it, for whoever means
/// to act in another name, and for what a token that only reads is not good for.
pub(crate) fn authenticate<B>(
    app: &App,
    request: &Request<B>,
    context: &RequestContext,
) -> Result<Identity, ApiError> {
    // Ends with this function.
    let _part = context.trace.child("authenticate");
    let headers = request.headers();
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let identity = match shown.next() {
        Some(_) if shown.next().is_some() => {
            return Err(ApiError::bad_request("more than one Authorization header"));
        }
        Some(header) => by_header(app, request, header)?,
        None => by_cookie(app, request)?,
    };
    context.audit.set_identity(&identity);
    let chosen = context.connection.cluster.as_ref();
    let decided = refuse_impersonation(headers).and_then(|()| {
        if identity.read_only && !reading::is_all(request, chosen) {
            return Err(Denied(READING_ONLY.to_owned()));
        }
        Ok(())
    });
    if let Err(refused) = decided {
        context.audit.set_decision(false, &refused.0);
        return Err(refused.into());
    }
    Ok(identity)
}

fn by_header<B>(
    app: &App,
    request: &Request<B>,
    header: &HeaderValue,
) -> Result<Identity, ApiError> {
    let header = header.to_str().unwrap_or_default();
    if let Some(bearer) = Bearer::parse(header) {
        return accepted(app, bearer);
    }
    let pair = basic(header).ok_or_else(|| {
        let what = "the Authorization header is not \"Bearer NAME:SECRET\"";
        ApiError::unauthorized(what)
    })?;
    let bearer = Bearer::split(&pair).ok_or_else(|| {
        let what = "the user name must be the name of a token, and the password its secret";
        ApiError::unauthorized(what)
    })?;
    let mut identity = accepted(app, bearer)?;
    // A browser that was once told a name and a password goes on sending them.
    identity.by_browser = true;
    if site(app, request) == Site::Foreign {
        return Err(foreign());
    }
    Ok(identity)
}

fn by_cookie<B>(app: &App, request: &Request<B>) -> Result<Identity, ApiError> {
    let headers = request.headers();
    let ambiguous = |error: session::Ambiguous| ApiError::bad_request(error.to_string());
    let bearer = session::bearer(headers).map_err(ambiguous)?;
    let bearer =
        bearer.ok_or_else(|| ApiError::unauthorized("log in first: no bearer token was sent"))?;
    let mut identity = accepted(app, bearer)?;
    identity.by_browser = true;
    match (site(app, request), needs_own_page(request)) {
        (Site::Own | Site::Unsaid, false) => return Ok(identity),
        (Site::Own, true) => {}
        // Not even to read: behind a link of another site may be a service in a cluster that acts on it.
        (Site::Foreign, _) | (Site::Unsaid, true) => return Err(foreign()),
    }
    // A browser lets no page add a header to the request for a WebSocket.
    let is_websocket = headers.contains_key(UPGRADE) && request.method() == Method::GET;
    if !is_websocket && !session::repeats_csrf(headers, bearer).map_err(ambiguous)? {
        let why = "header X-API-CSRF must repeat the cookie CSRF of the session";
        return Err(Denied(why.to_owned()).into());
    }
    Ok(identity)
}

fn accepted(app: &App, bearer: Bearer<'_>) -> Result<Identity, ApiError> {
    let identity = app.directory.authenticate(bearer);
    identity.map_err(|error| ApiError::unauthorized(error.to_string()))
}

fn basic(header: &str) -> Option<String> {
    let (scheme, pair) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    String::from_utf8(STANDARD.decode(pair.trim()).ok()?).ok()
}

/// Whether a request does something, or opens a way to do something.
fn needs_own_page<B>(request: &Request<B>) -> bool {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    !reads || request.headers().contains_key(UPGRADE)
}

fn foreign() -> ApiError {
    let why = "a browser may do this from a page of this server only \
               (a program: send the token as \"Authorization: Bearer NAME:SECRET\")";
    Denied(why.to_owned()).into()
}

/// Which page made a browser send a request.
pub(crate) fn site<B>(app: &App, request: &Request<B>) -> Site {
    let headers = request.headers();
    let said = headers.get_all(SEC_FETCH_SITE).iter();
    let said = said.filter(|value| *value != "none");
    let mut said: Vec<_> = said.map(|value| value == "same-origin").collect();
    let own = [
        Some(app.config.server_url.origin()),
        authority(request).map(|url| url.origin()),
    ];
    said.extend(headers.get_all(ORIGIN).iter().map(|value| {
        let origin = value.to_str().ok().and_then(|text| Url::parse(text).ok());
        let origin = origin.map(|url| url.origin());
        origin.is_some_and(|origin| origin.is_tuple() && own.contains(&Some(origin)))
    }));
    match said.as_slice() {
        [] => Site::Unsaid,
        said if said.iter().all(|is_own| *is_own) => Site::Own,
        _ => Site::Foreign,
    }
}

/// The address at which the client reached this server: what a browser calls the origin of its pages.
fn authority<B>(request: &Request<B>) -> Option<Url> {
    let authority = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => only(request.headers(), &HOST)?,
    };
    Url::parse(&format!("https://{authority}")).ok()
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok();
    first.filter(|_| values.next().is_none())
}

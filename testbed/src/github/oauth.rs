//! The web flow of OAuth apps, and the pages on which people sign in and allow it.

mod grants;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hyper::{Method, header};
use serde_json::json;
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

use super::{
    reply::{self, Reply},
    serve::{Call, Shared, State},
    world::Application,
};
pub(super) use grants::{Code, Grants, Token};

const SESSION: &str = "user_session";
const DENIED: &str = "The user has denied your application access.";
const ERRORS: &str = "/apps/managing-oauth-apps/troubleshooting-authorization-request-errors/";

/// The answer, unless the request is for the REST API.
pub(super) fn answer(shared: &Shared, call: &Call) -> Option<Reply> {
    let mut state = shared.lock();
    Some(match (&call.method, call.url.path()) {
        (&Method::GET, "/login/oauth/authorize") => begin(&mut state, call),
        (&Method::POST, "/login/oauth/authorize") => decide(&mut state, call),
        (&Method::GET, "/login") => sign_in_page(call, 200, "Sign in to GitHub"),
        (&Method::POST, "/session") => sign_in(&mut state, call),
        (&Method::POST, "/login/oauth/access_token") => redeem(&mut state, call),
        _ => return None,
    })
}

/// A request for authorisation that may be shown to a person.
struct Asked {
    client_id: String,
    redirect_uri: Url,
    scopes: Vec<String>,
    state: Option<String>,
    challenge: Option<String>,
}

impl Asked {
    fn read(state: &State, call: &Call) -> Result<Self, Reply> {
        let client_id = call.query("client_id").unwrap_or_default();
        let application = (state.world.applications.iter())
            .find(|application| application.client_id == client_id)
            .ok_or_else(|| reply::page(404, "<p>There is no such application.</p>"))?;
        let registered = Url::parse(&application.callback_url)
            .map_err(|error| reply::page(500, &error.to_string()))?;
        let given = call.query("redirect_uri");
        let redirect_uri = match given.as_deref().map(Url::parse) {
            None => Some(registered.clone()),
            Some(Ok(given)) if is_within(&registered, &given) => Some(given),
            Some(_) => None,
        };
        let asked = Self {
            client_id,
            redirect_uri: redirect_uri.clone().unwrap_or(registered),
            scopes: grants::scopes(&call.query("scope").unwrap_or_default()),
            state: call.query("state"),
            challenge: call.query("code_challenge"),
        };
        if redirect_uri.is_none() {
            return Err(asked.refuse(
                "redirect_uri_mismatch",
                "The redirect_uri MUST match the registered callback URL for this application.",
                "#redirect-uri-mismatch",
            ));
        }
        if asked.challenge.is_some()
            && call.query("code_challenge_method").as_deref() != Some("S256")
        {
            return Err(reply::page(400, "<p>Only S256 is supported.</p>"));
        }
        Ok(asked)
    }

    fn allow(&self, state: &mut State, login: &str) -> Reply {
        let code = state.grants.allow(Code {
            client_id: self.client_id.clone(),
            redirect_uri: self.redirect_uri.to_string(),
            challenge: self.challenge.clone(),
            login: login.to_owned(),
            scopes: self.scopes.clone(),
        });
        self.send_back(&[("code", &code)])
    }

    fn refuse(&self, error: &str, description: &str, anchor: &str) -> Reply {
        self.send_back(&[
            ("error", error),
            ("error_description", description),
            ("error_uri", &format!("{ERRORS}{anchor}")),
        ])
    }

    fn send_back(&self, pairs: &[(&str, &str)]) -> Reply {
        let mut to = self.redirect_uri.clone();
        to.query_pairs_mut()
            .extend_pairs(pairs)
            .extend_pairs(self.state.iter().map(|state| ("state", state)));
        reply::redirect(to.as_str())
    }
}

/// Whether people may be sent to `given`: to the host of what is registered, there or below it; on
/// loopback at any port.
fn is_within(registered: &Url, given: &Url) -> bool {
    let is_loopback = matches!(registered.host_str(), Some("127.0.0.1" | "[::1]"));
    let is_same_port =
        is_loopback || registered.port_or_known_default() == given.port_or_known_default();
    let is_below = (given.path().strip_prefix(registered.path())).is_some_and(|rest| {
        rest.is_empty() || rest.starts_with('/') || registered.path().ends_with('/')
    });
    registered.scheme() == given.scheme()
        && registered.host() == given.host()
        && is_same_port
        && is_below
}

fn begin(state: &mut State, call: &Call) -> Reply {
    let asked = match Asked::read(state, call) {
        Ok(asked) => asked,
        Err(refusal) => return refusal,
    };
    let here = &call.url[url::Position::BeforePath..];
    let Some(login) = session(state, call) else {
        let query: String = (form_urlencoded::Serializer::new(String::new()))
            .append_pair("client_id", &asked.client_id)
            .append_pair("return_to", here)
            .finish();
        return reply::redirect(&format!("/login?{query}"));
    };
    if (state.grants).has_allowed(&login, &asked.client_id, &asked.scopes) {
        return asked.allow(state, &login);
    }
    let content = format!(
        "<p>{client} asks for access: {scopes}</p><form method=\"post\" action=\"{here}\">\
         <button name=\"authorize\" value=\"1\">Authorize</button>\
         <button name=\"authorize\" value=\"0\">Cancel</button></form>",
        client = escaped(&asked.client_id),
        scopes = escaped(&asked.scopes.join(" ")),
        here = escaped(here),
    );
    reply::page(200, &content)
}

fn decide(state: &mut State, call: &Call) -> Reply {
    let asked = match Asked::read(state, call) {
        Ok(asked) => asked,
        Err(refusal) => return refusal,
    };
    let Some(login) = session(state, call) else {
        return reply::page(401, "<p>Sign in first.</p>");
    };
    if call.field("authorize").as_deref() == Some("1") {
        asked.allow(state, &login)
    } else {
        asked.refuse("access_denied", DENIED, "#access-denied")
    }
}

fn sign_in_page(call: &Call, status: u16, note: &str) -> Reply {
    let return_to = call.query("return_to").or_else(|| call.field("return_to"));
    let content = format!(
        "<p>{note}</p><form method=\"post\" action=\"/session\">\
         <input type=\"hidden\" name=\"return_to\" value=\"{return_to}\">\
         <input type=\"text\" name=\"login\"><input type=\"password\" name=\"password\">\
         <button name=\"commit\" value=\"Sign in\">Sign in</button></form>",
        return_to = escaped(&return_to.unwrap_or_default()),
    );
    reply::page(status, &content)
}

fn sign_in(state: &mut State, call: &Call) -> Reply {
    let login = call.field("login").unwrap_or_default();
    let user = (state.world.user(&login))
        .filter(|user| call.field("password").as_deref() == Some(&user.password));
    let Some(user) = user else {
        return sign_in_page(call, 401, "Incorrect username or password.");
    };
    if user.suspended {
        return sign_in_page(call, 403, "Your account is suspended.");
    }
    let session = state.grants.begin_session(&user.login.clone());
    let return_to = call.field("return_to").unwrap_or_default();
    let is_local = return_to.starts_with('/') && !return_to.starts_with("//");
    let mut reply = reply::redirect(if is_local { &return_to } else { "/" });
    let cookie = format!("{SESSION}={session}; path=/; HttpOnly; SameSite=Lax");
    reply::set(&mut reply, header::SET_COOKIE, &cookie);
    reply
}

/// Who is signed in, and not suspended since.
fn session(state: &State, call: &Call) -> Option<String> {
    let session = (call.header(header::COOKIE).split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == SESSION)?
        .1;
    let login = state.grants.session(session)?;
    let user = state.world.user(login)?;
    (!user.suspended).then(|| user.login.clone())
}

fn redeem(state: &mut State, call: &Call) -> Reply {
    let pairs = match try_redeem(state, call) {
        Ok(token) => vec![
            ("access_token", token.value),
            ("scope", token.scopes.join(",")),
            ("token_type", "bearer".to_owned()),
        ],
        Err((error, description)) => vec![
            ("error", error.to_owned()),
            ("error_description", description.to_owned()),
            ("error_uri", format!("{ERRORS}#{}", error.replace('_', "-"))),
        ],
    };
    if call.header(header::ACCEPT).contains("json") {
        let members = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)));
        return reply::json(200, &serde_json::Value::Object(members.collect()));
    }
    let mut body = form_urlencoded::Serializer::new(String::new());
    reply::form(body.extend_pairs(pairs).finish())
}

fn try_redeem(state: &mut State, call: &Call) -> Result<Token, (&'static str, &'static str)> {
    let field = |name: &str| parameter(call, name).unwrap_or_default();
    let is_right = |application: &Application| {
        application.client_id == field("client_id")
            && application.client_secret == field("client_secret")
    };
    if !state.world.applications.iter().any(is_right) {
        return Err((
            "incorrect_client_credentials",
            "The client_id and/or client_secret passed are incorrect.",
        ));
    }
    let bad_code = (
        "bad_verification_code",
        "The code passed is incorrect or expired.",
    );
    let code = state.grants.take_code(&field("code")).ok_or(bad_code)?;
    if code.client_id != field("client_id") {
        return Err(bad_code);
    }
    let redirect_uri = parameter(call, "redirect_uri");
    if redirect_uri.is_some_and(|uri| uri != code.redirect_uri) {
        return Err((
            "redirect_uri_mismatch",
            "The redirect_uri MUST match the registered callback URL for this application.",
        ));
    }
    let proves = |challenge: &String| {
        let verifier = field("code_verifier");
        *challenge == BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
    };
    if !code.challenge.iter().all(proves) {
        return Err(bad_code);
    }
    let user = state.world.user(&code.login).ok_or(bad_code)?;
    if !user.email_verified {
        return Err((
            "unverified_user_email",
            "The user must have a verified primary email.",
        ));
    }
    let user = user.id;
    Ok(state.grants.redeem(user, code))
}

/// A parameter of the token request: in its form or its query.
fn parameter(call: &Call, name: &str) -> Option<String> {
    call.field(name).or_else(|| call.query(name))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_below_what_is_registered_and_nowhere_else() {
        let registered = Url::parse("https://a.test/path").unwrap();
        for good in ["https://a.test/path", "https://a.test/path/x?y=z"] {
            assert!(is_within(&registered, &Url::parse(good).unwrap()), "{good}");
        }
        for bad in [
            "https://a.test/",
            "https://a.test/pathology",
            "https://a.test:8443/path",
            "http://a.test/path",
            "https://b.test/path",
        ] {
            assert!(!is_within(&registered, &Url::parse(bad).unwrap()), "{bad}");
        }
        let registered = Url::parse("http://127.0.0.1/path").unwrap();
        let elsewhere = Url::parse("http://127.0.0.1:1234/path").unwrap();
        assert!(is_within(&registered, &elsewhere));
    }
}

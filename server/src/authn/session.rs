//! The cookies by which a browser stays logged in.
//!
//! `R_SESS` holds the bearer token, and no script can read it. `CSRF` holds a value that follows from
//! the token's secret: a page of this server reads it and repeats it in a header, which a page of
//! another site cannot. A cookie that somebody else has planted belongs to no session.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use subtle::ConstantTimeEq;

use super::Bearer;

/// Repeats the cookie `CSRF` in each request that changes something.
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-api-csrf");

const SESSION: &str = "R_SESS";
const CSRF: &str = "CSRF";
const PURPOSE: &[u8] = b"lariat CSRF";

/// Two cookies of one name: one of them was planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is more than one cookie {0}; delete the cookies of this site and log in again")]
pub struct Ambiguous(&'static str);

/// The bearer token in the session cookie.
///
/// # Errors
/// When there is more than one.
pub fn bearer(headers: &HeaderMap) -> Result<Option<Bearer<'_>>, Ambiguous> {
    Ok(cookie(headers, SESSION)?.and_then(Bearer::split))
}

/// Whether a request repeats what only a page of this server could read, for the session of that
/// token. Takes the same time for every wrong value.
///
/// # Errors
/// When there is more than one cookie.
pub fn repeats_csrf(headers: &HeaderMap, bearer: Bearer<'_>) -> Result<bool, Ambiguous> {
    let expected = csrf(bearer.secret);
    let is_it = |shown: &[u8]| bool::from(shown.ct_eq(expected.as_bytes()));
    let cookie = cookie(headers, CSRF)?.is_some_and(|value| is_it(value.as_bytes()));
    let mut repeated = headers.get_all(CSRF_HEADER).iter();
    let header = repeated.next().is_some_and(|value| is_it(value.as_bytes()));
    Ok(cookie && header && repeated.next().is_none())
}

/// The cookies of a new session, `token` being the bearer token.
///
/// # Errors
/// When the token is none.
pub fn begin(token: &str) -> Result<[HeaderValue; 2], http::header::InvalidHeaderValue> {
    let secret = Bearer::split(token).map_or("", |bearer| bearer.secret);
    Ok([
        HeaderValue::try_from(format!("{SESSION}={token}; {SHARED}; HttpOnly"))?,
        HeaderValue::try_from(format!("{CSRF}={}; {SHARED}", csrf(secret)))?,
    ])
}

/// What makes a browser forget its session.
#[must_use]
pub fn end() -> [HeaderValue; 2] {
    [
        HeaderValue::from_static("R_SESS=; Path=/; Secure; SameSite=Lax; HttpOnly; Max-Age=0"),
        HeaderValue::from_static("CSRF=; Path=/; Secure; SameSite=Lax; Max-Age=0"),
    ]
}

/// Sent to this server alone, over TLS, and not with requests that other sites make (but with links to
/// it). Without an age they end with the browser, and the token ends by itself.
const SHARED: &str = "Path=/; Secure; SameSite=Lax";

fn csrf(secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, PURPOSE))
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a str>, Ambiguous> {
    let pairs = (headers.get_all(COOKIE).iter())
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let first = values.next();
    match values.next() {
        Some(_) => Err(Ambiguous(name)),
        None => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&str], repeated: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().unwrap());
        }
        for value in repeated {
            headers.append(CSRF_HEADER, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_session_comes_back_as_it_was_given() {
        let [session, csrf] = begin("token-1:secret").unwrap();
        let pair = |cookie: &HeaderValue| {
            let text = cookie.to_str().unwrap();
            text.split(';').next().unwrap().to_owned()
        };
        let both = format!("other=1; {}; {}", pair(&session), pair(&csrf));
        let value = pair(&csrf).split_once('=').unwrap().1.to_owned();
        let shown = headers(&[&both], &[&value]);
        let bearer = bearer(&shown).unwrap().unwrap();
        assert_eq!((bearer.name, bearer.secret), ("token-1", "secret"));
        assert!(repeats_csrf(&shown, bearer).unwrap());

        let other = csrf_of("another secret");
        for (cookies, repeated) in [
            (vec![both.clone()], vec![]),
            (vec![both.clone()], vec![other.clone()]),
            (vec![both], vec![value.clone(), value.clone()]),
            (vec![pair(&session)], vec![value.clone()]),
            (
                vec![format!("{}; CSRF={other}", pair(&session))],
                vec![other.clone()],
            ),
            (
                vec![format!("{}; CSRF={other}", pair(&session))],
                vec![value],
            ),
            (
                vec![format!("{}; CSRF=", pair(&session))],
                vec![String::new()],
            ),
        ] {
            let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
            let repeated: Vec<_> = repeated.iter().map(String::as_str).collect();
            let shown = headers(&cookies, &repeated);
            assert!(!repeats_csrf(&shown, bearer).unwrap(), "{shown:?}");
        }
    }

    fn csrf_of(secret: &str) -> String {
        csrf(secret)
    }

    #[test]
    fn a_second_cookie_of_a_name_was_planted() {
        let twice = headers(&["R_SESS=a:b", "x=y; R_SESS=c:d"], &[]);
        assert_eq!(bearer(&twice), Err(Ambiguous(SESSION)));
        let none = headers(&["r_sess=a:b; R_SESS2=c:d; R_SESS"], &[]);
        assert_eq!(bearer(&none), Ok(None));
    }

    #[test]
    fn what_ends_a_session_has_the_place_of_what_began_it() {
        for (begun, ended) in begin("token-1:secret").unwrap().iter().zip(end()) {
            let attributes = |cookie: &HeaderValue| {
                let text = cookie.to_str().unwrap().to_owned();
                let attributes = text.split("; ").skip(1).map(str::to_owned);
                attributes
                    .filter(|one| one != "Max-Age=0")
                    .collect::<Vec<_>>()
            };
            assert_eq!(attributes(begun), attributes(&ended));
        }
    }
}

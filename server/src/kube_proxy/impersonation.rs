//! In whose name the cluster sees a request.

use apiserver::error::ApiError;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::authn::Identity;
use crate::authz::Denied;

/// What every impersonation header begins with, in the lower case of `HeaderName`.
const PREFIX: &str = "impersonate";

/// What the headers begin with in which an authenticating proxy names a user.
const CLAIMS: &str = "x-remote-";

/// What may stand in a header name unescaped (client-go escapes the rest the same way).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// A request that brings impersonation headers of its own is refused, wherever it goes: to drop them would
/// let somebody act under a name they did not mean to.
///
/// # Errors
/// Names the first of them.
pub(crate) fn refuse(headers: &HeaderMap) -> Result<(), Denied> {
    let mut names = headers.keys().map(HeaderName::as_str);
    let Some(name) = names.find(|name| name.starts_with(PREFIX)) else {
        return Ok(());
    };
    Err(Denied(format!(
        "header {name} is not allowed: nobody acts in the name of somebody else \
         (kubectl: leave out --as, --as-group and --as-uid)"
    )))
}

/// Takes away what an authenticating proxy in front of an API server would say of the user. API servers believe
/// it of who shows that proxy's certificate, and what is behind their own proxies may believe it of anybody.
pub(super) fn forget_claims(headers: &mut HeaderMap) {
    let claims = headers
        .keys()
        .filter(|name| name.as_str().starts_with(CLAIMS));
    for name in claims.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// The headers that name the user to the cluster, in those groups.
pub(super) fn headers(identity: &Identity, groups: &[String]) -> Result<HeaderMap, ApiError> {
    let mut headers = HeaderMap::new();
    // Names of people are of any language: kube-apiserver takes UTF-8.
    let value = |text: &str| {
        HeaderValue::from_bytes(text.as_bytes())
            .map_err(|_| ApiError::internal(format!("{text:?} cannot be a header")))
    };
    headers.insert(
        HeaderName::from_static("impersonate-user"),
        value(identity.user.as_str())?,
    );
    for group in groups {
        headers.append(HeaderName::from_static("impersonate-group"), value(group)?);
    }
    for (key, values) in &identity.extra {
        let name = format!("impersonate-extra-{}", utf8_percent_encode(key, ESCAPED));
        let name: HeaderName = name.parse().map_err(ApiError::internal)?;
        // Constrained impersonation takes no empty ones.
        for text in values.iter().filter(|text| !text.is_empty()) {
            headers.append(name.clone(), value(text)?);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_api::EXTRA_USERNAME;

    #[test]
    fn people_have_names_of_any_language() {
        let mut identity = Identity::for_test("u-1", false, None);
        let person = "J\u{fc}rgen \u{738b}";
        identity
            .extra
            .insert(EXTRA_USERNAME.to_owned(), vec![person.to_owned()]);
        let sent = headers(&identity, &[]).unwrap();
        let sent = &sent["impersonate-extra-management.cattle.io%2fusername"];
        assert_eq!(sent.as_bytes(), person.as_bytes());
        let escape = vec!["a\r\nImpersonate-Group: b".to_owned()];
        identity.extra.insert(EXTRA_USERNAME.to_owned(), escape);
        assert!(headers(&identity, &[]).is_err());
    }
}

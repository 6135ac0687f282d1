//! What an ID token and the userinfo endpoint say of somebody.

use serde_json::{Map, Value};

use super::settings::Settings;

/// How many groups one person is in at most: what goes beyond is left out.
const MAX_GROUPS: usize = 1000;

/// The longest name of a group, in bytes.
const MAX_NAME: usize = 900;

/// What is known of somebody.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Who it is, for ever.
    pub(super) subject: String,
    claims: Map<String, Value>,
}

impl Known {
    /// What verified claims say.
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        let subject = claims.get("sub").and_then(Value::as_str);
        Self {
            subject: subject.unwrap_or_default().to_owned(),
            claims,
        }
    }

    /// Whether the userinfo endpoint may know more.
    pub(super) fn lacks(&self, settings: &Settings) -> bool {
        let wanted = [
            &settings.groups_claim,
            &settings.name_claim,
            &settings.email_claim,
        ];
        wanted.iter().any(|claim| self.claim(claim).is_none())
    }

    /// Takes over what was not known.
    pub(super) fn take(&mut self, more: Map<String, Value>) {
        for (claim, value) in more {
            self.claims.entry(claim).or_insert(value);
        }
    }

    pub(super) fn groups(&self, claim: &str) -> Vec<String> {
        let names: Vec<&str> = match self.claim(claim) {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut names: Vec<_> = (names.into_iter())
            .filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
            .map(str::to_owned)
            .collect();
        names.sort();
        names.dedup();
        names.truncate(MAX_GROUPS);
        names
    }

    /// The name that people read.
    pub(super) fn display_name(&self, settings: &Settings) -> String {
        let name = self.text(&settings.name_claim);
        name.unwrap_or_else(|| self.login_name(settings))
    }

    /// The name that they log in with: their address if the provider vouches for it.
    pub(super) fn login_name(&self, settings: &Settings) -> String {
        let vouched = !matches!(self.claim("email_verified"), Some(Value::Bool(false)));
        let email = vouched.then(|| self.text(&settings.email_claim)).flatten();
        email
            .or_else(|| self.text("preferred_username"))
            .unwrap_or_else(|| self.subject.clone())
    }

    fn text(&self, claim: &str) -> Option<String> {
        let text = self.claim(claim)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A claim; one with dots in its name may be within others, as Keycloak has its roles.
    fn claim(&self, name: &str) -> Option<&Value> {
        if let Some(value) = self.claims.get(name) {
            return Some(value).filter(|value| !value.is_null());
        }
        let mut parts = name.split('.');
        let first = self.claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }
}

/// A text of at most so many characters.
pub(super) fn bounded(mut text: String, characters: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(characters) {
        text.truncate(end);
    }
    text
}

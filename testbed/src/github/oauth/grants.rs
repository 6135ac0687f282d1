//! Sessions, codes and tokens, and what people have allowed.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    time::{Duration, Instant},
};

/// How long a code is good for.
const CODE_LIFETIME: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(in crate::github) struct Grants {
    sessions: HashMap<String, String>,
    codes: HashMap<String, (Instant, Code)>,
    tokens: Vec<Token>,
    allowed: Vec<Allowed>,
}

/// What a code stands for.
#[derive(Debug)]
pub(in crate::github) struct Code {
    pub(in crate::github) client_id: String,
    pub(in crate::github) redirect_uri: String,
    pub(in crate::github) challenge: Option<String>,
    pub(in crate::github) login: String,
    pub(in crate::github) scopes: Vec<String>,
}

/// A token that is good.
#[derive(Clone, Debug)]
pub(in crate::github) struct Token {
    pub(in crate::github) value: String,
    pub(in crate::github) client_id: String,
    pub(in crate::github) user: u64,
    pub(in crate::github) scopes: Vec<String>,
    login: String,
}

#[derive(Debug)]
struct Allowed {
    login: String,
    client_id: String,
    scopes: Vec<String>,
}

impl Grants {
    pub(super) fn begin_session(&mut self, login: &str) -> String {
        let session = random();
        self.sessions.insert(session.clone(), login.to_owned());
        session
    }

    pub(super) fn session(&self, session: &str) -> Option<&str> {
        self.sessions.get(session).map(String::as_str)
    }

    /// Whether a person has allowed an application all of these scopes before.
    pub(super) fn has_allowed(&self, login: &str, client_id: &str, scopes: &[String]) -> bool {
        self.allowed.iter().any(|allowed| {
            (allowed.login.as_str(), allowed.client_id.as_str()) == (login, client_id)
                && scopes.iter().all(|scope| covers(&allowed.scopes, scope))
        })
    }

    /// Remembers what a person allows, and gives the code for it.
    pub(super) fn allow(&mut self, code: Code) -> String {
        self.allowed.push(Allowed {
            login: code.login.clone(),
            client_id: code.client_id.clone(),
            scopes: code.scopes.clone(),
        });
        let value = random();
        self.codes.insert(value.clone(), (Instant::now(), code));
        value
    }

    /// What a code stands for, once.
    pub(super) fn take_code(&mut self, code: &str) -> Option<Code> {
        let (since, code) = self.codes.remove(code)?;
        (since.elapsed() < CODE_LIFETIME).then_some(code)
    }

    pub(super) fn redeem(&mut self, user: u64, code: Code) -> Token {
        let token = Token {
            value: format!("gho_{}", random()),
            client_id: code.client_id,
            user,
            scopes: code.scopes,
            login: code.login,
        };
        self.tokens.push(token.clone());
        token
    }

    pub(in crate::github) fn token(&self, value: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.value == value)
    }

    /// Ends a token; whether there was one of this application.
    pub(in crate::github) fn delete_token(&mut self, client_id: &str, value: &str) -> bool {
        let before = self.tokens.len();
        (self.tokens).retain(|token| token.value != value || token.client_id != client_id);
        self.tokens.len() < before
    }

    /// Ends all that a person has allowed.
    pub(in crate::github) fn revoke(&mut self, login: &str) {
        self.tokens.retain(|token| token.login != login);
        self.codes.retain(|_, (_, code)| code.login != login);
        self.allowed.retain(|allowed| allowed.login != login);
    }
}

impl Token {
    /// Whether it has one of these scopes, by name or by one that includes it.
    pub(in crate::github) fn has_any(&self, scopes: &[&str]) -> bool {
        scopes.iter().any(|scope| covers(&self.scopes, scope))
    }
}

/// The scopes of a request, separated by spaces or commas, without those that others include.
pub(super) fn scopes(text: &str) -> Vec<String> {
    let mut asked: Vec<String> = (text.split([' ', ',']))
        .filter(|scope| !scope.is_empty())
        .map(str::to_owned)
        .collect();
    asked.sort();
    asked.dedup();
    let all = asked.clone();
    asked.retain(|scope| {
        let others: Vec<_> = all
            .iter()
            .filter(|other| *other != scope)
            .cloned()
            .collect();
        !covers(&others, scope)
    });
    asked
}

/// Whether `scope` is among `scopes` or included in one of them.
fn covers(scopes: &[String], scope: &str) -> bool {
    let includes = |own: &str| match own {
        "user" => matches!(scope, "read:user" | "user:email" | "user:follow"),
        "admin:org" => matches!(scope, "write:org" | "read:org"),
        "write:org" => scope == "read:org",
        _ => false,
    };
    scopes.iter().any(|own| own == scope || includes(own))
}

fn random() -> String {
    let mut bytes = [0; 20];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .expect("every Linux has /dev/urandom");
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_includes_others() {
        assert_eq!(scopes("read:org, user read:user"), ["read:org", "user"]);
        assert!(covers(&scopes("admin:org"), "read:org"));
        assert!(!covers(&scopes("read:org"), "user"));
    }

    #[test]
    fn a_code_is_good_once_and_a_token_until_it_is_taken_back() {
        let mut grants = Grants::default();
        let code = grants.allow(Code {
            client_id: "lariat".into(),
            redirect_uri: String::new(),
            challenge: None,
            login: "alice".into(),
            scopes: scopes("read:org"),
        });
        let taken = grants.take_code(&code).unwrap();
        assert!(grants.take_code(&code).is_none());
        let token = grants.redeem(1, taken);
        assert!(grants.has_allowed("alice", "lariat", &scopes("read:org")));
        assert!(!grants.delete_token("another", &token.value));
        assert!(grants.token(&token.value).is_some());
        grants.revoke("alice");
        assert!(grants.token(&token.value).is_none());
        assert!(!grants.has_allowed("alice", "lariat", &[]));
    }
}

//! The protocol of the API server: TokenReviews of `authentication.k8s.io`, v1 and v1beta1.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::known::{Refusal, User};

const KIND: &str = "TokenReview";

/// The versions that are spoken. What kube-apiserver sends is a flag of it; v1beta1 is its default.
const VERSIONS: [&str; 2] = ["authentication.k8s.io/v1", "authentication.k8s.io/v1beta1"];

/// A question.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    version: &'static str,
    /// The bearer token that is asked about.
    pub token: String,
}

/// What is no question.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It is not JSON of that shape.
    #[error("body is not a TokenReview: {0}")]
    Body(#[from] serde_json::Error),
    /// It is another object.
    #[error("body is {0}/{1}, not a TokenReview of authentication.k8s.io/v1 or v1beta1")]
    Kind(String, String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    api_version: String,
    kind: String,
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    token: String,
}

impl Question {
    /// Parses the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let body: Body = serde_json::from_slice(body)?;
        let version = VERSIONS.iter().find(|known| **known == body.api_version);
        match version {
            Some(version) if body.kind == KIND => Ok(Self {
                version,
                token: body.spec.token,
            }),
            _ => Err(Malformed::Kind(body.api_version, body.kind)),
        }
    }

    /// The answer, in the version of the question.
    ///
    /// A token that cannot be one of the server's is not authenticated and no error: kube-apiserver writes
    /// errors to its log, and such tokens are others' business. No audiences are named, so the token is good
    /// for those of the API server itself.
    pub fn answer(&self, found: &Result<User, Refusal>) -> Value {
        let status = match found {
            Ok(user) => json!({"authenticated": true, "user": user}),
            Err(Refusal::NotOurs) => json!({"authenticated": false}),
            Err(why) => json!({"authenticated": false, "error": why.to_string()}),
        };
        json!({"apiVersion": self.version, "kind": KIND, "status": status})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(version: &str) -> Vec<u8> {
        let body = json!({"apiVersion": version, "kind": KIND, "metadata": {},
            "spec": {"token": "a:b", "audiences": ["x"]}, "status": {"user": {}}});
        body.to_string().into_bytes()
    }

    #[test]
    fn the_answer_is_in_the_version_of_the_question() {
        for version in VERSIONS {
            let question = Question::parse(&asked(version)).unwrap();
            assert_eq!(question.token, "a:b");
            let answer = question.answer(&Err(Refusal::Unknown));
            assert_eq!(
                (&answer["apiVersion"], &answer["kind"]),
                (&json!(version), &json!(KIND))
            );
        }
    }

    #[test]
    fn who_is_not_let_in_is_told_why_unless_the_token_is_none_of_ours() {
        let question = Question::parse(&asked(VERSIONS[0])).unwrap();
        let status = |found: Result<User, Refusal>| question.answer(&found)["status"].clone();
        let refused = json!({"authenticated": false, "error": "token has expired; log in again"});
        assert_eq!(status(Err(Refusal::Expired)), refused);
        assert_eq!(
            status(Err(Refusal::NotOurs)),
            json!({"authenticated": false})
        );
        let user = User {
            username: "u-1".to_owned(),
            groups: vec!["g".to_owned()],
            extra: [("k".to_owned(), vec!["v".to_owned()])].into(),
        };
        let let_in = json!({"authenticated": true,
            "user": {"username": "u-1", "groups": ["g"], "extra": {"k": ["v"]}}});
        assert_eq!(status(Ok(user)), let_in);
    }

    #[test]
    fn other_bodies_are_refused() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview"}"#,
            r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":1}}"#,
            r#"{"apiVersion":"authentication.k8s.io/v2","kind":"TokenReview","spec":{"token":"a"}}"#,
            r#"{"apiVersion":"v1","kind":"Secret","spec":{"token":"a"}}"#,
        ] {
            assert!(Question::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(body: Vec<u8>) {
            let _ = Question::parse(&body);
        }
    }
}

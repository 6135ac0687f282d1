//! What the codes of a directory (RFC 4511, appendix A) mean for who wants to log in.

use super::super::LoginError;
use super::active_directory;
use super::connection::Failure;
use super::message::{Control, Outcome};
use super::password_policy::{self, Verdict};
use super::settings::Dialect;

const SUCCESS: u32 = 0;
const STRONGER_AUTH_REQUIRED: u32 = 8;
const CONFIDENTIALITY_REQUIRED: u32 = 13;
const CONSTRAINT_VIOLATION: u32 = 19;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_DN_SYNTAX: u32 = 34;
const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
const INVALID_CREDENTIALS: u32 = 49;
const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;
const UNWILLING_TO_PERFORM: u32 = 53;

/// Whether a directory says that there is no such entry, or could not be.
pub(super) fn is_no_such_entry(failure: &Failure) -> bool {
    let none = |code| matches!(code, NO_SUCH_OBJECT | INVALID_DN_SYNTAX);
    matches!(failure, Failure::Refused(outcome) if none(outcome.code))
}

/// How the bind of a person ended.
pub(super) fn of_person(
    dialect: Dialect,
    outcome: &Outcome,
    controls: &[Control],
) -> Result<(), LoginError> {
    let verdict = match dialect {
        Dialect::OpenLdap => {
            password_policy::verdict(controls).map_err(|error| unavailable("log in", &error))?
        }
        Dialect::ActiveDirectory => None,
    };
    match (outcome.code, verdict) {
        (SUCCESS | INVALID_CREDENTIALS, Some(Verdict::ChangeAfterReset)) => {
            Err(LoginError::MustChangePassword)
        }
        (SUCCESS, _) => Ok(()),
        (INVALID_CREDENTIALS, Some(Verdict::PasswordExpired)) => Err(LoginError::PasswordExpired),
        (INVALID_CREDENTIALS, Some(Verdict::AccountLocked)) => Err(LoginError::Locked),
        (INVALID_CREDENTIALS, None) => Err(match dialect {
            Dialect::OpenLdap => LoginError::Wrong,
            Dialect::ActiveDirectory => active_directory::refusal(&outcome.text),
        }),
        // It was there a moment ago, or has no password.
        (NO_SUCH_OBJECT | INAPPROPRIATE_AUTHENTICATION, _) => Err(LoginError::Wrong),
        // 389 Directory Server.
        (UNWILLING_TO_PERFORM, _) => Err(LoginError::Disabled),
        (CONSTRAINT_VIOLATION, _) => Err(LoginError::Locked),
        _ => Err(of_code("log in", outcome)),
    }
}

/// How the bind of the service account ended.
pub(super) fn of_service(outcome: &Outcome) -> Result<(), LoginError> {
    match outcome.code {
        SUCCESS => Ok(()),
        NO_SUCH_OBJECT
        | INVALID_DN_SYNTAX
        | INAPPROPRIATE_AUTHENTICATION
        | INVALID_CREDENTIALS
        | UNWILLING_TO_PERFORM
        | CONSTRAINT_VIOLATION => {
            let Outcome { code, text } = outcome;
            let message = format!("the service account is refused with code {code} {text:?}");
            Err(LoginError::Misconfigured(message))
        }
        _ => Err(of_code("bind the service account", outcome)),
    }
}

/// Why there is no answer to a request that has nothing to do with a password.
pub(super) fn of_failure(step: &'static str, failure: Failure) -> LoginError {
    match failure {
        Failure::Refused(outcome) => of_code(step, &outcome),
        failure => unavailable(step, &failure),
    }
}

fn of_code(step: &'static str, outcome: &Outcome) -> LoginError {
    let Outcome { code, text } = outcome;
    match *code {
        STRONGER_AUTH_REQUIRED | CONFIDENTIALITY_REQUIRED => {
            let message = format!("the directory wants tls or starttls (code {code} {text:?})");
            LoginError::Misconfigured(message)
        }
        NO_SUCH_OBJECT | INVALID_DN_SYNTAX | INSUFFICIENT_ACCESS_RIGHTS => {
            let message = format!("cannot {step}: refused with code {code} {text:?}");
            LoginError::Misconfigured(message)
        }
        _ => unavailable(step, &Failure::Refused(outcome.clone())),
    }
}

fn unavailable(step: &'static str, reason: &dyn std::fmt::Display) -> LoginError {
    let reason = reason.to_string();
    LoginError::Unavailable { step, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(dialect: Dialect, code: u32, text: &str, error: Option<u8>) -> String {
        let mut control = password_policy::request();
        control.value = error.map(|error| vec![0x30, 3, 0x81, 1, error]);
        let text = text.to_owned();
        match of_person(dialect, &Outcome { code, text }, &[control]) {
            Ok(()) => "welcome".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn a_password_policy_tells_refusals_apart() {
        let told = |code, error| person(Dialect::OpenLdap, code, "", error);
        assert_eq!(told(0, None), "welcome");
        assert_eq!(told(0, Some(2)), "MustChangePassword");
        assert_eq!(told(49, None), "Wrong");
        assert_eq!(told(49, Some(0)), "PasswordExpired");
        assert_eq!(told(49, Some(1)), "Locked");
        assert_eq!(told(49, Some(2)), "MustChangePassword");
        assert_eq!(told(32, None), "Wrong");
        assert_eq!(told(48, None), "Wrong");
        assert_eq!(told(53, None), "Disabled");
        assert_eq!(told(19, None), "Locked");
        assert!(told(51, None).starts_with("Unavailable"));
        assert!(told(13, None).starts_with("Misconfigured"));
    }

    #[test]
    fn active_directory_tells_refusals_apart_by_its_text() {
        let told = |text| person(Dialect::ActiveDirectory, 49, text, Some(1));
        assert_eq!(told("AcceptSecurityContext error, data 52e, v"), "Wrong");
        assert_eq!(told("AcceptSecurityContext error, data 533, v"), "Disabled");
        assert_eq!(told("AcceptSecurityContext error, data 775, v"), "Locked");
        // OpenLDAP's text is not a code.
        assert_eq!(person(Dialect::OpenLdap, 49, "data 533", None), "Wrong");
    }

    #[test]
    fn what_an_administrator_must_mend_is_told_from_what_passes() {
        let told = |code| {
            of_service(&Outcome {
                code,
                text: String::new(),
            })
        };
        assert!(told(0).is_ok());
        for code in [8, 13, 32, 34, 48, 49, 50, 53] {
            let error = told(code).unwrap_err();
            assert!(
                matches!(error, LoginError::Misconfigured(_)),
                "{code}: {error}"
            );
        }
        for code in [1, 3, 51, 52, 80, 4096] {
            let error = told(code).unwrap_err();
            assert!(
                matches!(error, LoginError::Unavailable { .. }),
                "{code}: {error}"
            );
        }
        let stronger = told(8).unwrap_err().to_string();
        assert!(stronger.contains("tls or starttls"), "{stronger}");
    }
}

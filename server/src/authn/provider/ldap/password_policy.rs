//! What a password policy says of a bind (draft-behera-ldap-password-policy, section 6).

use super::ber::{self, Malformed, Reader, SEQUENCE};
use super::message::Control;

const OID: &str = "1.3.6.1.4.1.42.2.27.8.5.1";
const WARNING: u8 = 0xa0;
const ERROR: u8 = 0x81;

/// Why a bind is refused, or good for a change of the password only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    PasswordExpired,
    AccountLocked,
    ChangeAfterReset,
}

/// Asks for the verdict.
pub(super) fn request() -> Control {
    Control {
        oid: OID.to_owned(),
        value: None,
    }
}

/// The verdict beside an answer.
pub(super) fn verdict(controls: &[Control]) -> Result<Option<Verdict>, Malformed> {
    let control = controls.iter().find(|control| control.oid == OID);
    let Some(value) = control.and_then(|control| control.value.as_deref()) else {
        return Ok(None);
    };
    let mut value = Reader::new(value).inside(SEQUENCE)?;
    value.optional(WARNING)?;
    let Some(error) = value.optional(ERROR)? else {
        return Ok(None);
    };
    Ok(match ber::number(error)? {
        0 => Some(Verdict::PasswordExpired),
        1 => Some(Verdict::AccountLocked),
        2 => Some(Verdict::ChangeAfterReset),
        // The others are about new passwords.
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &[u8]) -> Result<Option<Verdict>, Malformed> {
        let mut control = request();
        control.value = Some(value.to_vec());
        verdict(&[control])
    }

    #[test]
    fn the_verdict_stands_behind_the_warning() {
        assert_eq!(verdict(&[]), Ok(None));
        assert_eq!(verdict(&[request()]), Ok(None));
        assert_eq!(said(&[0x30, 0]), Ok(None));
        assert_eq!(
            said(&[0x30, 3, 0x81, 1, 0]),
            Ok(Some(Verdict::PasswordExpired))
        );
        assert_eq!(
            said(&[0x30, 3, 0x81, 1, 1]),
            Ok(Some(Verdict::AccountLocked))
        );
        // Two seconds are left, and the password must be changed.
        let warned = [0x30, 8, 0xa0, 3, 0x80, 1, 2, 0x81, 1, 2];
        assert_eq!(said(&warned), Ok(Some(Verdict::ChangeAfterReset)));
        assert_eq!(said(&[0x30, 3, 0x81, 1, 6]), Ok(None));
        assert!(said(&[0x30, 9, 0x81, 1, 1]).is_err());
    }
}

//! What only Active Directory does: security identifiers, why a bind is refused, GUIDs.

use super::super::LoginError;

/// The matching rule that follows memberships of groups in groups.
pub(super) const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

/// A security identifier as text, `S-1-5-21-…` (MS-DTYP, sections 2.4.2.1 and 2.4.2.2).
pub(super) fn sid(bytes: &[u8]) -> Option<String> {
    let (header, authorities) = bytes.split_at_checked(8)?;
    let [1, count, authority @ ..] = header else {
        return None;
    };
    let authorities: Vec<_> = authorities.chunks(4).collect();
    if *count > 15 || authorities.len() != usize::from(*count) {
        return None;
    }
    let authority = (authority.iter()).fold(0_u64, |all, &byte| (all << 8) | u64::from(byte));
    let mut text = format!("S-1-{authority}");
    for authority in authorities {
        let authority = u32::from_le_bytes(authority.try_into().ok()?);
        text.push_str(&format!("-{authority}"));
    }
    Some(text)
}

/// A GUID as text (MS-DTYP, section 2.3.4): its first three parts are stored backwards.
pub(super) fn guid(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    let part = |from: usize, to: usize| hex::encode(&bytes[from..to]);
    let backwards = |from: usize, to: usize| {
        let part: Vec<u8> = bytes[from..to].iter().rev().copied().collect();
        hex::encode(part)
    };
    let (one, two, three) = (backwards(0, 4), backwards(4, 6), backwards(6, 8));
    Some(format!(
        "{one}-{two}-{three}-{}-{}",
        part(8, 10),
        part(10, 16)
    ))
}

/// Why a bind is refused, of the text beside code 49:
/// `80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data 52e, v3839`.
/// The number is a Windows error code in hexadecimal.
pub(super) fn refusal(text: &str) -> LoginError {
    let data = text.split_once("data ").map_or("", |(_, rest)| rest);
    let end = data.find(|character: char| !character.is_ascii_hexdigit());
    match &data[..end.unwrap_or(data.len())] {
        // Not at this time, not from here.
        "530" | "531" => LoginError::NotAllowed,
        "532" => LoginError::PasswordExpired,
        "533" | "701" => LoginError::Disabled,
        "773" => LoginError::MustChangePassword,
        "775" => LoginError::Locked,
        _ => LoginError::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sid_is_written_as_windows_does() {
        let users = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x21, 2, 0, 0];
        assert_eq!(sid(&users).as_deref(), Some("S-1-5-32-545"));
        assert_eq!(sid(&[1, 0, 0, 0, 0, 0, 0, 1]).as_deref(), Some("S-1-1"));
        // Too short, another revision, more or fewer parts than it says.
        for wrong in [&users[..7], &users[..15], &[2, 0, 0, 0, 0, 0, 0, 1][..]] {
            assert_eq!(sid(wrong), None, "{wrong:?}");
        }
        let mut more = users;
        more[1] = 3;
        assert_eq!(sid(&more), None);
    }

    #[test]
    fn a_guid_is_written_as_windows_does() {
        let bytes: Vec<u8> = (0..16).collect();
        let text = "03020100-0504-0706-0809-0a0b0c0d0e0f";
        assert_eq!(guid(&bytes).as_deref(), Some(text));
        assert_eq!(guid(&bytes[..15]), None);
    }

    #[test]
    fn refusals_are_told_by_their_number() {
        let text = |data: &str| {
            refusal(&format!(
                "80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data \
                 {data}, v3839"
            ))
        };
        assert!(matches!(text("52e"), LoginError::Wrong));
        assert!(matches!(text("525"), LoginError::Wrong));
        assert!(matches!(text("532"), LoginError::PasswordExpired));
        assert!(matches!(text("533"), LoginError::Disabled));
        assert!(matches!(text("701"), LoginError::Disabled));
        assert!(matches!(text("773"), LoginError::MustChangePassword));
        assert!(matches!(text("775"), LoginError::Locked));
        assert!(matches!(text("530"), LoginError::NotAllowed));
        // Of a longer number the beginning means nothing.
        assert!(matches!(text("5330"), LoginError::Wrong));
        assert!(matches!(refusal("data "), LoginError::Wrong));
        assert!(matches!(refusal(""), LoginError::Wrong));
    }

    proptest! {
        #[test]
        fn anything_may_come(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            refusal(&text);
            refusal(&format!("data {text}"));
            sid(&bytes);
            guid(&bytes);
        }
    }
}

//! Logins of command lines through a browser, after RFC 8628 with a verifier as in PKCE.
//!
//! A program begins a login and shows a code; somebody who is logged in in a browser looks whether it is
//! the same code there, and confirms. Only the program that began it gets the token: it has the device
//! code, and the verifier whose hash it gave. Nothing of this is kept beyond ten minutes or a restart.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::authn::{Identity, SecretHash, new_secret};
use crate::edge::whose;
use crate::random;

/// How long a login waits for its confirmation.
pub(crate) const GOOD_FOR: SignedDuration = SignedDuration::from_mins(10);

/// How often a program may ask whether it is confirmed.
pub(crate) const INTERVAL: SignedDuration = SignedDuration::from_secs(1);

/// How many wait at once, and how many of them from one address.
const MAX_WAITING: usize = 1000;
const MAX_WAITING_OF_ADDRESS: usize = 20;

/// How many codes somebody may look up at once; then one every so often.
const LOOKS: (u32, Duration) = (10, Duration::from_secs(6));

/// Letters that are not taken for others and make no words (RFC 8628, section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// The longest description of a program, in characters.
const MAX_DESCRIPTION: usize = 128;

/// Logins that wait.
#[derive(Debug)]
pub struct DeviceLogins {
    waiting: Mutex<HashMap<SecretHash, Waiting>>,
    looks: DefaultKeyedRateLimiter<String>,
}

#[derive(Debug)]
struct Waiting {
    shown: Shown,
    challenge: Vec<u8>,
    asked_at: Option<Timestamp>,
    decided: Option<Decided>,
}

/// What somebody who confirms is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) user_code: String,
    /// What the program says that it is.
    pub(crate) description: String,
    pub(crate) from: IpAddr,
    pub(crate) begun_at: Timestamp,
}

#[derive(Clone, Debug)]
enum Decided {
    Approved(Approval),
    Denied,
}

/// Who confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Approval {
    pub(crate) user: String,
    pub(crate) username: String,
    pub(crate) provider: String,
    pub(crate) principal: String,
    pub(crate) description: String,
}

/// A login that begins.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
}

/// What a program is told that asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nobody has decided yet.
    Wait,
    /// To be logged in as this user. Told once.
    Approved(Approval),
    /// Refused by a person. Told once.
    Denied,
}

/// It cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("codeChallenge must be the SHA-256 of the verifier in base64url, 43 characters")]
    Challenge,
    #[error("there is no such login, or it has ended; begin again")]
    Unknown,
    #[error("somebody has decided about this login already")]
    Decided,
    #[error("too many logins wait to be confirmed; try again later")]
    TooMany,
    #[error("too many codes were tried; wait before the next")]
    TooManyLooks,
    #[error("asked too often; wait a second in between")]
    TooOften,
}

impl Default for DeviceLogins {
    fn default() -> Self {
        let (burst, every) = LOOKS;
        let quota = Quota::with_period(every).expect("the period above is not zero");
        let quota = quota.allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        Self {
            waiting: Mutex::default(),
            looks: RateLimiter::keyed(quota),
        }
    }
}

impl DeviceLogins {
    /// Begins a login. `challenge` is the hash of the program's verifier.
    ///
    /// # Errors
    /// When the challenge is no hash, or too many wait.
    pub(crate) fn begin(
        &self,
        challenge: &str,
        description: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Begun, DeviceError> {
        let challenge = URL_SAFE_NO_PAD.decode(challenge).unwrap_or_default();
        if challenge.len() != 32 {
            return Err(DeviceError::Challenge);
        }
        let from = from.to_canonical();
        let mut waiting = self.waiting(now);
        let same = |one: &&Waiting| whose(one.shown.from) == whose(from);
        let of_address = waiting.values().filter(same);
        if waiting.len() >= MAX_WAITING || of_address.count() >= MAX_WAITING_OF_ADDRESS {
            return Err(DeviceError::TooMany);
        }
        let mut user_code = user_code();
        while waiting.values().any(|one| one.shown.user_code == user_code) {
            user_code = self::user_code();
        }
        let shown = Shown {
            user_code: user_code.clone(),
            description: printable(description),
            from,
            begun_at: now,
        };
        let device_code = new_secret();
        let new = Waiting {
            shown,
            challenge,
            asked_at: None,
            decided: None,
        };
        waiting.insert(SecretHash::of(&device_code), new);
        Ok(Begun {
            device_code,
            user_code,
        })
    }

    /// The login with that code, for somebody who is to confirm it.
    ///
    /// # Errors
    /// When there is none, or who asks has tried too many.
    pub(crate) fn look(
        &self,
        who: &Identity,
        user_code: &str,
        now: Timestamp,
    ) -> Result<Shown, DeviceError> {
        self.limit(who)?;
        let mut waiting = self.waiting(now);
        let found = find(&mut waiting, user_code)?;
        Ok(found.shown.clone())
    }

    /// Confirms or refuses the login with that code.
    ///
    /// # Errors
    /// As [`Self::look`], and when it was decided before.
    pub(crate) fn decide(
        &self,
        who: &Identity,
        user_code: &str,
        approve: bool,
        now: Timestamp,
    ) -> Result<Shown, DeviceError> {
        self.limit(who)?;
        let mut waiting = self.waiting(now);
        let found = find(&mut waiting, user_code)?;
        found.decided = Some(match approve {
            false => Decided::Denied,
            true => Decided::Approved(Approval {
                user: who.user.to_string(),
                username: who.username.clone(),
                provider: who.provider.clone(),
                principal: who.principal.clone(),
                description: found.shown.description.clone(),
            }),
        });
        Ok(found.shown.clone())
    }

    /// What is told the program with that device code and that verifier. A wrong verifier ends the login.
    ///
    /// # Errors
    /// When there is no such login, or it asks too often.
    pub(crate) fn ask(
        &self,
        device_code: &str,
        verifier: &str,
        now: Timestamp,
    ) -> Result<Told, DeviceError> {
        let key = SecretHash::of(device_code);
        let mut waiting = self.waiting(now);
        let found = waiting.get_mut(&key).ok_or(DeviceError::Unknown)?;
        let proof = Sha256::digest(verifier.as_bytes());
        if !bool::from(proof.as_slice().ct_eq(&found.challenge)) {
            waiting.remove(&key);
            return Err(DeviceError::Unknown);
        }
        let asked_at = found.asked_at.replace(now);
        if asked_at.is_some_and(|then| now.duration_since(then) < INTERVAL) {
            return Err(DeviceError::TooOften);
        }
        match found.decided.clone() {
            None => Ok(Told::Wait),
            Some(decided) => {
                waiting.remove(&key);
                Ok(match decided {
                    Decided::Approved(approval) => Told::Approved(approval),
                    Decided::Denied => Told::Denied,
                })
            }
        }
    }

    fn limit(&self, who: &Identity) -> Result<(), DeviceError> {
        if self.looks.len() > MAX_WAITING {
            self.looks.retain_recent();
        }
        let allowed = self.looks.check_key(&who.user.to_string());
        allowed.map_err(|_| DeviceError::TooManyLooks)
    }

    /// Those that have not ended.
    fn waiting(&self, now: Timestamp) -> MutexGuard<'_, HashMap<SecretHash, Waiting>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, one| now.duration_since(one.shown.begun_at) < GOOD_FOR);
        waiting
    }
}

fn find<'a>(
    waiting: &'a mut HashMap<SecretHash, Waiting>,
    user_code: &str,
) -> Result<&'a mut Waiting, DeviceError> {
    let mut all = waiting.values_mut();
    let found = all.find(|one| one.shown.user_code == user_code);
    let found = found.ok_or(DeviceError::Unknown)?;
    match found.decided {
        Some(_) => Err(DeviceError::Decided),
        None => Ok(found),
    }
}

/// Eight letters: 34 bits, of which somebody may try ten a minute.
fn user_code() -> String {
    let mut code = String::with_capacity(9);
    while code.len() < 9 {
        if code.len() == 4 {
            code.push('-');
        }
        let mut byte = [0];
        random::fill(&mut byte);
        // Each letter is as likely as any other.
        if let Some(letter) = (byte[0] < 240).then(|| LETTERS[usize::from(byte[0]) % LETTERS.len()])
        {
            code.push(char::from(letter));
        }
    }
    code
}

fn printable(text: &str) -> String {
    let printable = text.chars().filter(|one| !one.is_control());
    printable.take(MAX_DESCRIPTION).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    fn challenge(verifier: &str) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
    }

    fn begun(logins: &DeviceLogins) -> Begun {
        let begun = logins.begin(&challenge("verifier"), "a\u{202}\nlaptop", HERE, NOW);
        begun.unwrap()
    }

    fn ann() -> Identity {
        Identity::for_test("u-ann", false, None)
    }

    #[test]
    fn who_began_is_logged_in_once_as_who_confirmed() {
        let logins = DeviceLogins::default();
        let begun = begun(&logins);
        let ask = |seconds| logins.ask(&begun.device_code, "verifier", after(seconds));
        assert_eq!(ask(1), Ok(Told::Wait));
        assert_eq!(ask(1), Err(DeviceError::TooOften));
        let shown = logins.look(&ann(), &begun.user_code, after(2)).unwrap();
        assert_eq!(shown.user_code, begun.user_code);
        assert_eq!(ask(3), Ok(Told::Wait), "to look is not to confirm");
        let decide = |approve| logins.decide(&ann(), &begun.user_code, approve, after(4));
        decide(true).unwrap();
        assert_eq!(decide(false), Err(DeviceError::Decided));
        let Ok(Told::Approved(approval)) = ask(5) else {
            panic!("it is confirmed");
        };
        assert_eq!(approval.user, "u-ann");
        assert_eq!(ask(7), Err(DeviceError::Unknown), "told once");
    }

    #[test]
    fn who_refuses_ends_it() {
        let logins = DeviceLogins::default();
        let begun = begun(&logins);
        logins.decide(&ann(), &begun.user_code, false, NOW).unwrap();
        let ask = |seconds| logins.ask(&begun.device_code, "verifier", after(seconds));
        assert_eq!(ask(1), Ok(Told::Denied));
        assert_eq!(ask(3), Err(DeviceError::Unknown));
    }

    #[test]
    fn a_wrong_verifier_has_one_try() {
        let logins = DeviceLogins::default();
        let begun = begun(&logins);
        logins.decide(&ann(), &begun.user_code, true, NOW).unwrap();
        for verifier in ["wrong", "verifier"] {
            let asked = logins.ask(&begun.device_code, verifier, after(1));
            assert_eq!(asked, Err(DeviceError::Unknown), "{verifier}");
        }
    }

    #[test]
    fn codes_end_and_cannot_be_guessed_on_and_on() {
        let logins = DeviceLogins::default();
        let begun = begun(&logins);
        let late = NOW + GOOD_FOR;
        let looked = logins.look(&ann(), &begun.user_code, late);
        assert_eq!(looked, Err(DeviceError::Unknown));
        let asked = logins.ask(&begun.device_code, "verifier", late);
        assert_eq!(asked, Err(DeviceError::Unknown));
        let mut tries = (0..12).map(|_| logins.look(&ann(), "BBBB-BBBB", NOW));
        assert!(tries.any(|tried| tried == Err(DeviceError::TooManyLooks)));
    }

    #[test]
    fn one_address_does_not_fill_the_server() {
        let logins = DeviceLogins::default();
        for _ in 0..MAX_WAITING_OF_ADDRESS {
            begun(&logins);
        }
        let more = |from: [u8; 4]| logins.begin(&challenge("v"), "", from.into(), NOW);
        assert_eq!(more([127, 0, 0, 1]).unwrap_err(), DeviceError::TooMany);
        assert!(more([10, 0, 0, 1]).is_ok());
        // Whoever has one address of an IPv6 network has all of it.
        let of_network = |last: u16| {
            let from = std::net::Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
            logins.begin(&challenge("v"), "", from.into(), NOW)
        };
        assert!((0..200).any(|last| of_network(last).is_err()));
        for wrong in ["", "short", "§", &"A".repeat(44)] {
            let refused = logins.begin(wrong, "", HERE, after(700));
            assert_eq!(refused.unwrap_err(), DeviceError::Challenge);
        }
    }

    #[test]
    fn a_code_is_eight_letters() {
        for _ in 0..100 {
            let code = user_code();
            let (one, other) = code.split_once('-').unwrap();
            assert!(one.len() == 4 && other.len() == 4, "{code}");
            let known = |letter: &u8| *letter == b'-' || LETTERS.contains(letter);
            assert!(code.as_bytes().iter().all(known), "{code}");
        }
        assert_eq!(printable("a\r\nb\u{7f}"), "ab");
    }
}

//! Passwords: argon2id, off the runtime's threads, few at a time.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use lariat_api::UserId;
use secrecy::{ExposeSecret, SecretString};
use store::Op;
use tokio::sync::Semaphore;

/// Hashes are kept under this and the id of the user, apart from the User objects, so that nobody
/// who may read those sees them.
pub(crate) const PASSWORDS: &str = "/passwords/";

/// How many hashes are computed at once. Each takes 19 MiB and about 20 ms of a core.
const AT_ONCE: usize = 2;

/// Hashes and checks passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
}

/// Checked when there is no user, so that it takes as long as when there is one. Random bytes: nobody
/// knows a password of this hash, and who did would not get in with it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$6+TbLuto6WGMy+tztEgRXg$1+vJBSgV4n99sgXa1MXlgOpEUt1bwOoN8wUkclI1f8E";

/// A password cannot be hashed or checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot compute the hash of a password: {0}")]
pub struct PasswordError(String);

impl Default for Passwords {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Passwords {
    /// The operation that sets the password of a user.
    ///
    /// # Errors
    /// When the system has no randomness or memory for it.
    pub async fn set(&self, user: &UserId, password: SecretString) -> Result<Op, PasswordError> {
        let hash = self.blocking(move || hash(&password)).await??;
        Ok(Op::Put {
            key: format!("{PASSWORDS}{user}").into(),
            value: hash.into(),
        })
    }

    /// The operation that forgets the password of a user.
    #[must_use]
    pub fn forget(user: &str) -> Op {
        Op::Delete {
            key: format!("{PASSWORDS}{user}").into(),
        }
    }

    /// Whether a password has that hash. Without a hash the answer is no, after the same time.
    ///
    /// # Errors
    /// When the hash cannot be computed.
    pub async fn check(
        &self,
        hash: Option<Arc<str>>,
        password: SecretString,
    ) -> Result<bool, PasswordError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.into());
        let matches = self.blocking(move || matches(&hash, &password)).await??;
        Ok(matches && known)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let failed = |error: &dyn std::fmt::Display| PasswordError(error.to_string());
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|error| failed(&error))?;
        let computed = tokio::task::spawn_blocking(move || {
            let computed = compute();
            drop(permit);
            computed
        });
        computed.await.map_err(|error| failed(&error))
    }
}

fn hash(password: &SecretString) -> Result<String, PasswordError> {
    let hash: Result<PasswordHash, _> =
        Argon2::default().hash_password(password.expose_secret().as_bytes());
    match hash {
        Ok(hash) => Ok(hash.to_string()),
        Err(error) => Err(PasswordError(error.to_string())),
    }
}

fn matches(hash: &str, password: &SecretString) -> Result<bool, PasswordError> {
    use argon2::password_hash::Error;

    let hash = PasswordHash::new(hash).map_err(|error| PasswordError(error.to_string()))?;
    match Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(PasswordError(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let passwords = Passwords::default();
        let user: UserId = "u-1".parse().unwrap();
        let Op::Put { value, .. } = passwords.set(&user, "correct horse".into()).await.unwrap()
        else {
            panic!("a password is put");
        };
        let hash: Arc<str> = std::str::from_utf8(&value).unwrap().into();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(
            passwords
                .check(Some(hash.clone()), "correct horse".into())
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .check(Some(hash), "wrong horse".into())
                .await
                .unwrap()
        );
        assert!(!passwords.check(None, "correct horse".into()).await.unwrap());
    }

    #[test]
    fn nobody_takes_as_long_as_somebody() {
        let somebody = hash(&"correct horse".into()).unwrap();
        let shape = |hash: &str| {
            let parts: Vec<_> = hash.split('$').map(str::to_owned).collect();
            (parts[..4].to_vec(), parts[4].len(), parts[5].len())
        };
        assert_eq!(shape(&somebody), shape(NOBODY));
        assert_eq!(matches(NOBODY, &"correct horse".into()), Ok(false));
    }
}

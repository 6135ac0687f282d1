//! Who makes a request: bearer tokens, passwords, and the directory that knows both.

mod directory;
mod identity;
mod last_used;
mod password;
mod secret;
mod token;

pub use directory::{Directory, TokenError};
pub use identity::Identity;
pub(crate) use last_used::keep as keep_last_used;
pub(crate) use password::PASSWORDS;
pub use password::{PasswordError, Passwords};
pub use secret::{SecretHash, new_secret};
pub use token::{Bearer, TokenRecord};

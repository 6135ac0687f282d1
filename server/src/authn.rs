//! Who makes a request: bearer tokens, sessions of browsers, passwords, the directory that knows both, and the providers
//! that prove who logs in.

mod directory;
mod identity;
mod last_used;
mod password;
pub mod provider;
mod secret;
pub(crate) mod session;
mod token;

pub use directory::{Directory, TokenError};
pub use identity::Identity;
pub(crate) use last_used::keep as keep_last_used;
pub(crate) use password::PASSWORDS;
pub use password::{PasswordError, Passwords};
pub use secret::{SecretHash, new_secret};
pub use token::{Bearer, TokenRecord};

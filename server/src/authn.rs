//! Who makes a request: bearer tokens, passwords, and the directory that knows both.

mod directory;
mod identity;
mod password;
mod secret;
mod token;

pub use directory::{Directory, TokenError};
pub use identity::Identity;
pub use password::{PasswordError, Passwords};
pub use secret::{SecretHash, new_secret};
pub use token::{Bearer, TokenRecord};

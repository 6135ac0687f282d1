//! The first administrator.

use lariat_api::{User, UserId};
use secrecy::{ExposeSecret, SecretString};

use crate::authn::{Directory, Passwords, new_secret};
use crate::config::{BootstrapPassword, Config};
use crate::management::claim;
use crate::objects::{Objects, random_bits, revision_of};

/// Name used to log in.
pub const USERNAME: &str = "admin";

/// Makes the first administrator if there is no user yet. Returns the password if it was made up,
/// to be shown once.
///
/// # Errors
/// When the password cannot be read or breaks a rule, or the store fails.
pub async fn administrator(
    config: &Config,
    objects: &Objects,
    directory: &Directory,
    passwords: &Passwords,
) -> anyhow::Result<Option<SecretString>> {
    use anyhow::Context;

    if directory.has_users() {
        return Ok(None);
    }
    let (password, made_up) = match &config.bootstrap_password {
        BootstrapPassword::Generate => (SecretString::from(new_secret()), true),
        BootstrapPassword::Given(password) => (password.clone(), false),
        BootstrapPassword::File(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            (
                SecretString::from(text.trim_end_matches(['\r', '\n'])),
                false,
            )
        }
    };
    User::check_new_password(password.expose_secret()).context("bootstrap password")?;
    let id = UserId::from_random(random_bits());
    let mut user = User::new(&id, USERNAME);
    user.display_name = "Default Admin".to_owned();
    user.administrator = true;
    user.must_change_password = false;
    let set_password = passwords.set(&id, password.clone()).await?;
    let made = objects
        .create_with(user, claim(USERNAME, vec![set_password]))
        .await?;
    directory.wait_for(revision_of(&made)?).await;
    Ok(made_up.then_some(password))
}

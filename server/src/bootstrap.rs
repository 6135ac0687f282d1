//! The first administrator.

use anyhow::Context as _;
use kube::api::{Api, PostParams};
use lariat_api::{User, UserId};
use secrecy::{ExposeSecret, SecretString};

use crate::authn::{Directory, new_secret};
use crate::config::{BootstrapPassword, Config};
use crate::random;

/// Name used to log in.
pub const USERNAME: &str = "admin";

/// Makes the first administrator if there is no user yet. Returns the password if it was made up,
/// to be shown once.
///
/// # Errors
/// When the password cannot be read or breaks a rule, or the store fails.
pub async fn administrator(
    client: &kube::Client,
    config: &Config,
    directory: &Directory,
) -> anyhow::Result<Option<SecretString>> {
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
    let mut user = User::new(&UserId::from_random(random::bits()), USERNAME);
    user.display_name = "Default Admin".to_owned();
    let label = (
        User::BOOTSTRAPPING_LABEL.to_owned(),
        "admin-user".to_owned(),
    );
    user.metadata.labels = Some([label].into());
    user.password = Some(password.expose_secret().to_owned());
    let users: Api<User> = Api::all(client.clone());
    let made = users.create(&PostParams::default(), &user).await;
    made.context("cannot make the first administrator")?;
    Ok(made_up.then_some(password))
}

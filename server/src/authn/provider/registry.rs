//! The login providers of the server: what their AuthConfigs say, as something that can be asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use apiserver::error::ApiError;
use http::StatusCode;
use lariat_api::{AuthConfig, AuthConfigType};
use secrecy::SecretString;
use store::{Revision, Store};
use url::Url;

use super::github::{self, Github};
use super::ldap::{Ldap, Settings};
use super::oidc::{self, Oidc};
use super::{AuthProvider, Local, LoginError, SettingsError};
use crate::authn::{Directory, Passwords};
use crate::clock::Clock;
use crate::management::kept_secret;

/// The login providers of the server.
#[derive(Debug)]
pub struct Providers {
    directory: Arc<Directory>,
    store: Arc<dyn Store>,
    local: Arc<Local>,
    clock: Clock,
    back: Url,
    made: Mutex<HashMap<AuthConfigType, Made>>,
}

/// One that was made, and of what.
#[derive(Debug)]
struct Made {
    version: Version,
    provider: Arc<dyn AuthProvider>,
}

/// Which settings, and which secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    uid: Option<String>,
    generation: Option<i64>,
    secret: Option<Revision>,
}

impl Providers {
    /// The accounts of `directory`, and the providers that it knows. Their secrets are in `store`. Browsers
    /// that were sent elsewhere come back to the server at `server_url`.
    #[must_use]
    pub fn new(
        directory: Arc<Directory>,
        passwords: Passwords,
        store: Arc<dyn Store>,
        clock: Clock,
        server_url: &Url,
    ) -> Self {
        let mut back = server_url.clone();
        back.set_path("verify-auth");
        Self {
            clock,
            back,
            local: Arc::new(Local::new(Arc::clone(&directory), passwords)),
            directory,
            store,
            made: Mutex::default(),
        }
    }

    /// Those by which people may log in, in the order of [`AuthConfigType::ALL`].
    #[must_use]
    pub fn enabled(&self) -> Vec<AuthConfigType> {
        let all = AuthConfigType::ALL.into_iter();
        let is_enabled = |type_: &AuthConfigType| {
            *type_ == AuthConfigType::Local || self.enabled_config(*type_).is_some()
        };
        all.filter(is_enabled).collect()
    }

    /// The settings of one by which people may log in, unless it is that of local accounts.
    #[must_use]
    pub fn enabled_config(&self, type_: AuthConfigType) -> Option<Arc<AuthConfig>> {
        let config = self.directory.auth_config(type_.name())?;
        (config.enabled && type_ != AuthConfigType::Local).then_some(config)
    }

    /// One of them.
    ///
    /// # Errors
    /// 404 when people may not log in by it, 500 when its settings cannot be used.
    pub async fn get(&self, type_: AuthConfigType) -> Result<Arc<dyn AuthProvider>, ApiError> {
        if type_ == AuthConfigType::Local {
            return Ok(Arc::clone(&self.local) as Arc<dyn AuthProvider>);
        }
        match self.enabled_config(type_) {
            Some(config) => self.of(&config).await,
            None => Err(not_enabled(type_)),
        }
    }

    /// The provider of these settings, which are stored, enabled or not.
    ///
    /// # Errors
    /// 500 when they cannot be used.
    pub async fn of(&self, config: &AuthConfig) -> Result<Arc<dyn AuthProvider>, ApiError> {
        let type_ = config.type_;
        let secret = self.secret(type_).await?;
        let (secret, revision) = secret.unzip();
        let version = Version {
            uid: config.metadata.uid.clone(),
            generation: config.metadata.generation,
            secret: revision,
        };
        if let Some(made) = self.made().get(&type_)
            && made.version == version
        {
            return Ok(Arc::clone(&made.provider));
        }
        let provider = self.make(config, secret.unwrap_or_default())?;
        let made = Made {
            version,
            provider: Arc::clone(&provider),
        };
        self.made().insert(type_, made);
        Ok(provider)
    }

    /// A provider of settings that need not be stored, with their secret.
    ///
    /// # Errors
    /// [`LoginError::Misconfigured`] when they cannot be used.
    pub fn make(
        &self,
        config: &AuthConfig,
        secret: SecretString,
    ) -> Result<Arc<dyn AuthProvider>, LoginError> {
        self.try_make(config, secret)
            .map_err(|error| LoginError::Misconfigured(error.to_string()))
    }

    fn try_make(
        &self,
        config: &AuthConfig,
        secret: SecretString,
    ) -> Result<Arc<dyn AuthProvider>, SettingsError> {
        use AuthConfigType::{
            ActiveDirectory, Github as GithubType, KeycloakOidc, Local, OpenLdap,
        };
        Ok(match config.type_ {
            Local => Arc::clone(&self.local) as Arc<dyn AuthProvider>,
            OpenLdap | ActiveDirectory => {
                let settings = Settings::of(config, secret);
                Arc::new(Ldap::new(settings.ok_or(SettingsError::Missing("type"))?)?)
            }
            GithubType => {
                let settings = github::Settings::new(config, secret, &self.back)?;
                Arc::new(Github::new(settings)?)
            }
            AuthConfigType::Oidc | KeycloakOidc => {
                let settings = oidc::Settings::new(config, secret)?;
                Arc::new(Oidc::new(settings, self.clock.clone())?)
            }
        })
    }

    /// The secret that is kept for a provider, and when it was written.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn secret(
        &self,
        type_: AuthConfigType,
    ) -> Result<Option<(SecretString, Revision)>, ApiError> {
        match type_.secret() {
            Some(field) => kept_secret(&*self.store, type_.name(), field).await,
            None => Ok(None),
        }
    }

    fn made(&self) -> std::sync::MutexGuard<'_, HashMap<AuthConfigType, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_enabled(type_: AuthConfigType) -> ApiError {
    let message = format!("login provider {:?} is not enabled", type_.name());
    ApiError::new(StatusCode::NOT_FOUND, "NotFound", message)
}

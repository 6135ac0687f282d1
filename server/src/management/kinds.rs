//! What is special about each kind when it is made, changed and deleted.

use std::future::Future;

use lariat_api::{
    Cluster, ClusterId, ClusterMember, ClusterRegistrationToken, ClusterRole, ClusterStatus, Kind,
    Setting, SettingSource, Token,
};
use store::{Revision, Txn};

use crate::authn::Identity;
use crate::authz::find_cluster;
use crate::edge::ApiError;
use crate::objects::{ObjectError, Objects, random_bits, revision_of};
use crate::state::App;
use crate::tokens::{self, NewToken};
use crate::{config::Config, edge::CertificateKeeper, registration};

/// How often another id is tried when a random one is taken.
const ATTEMPTS: usize = 5;

/// A kind of the management API as it is served.
pub(crate) trait Managed: Kind {
    /// The cluster that the object belongs to.
    fn cluster_id(&self) -> Option<ClusterId> {
        None
    }

    /// The id of the user that the object belongs to.
    fn owner(&self) -> Option<&str> {
        None
    }

    /// Fills in what depends on who creates the object, before it is authorised.
    fn prepare(&mut self, _who: &Identity) {}

    /// The object as it is shown.
    #[must_use]
    fn shown(self) -> Self {
        self
    }

    /// Makes the object.
    fn create(
        self,
        app: &App,
        _who: &Identity,
    ) -> impl Future<Output = Result<Self, ApiError>> + Send {
        async { Ok(app.objects.create(named(self)?).await?) }
    }

    /// Overwrites the object.
    fn update(
        self,
        app: &App,
        stored: &Self,
    ) -> impl Future<Output = Result<Self, ApiError>> + Send {
        async { Ok(app.objects.update(self, stored).await?) }
    }

    /// Deletes the object and what belongs to it. Returns the revision from which on it is gone.
    fn remove(&self, app: &App) -> impl Future<Output = Result<Revision, ApiError>> + Send {
        async { Ok(app.objects.delete(self, Txn::default()).await?) }
    }
}

impl Managed for Cluster {
    fn cluster_id(&self) -> Option<ClusterId> {
        self.name().parse().ok()
    }

    async fn create(mut self, app: &App, who: &Identity) -> Result<Self, ApiError> {
        self.status = Some(ClusterStatus {
            driver: "imported".to_owned(),
            ..ClusterStatus::default()
        });
        if !who.administrator && self.role_of(&who.user).is_none() {
            self.spec.members.push(ClusterMember {
                user_id: who.user.clone(),
                role: ClusterRole::Owner,
            });
        }
        if self.metadata.name.is_some() {
            return Ok(app.objects.create(with_display_name(self)).await?);
        }
        for _ in 0..ATTEMPTS {
            self.metadata.name = Some(ClusterId::from_random(random_bits()).to_string());
            match app.objects.create(with_display_name(self.clone())).await {
                Err(ObjectError::AlreadyExists(_)) => {}
                result => return Ok(result?),
            }
        }
        Err(ApiError::internal("no free id for a cluster"))
    }

    async fn remove(&self, app: &App) -> Result<Revision, ApiError> {
        let revision = app.objects.delete(self, Txn::default()).await?;
        registration::delete_all(app, self.name()).await?;
        Ok(revision)
    }
}

fn with_display_name(mut cluster: Cluster) -> Cluster {
    if cluster.spec.display_name.is_empty() {
        cluster.spec.display_name = cluster.name().to_owned();
    }
    cluster
}

impl Managed for ClusterRegistrationToken {
    fn cluster_id(&self) -> Option<ClusterId> {
        self.namespace().parse().ok()
    }

    async fn create(mut self, app: &App, _who: &Identity) -> Result<Self, ApiError> {
        let id = self
            .cluster_id()
            .ok_or_else(|| ApiError::invalid("metadata.namespace must be the id of a cluster"))?;
        find_cluster(app, &id)?;
        self.spec.cluster_name = id.to_string();
        if self.metadata.name.is_none() {
            self.metadata.name = Some(format!("crt-{:012x}", random_bits() & 0xffff_ffff_ffff));
        }
        let secret = registration::issue(&mut self, app.clock.now());
        let mut made = app.objects.create(named(self)?).await?;
        registration::show(app, &mut made, secret);
        Ok(made)
    }
}

impl Managed for Token {
    fn owner(&self) -> Option<&str> {
        Some(&self.user_id)
    }

    fn prepare(&mut self, who: &Identity) {
        if self.user_id.is_empty() {
            self.user_id = who.user.to_string();
        }
    }

    async fn create(self, app: &App, _who: &Identity) -> Result<Self, ApiError> {
        if self.metadata.name.is_some() {
            return Err(ApiError::invalid(
                "metadata.name: a token gets its name from the server",
            ));
        }
        if app.directory.user(&self.user_id).is_none() {
            return Err(ApiError::invalid(format!(
                "userId: no user {:?}",
                self.user_id
            )));
        }
        let new = NewToken {
            user: self.user_id,
            description: self.description,
            ttl: self.ttl,
            cluster: self.cluster_name,
            derived: true,
            kubeconfig: false,
        };
        tokens::create(app, new).await
    }
}

impl Managed for Setting {
    async fn update(self, app: &App, stored: &Self) -> Result<Self, ApiError> {
        if stored.source == SettingSource::Config {
            let message =
                "this setting comes from the configuration of the server; change it there";
            return Err(ApiError::forbidden(message));
        }
        Ok(app.objects.update(self, stored).await?)
    }
}

/// An object that has a name.
pub(super) fn named<K: Kind>(object: K) -> Result<K, ApiError> {
    let name = object.name();
    let good =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if name.is_empty() {
        return Err(ApiError::invalid("metadata.name: is needed"));
    }
    if name.len() > 253 || !name.bytes().all(good) || name.starts_with(['-', '.']) {
        let rule = "must consist of lower-case letters, digits, '-' and '.'";
        return Err(ApiError::invalid(format!(
            "metadata.name: {name:?} is not valid: {rule}"
        )));
    }
    Ok(object)
}

/// Shows as Settings what clients ask there: the server's URL, its CA and its version.
///
/// # Errors
/// When the store fails.
pub(crate) async fn settings(
    objects: &Objects,
    config: &Config,
    certificates: &CertificateKeeper,
) -> Result<Option<Revision>, ObjectError> {
    let url = config.server_url.as_str().trim_end_matches('/').to_owned();
    let mut last = None;
    for (name, value) in [
        ("cacerts", certificates.trusted().to_string()),
        ("server-url", url),
        ("server-version", format!("v{}", env!("CARGO_PKG_VERSION"))),
    ] {
        let mut setting = Setting {
            default: value.clone(),
            source: SettingSource::Config,
            ..Setting::default()
        };
        setting.metadata.name = Some(name.to_owned());
        let written = match objects.create(setting).await {
            Err(ObjectError::AlreadyExists(_)) => {
                let change = |setting: &mut Setting| {
                    let changed = setting.default != value;
                    setting.default.clone_from(&value);
                    changed
                };
                objects.modify::<Setting>("", name, change).await?
            }
            created => created?,
        };
        last = last.max(Some(revision_of(&written)?));
    }
    Ok(last)
}

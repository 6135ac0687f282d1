//! Building a server and running it until it is told to stop.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use apiserver::rbac::Rbac;
use apiserver::serve::{Authorizer, User};
use prometheus_client::registry::Registry;
use secrecy::SecretString;
use store::Store;
use telemetry::Exporter;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{AuditSink, Policy};
use crate::authn::provider::Providers;
use crate::authn::{Directory, Passwords, keep_last_used};
use crate::authz::{Guard, ManagementAuthorizer};
use crate::bootstrap;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::Control;
use crate::controllers::Controllers;
use crate::edge::{self, CertificateKeeper, ConnectionLimits};
use crate::encryption::Encryption;
use crate::expiry;
use crate::inactive_users;
use crate::kube_proxy;
use crate::logins::{self, DeviceLogins, Flows, Granting};
use crate::management;
use crate::metrics::Metrics;
use crate::norman::LoginLimits;
use crate::recordings::{self, Recordings};
use crate::state::App;
use crate::storage::{self, Storage};
use crate::traces;
use crate::tunnels::Tunnels;

/// A server that is built and bound, and not yet serving.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    limits: ConnectionLimits,
    tls: rustls::ServerConfig,
    made_up_password: Option<SecretString>,
    encryption: Encryption,
    control: Control,
    storage: Storage,
    exporter: Option<Exporter>,
}

impl Server {
    /// Opens the store, reads or makes certificates and the first administrator, and binds the
    /// listener. The server stops when `shutdown` is cancelled.
    ///
    /// # Errors
    /// When any of that fails.
    pub async fn bind(
        mut config: Config,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        storage::make_directory(&config)?;
        warn_if_readable_by_others(&config);
        let storage = storage::open(&config, shutdown.clone()).await?;
        let store = Arc::clone(&storage.store);
        let encryption = Encryption::open(&config, store, clock.now()).await?;
        let control = Control::listen(&config, encryption.clone(), clock.clone());
        let store: Arc<dyn Store> = Arc::new(encryption.store().clone());
        let listener = edge::listen(config.listen)
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        complete_url(&mut config, listener.local_addr()?);
        let policy = config.audit.policy.as_deref().map(Policy::load);
        let policy = policy.transpose()?.unwrap_or_default();
        let audit = AuditSink::open(&config.audit, policy, clock.clone()).await?;
        let certificates = Arc::new(CertificateKeeper::open(&config, clock.clone())?);
        let tls = edge::server_config(certificates.shown())?;
        let migrated = management::migrate(&*store, clock.now()).await;
        migrated.map_err(|error| anyhow!("cannot migrate the store: {}", error.message()))?;
        let directory = Arc::new(Directory::load(&*store, clock.clone()).await?);
        tokio::spawn(Arc::clone(&directory).follow(Arc::clone(&store)));
        let tunnels = Tunnels::open(
            &config.data_dir,
            config.limits.agent_handshakes,
            clock.now(),
        )?;
        let passwords = Passwords::default();
        let descriptors = edge::raise_file_limit();
        if descriptors < config.limits.connections {
            let allowed = config.limits.connections;
            tracing::warn!(
                allowed,
                descriptors,
                "connections are bounded by file descriptors"
            );
        }
        let limits = ConnectionLimits::new(
            config.limits.connections.min(descriptors),
            config.limits.connections_per_address,
        );
        let rbac = Rbac::load(&*store)
            .await?
            .with(Arc::<Directory>::clone(&directory));
        let authorizer: Arc<dyn Authorizer> = Arc::new(ManagementAuthorizer::new(
            Arc::clone(&directory),
            rbac.clone(),
        ));
        let context = management::Context {
            store: Arc::clone(&store),
            guard: Guard::new(
                Arc::clone(&directory),
                rbac.clone(),
                Arc::clone(&authorizer),
            ),
            directory: Arc::clone(&directory),
            passwords: passwords.clone(),
            certificates: Arc::clone(&certificates),
            server_url: config.server_url.clone(),
            clock: clock.clone(),
        };
        let stop = shutdown.clone();
        let api =
            management::start(context, rbac, Arc::clone(&authorizer), &config.limits, stop).await?;
        let own = management::client(&api, &User::server());
        let furnished = management::furnish(&api, &own, &config, &certificates);
        let administrator = bootstrap::administrator(&own, &config, &directory);
        let ((), made_up_password) = futures::try_join!(furnished, administrator)?;
        management::enforce_policies(&api, Arc::clone(&store)).await?;
        let recordings = Recordings::open(&config.recordings);
        let ended = recordings::end_interrupted(&own, &recordings).await;
        ended.context("cannot read the recordings of sessions")?;
        let metrics = Metrics::new(limits.clone(), audit.clone(), &api);
        metrics.register(|registry| recordings.register(registry));
        let proxy_limits = kube_proxy::Limits::new(config.limits.proxy);
        metrics.register(|registry| proxy_limits.register(registry));
        metrics.register(|registry| tunnels.register(registry));
        let journal = kube_proxy::Journal::default();
        metrics.register(|registry| journal.register(registry));
        let watches = kube_proxy::Watches::default();
        metrics.register(|registry| watches.register(registry));
        let login_limits = LoginLimits::new(config.limits.logins);
        metrics.register(|registry| login_limits.register(registry));
        let (traces, exporter) = traces::start(config.traces.as_ref(), &metrics)?;
        let providers = Providers::new(
            Arc::clone(&directory),
            passwords.clone(),
            Arc::clone(&store),
            clock.clone(),
            &config.server_url,
        );
        let app = Arc::new(App {
            metrics,
            config,
            clock,
            store,
            directory,
            authorizer,
            api,
            own,
            passwords,
            providers,
            login_limits,
            flows: Flows::default(),
            device_logins: DeviceLogins::default(),
            granting: Granting::default(),
            certificates,
            tunnels,
            proxy_limits,
            journal,
            watches,
            recordings,
            controllers: Controllers::default(),
            audit,
            traces,
            shutdown,
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let controllers = Box::new(app.controllers.clone());
        let counted = |metrics: &mut Registry| metrics.register_collector(controllers);
        app.metrics.register(counted);
        Ok(Self {
            app,
            listener,
            limits,
            tls,
            made_up_password,
            encryption,
            control,
            storage,
            exporter,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What its parts share.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The password of the first administrator, if it was made up just now.
    pub fn take_made_up_password(&mut self) -> Option<SecretString> {
        self.made_up_password.take()
    }

    /// Serves until told to stop and what is open has ended. Returns how many connections had to
    /// be cut.
    pub async fn run(self) -> usize {
        let app = self.app;
        management::tidy(&app.api);
        let keeping = [
            tokio::spawn(Arc::clone(&app.certificates).keep()),
            tokio::spawn(expiry::keep_swept(Arc::clone(&app))),
            tokio::spawn(inactive_users::keep_swept(Arc::clone(&app))),
            tokio::spawn(logins::keep_refreshed(Arc::clone(&app))),
            tokio::spawn(self.encryption.keep()),
            tokio::spawn(self.control.serve()),
            tokio::spawn(keep_last_used(Arc::clone(&app.directory), app.own.clone())),
        ];
        let served = CancellationToken::new();
        let exporting = (self.exporter).map(|exporter| tokio::spawn(exporter.run(served.clone())));
        let tls = TlsAcceptor::from(Arc::new(self.tls));
        let drain = app.config.drain_timeout;
        let cut = edge::serve(self.listener, tls, self.limits, Arc::clone(&app), drain).await;
        served.cancel();
        keeping.iter().for_each(tokio::task::JoinHandle::abort);
        self.storage.release().await;
        let audit = app.audit.clone();
        // Waits at most a second; there is nothing to be done about a failure now.
        let _ = tokio::task::spawn_blocking(move || audit.flush()).await;
        if let Some(exporting) = exporting {
            // Waits at most six.
            let _ = exporting.await;
        }
        cut
    }
}

/// A URL that was not given has the port that was really bound.
fn complete_url(config: &mut Config, bound: SocketAddr) {
    if config.server_url.port() == Some(0) {
        // Only URLs without a host refuse a port, and this one has one.
        let _ = config.server_url.set_port(Some(bound.port()));
    }
}

fn warn_if_readable_by_others(config: &Config) {
    let folder = &config.data_dir;
    let mode = std::fs::metadata(folder).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        tracing::warn!(folder = %folder.display(), "others can read the data directory");
    }
}

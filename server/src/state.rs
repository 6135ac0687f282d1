//! What all parts of the server share.

use std::sync::Arc;

use apiserver::serve::{ApiServer, Authorizer, User};
use store::Store;
use telemetry::Traces;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::AuditSink;
use crate::authn::provider::Providers;
use crate::authn::{Directory, Passwords};
use crate::clock::Clock;
use crate::config::Config;
use crate::controllers::Controllers;
use crate::edge::CertificateKeeper;
use crate::kube_proxy;
use crate::logins::{DeviceLogins, Flows, Granting};
use crate::management;
use crate::metrics::Metrics;
use crate::norman::LoginLimits;
use crate::recordings::Recordings;
use crate::tunnels::Tunnels;

/// What all parts of the server share.
pub struct App {
    /// What the operator decided. `server_url` is complete: port 0 is replaced by the real one.
    pub config: Config,
    /// What time it is.
    pub clock: Clock,
    /// Where everything is kept. Written through the management API.
    pub store: Arc<dyn Store>,
    /// Users, tokens and clusters in memory.
    pub directory: Arc<Directory>,
    /// Decides who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// The management API.
    pub api: Arc<ApiServer>,
    /// A client of it that acts as the server itself.
    pub own: kube::Client,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// Who proves who logs in.
    pub providers: Providers,
    /// How often somebody may try to log in.
    pub login_limits: LoginLimits,
    /// Logins that lead through another site.
    pub flows: Flows,
    /// Logins of command lines that wait to be confirmed.
    pub device_logins: DeviceLogins,
    /// Whose turn it is to use what login providers have granted.
    pub granting: Granting,
    /// The server's certificates.
    pub certificates: Arc<CertificateKeeper>,
    /// Sessions of agents.
    pub tunnels: Tunnels,
    /// How much goes to clusters.
    pub proxy_limits: kube_proxy::Limits,
    /// Requests that went to clusters lately.
    pub journal: kube_proxy::Journal,
    /// Watches of clusters.
    pub watches: kube_proxy::Watches,
    /// Where recordings of sessions in containers are.
    pub recordings: Recordings,
    /// What keeps connected clusters as the management API says.
    pub controllers: Controllers,
    /// Where audit lines go.
    pub audit: AuditSink,
    /// What the server counts.
    pub metrics: Metrics,
    /// Begins traces of requests.
    pub traces: Traces,
    /// Cancelled when the server was told to stop: no new work, what is open may end.
    pub shutdown: CancellationToken,
    /// Cancelled when the time to drain is over: what is open must end now.
    pub cut: CancellationToken,
    /// Tasks that belong to requests. The server waits for them when it stops.
    pub tasks: TaskTracker,
}

impl App {
    /// A Kubernetes client of the management API that acts as `user`, in process.
    #[must_use]
    pub fn client(&self, user: &User) -> kube::Client {
        management::client(&self.api, user)
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler.

use std::{net::IpAddr, path::PathBuf, process::Command, time::Duration};

use crate::{
    Result,
    https::Client,
    pki::{Identity, Subject},
    process::Process,
    site::Site,
};

const READY: Duration = Duration::from_secs(90);

/// Every answer is written down, but not what was in it.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted, Panic]
rules:
- level: Metadata
";

/// The running control plane of a cluster; fields are dropped, and so ended, in this order.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    _controllers: Option<Controllers>,
    pub api_server: Process,
    pub etcd: Process,
    pub client: Client,
    pub kubeconfig: PathBuf,
}

/// What acts on the objects of a cluster; dropped, and so ended, in this order.
#[derive(Debug)]
struct Controllers {
    _scheduler: Process,
    _controller_manager: Process,
}

impl ControlPlane {
    /// Starts it; without `controllers`, etcd and kube-apiserver alone.
    pub(crate) fn start(site: &Site, controllers: bool) -> Result<Self> {
        let admin = issue_identities(site)?;
        let kubeconfig =
            site.pki
                .write_kubeconfig("admin", &format!("https://{}", site.direct()), &admin)?;
        let client = Client::new(site.direct(), site.pki.authority(), &admin)?;
        let etcd = start_etcd(site)?;
        let api_server = start_api_server(site)?;
        // The controller-manager dies if it starts before the RBAC bootstrap is done.
        wait_for_ok(&api_server, &client, "/readyz")?;
        let controllers = controllers
            .then(|| Controllers::start(site, &client))
            .transpose()?;
        Ok(Self {
            _controllers: controllers,
            api_server,
            etcd,
            client,
            kubeconfig,
        })
    }
}

impl Controllers {
    fn start(site: &Site, client: &Client) -> Result<Self> {
        let controller_manager = start_controller_manager(site)?;
        let scheduler = start_scheduler(site)?;
        wait_for_ok(
            &controller_manager,
            client,
            "/api/v1/namespaces/default/serviceaccounts/default",
        )?;
        Ok(Self {
            _scheduler: scheduler,
            _controller_manager: controller_manager,
        })
    }
}

/// Waits until a path of the API server answers 200, or `process` ends.
pub(crate) fn wait_for_ok(process: &Process, client: &Client, path: &str) -> Result<String> {
    process.until(&format!("{path} of the API server"), READY, || {
        Ok(match client.get(path) {
            Ok(answer) if answer.status == 200 => Ok(answer.body),
            Ok(answer) => Err(format!("it answered {}", answer.status)),
            Err(error) => Err(error.to_string()),
        })
    })
}

fn issue_identities(site: &Site) -> Result<Identity> {
    let direct = site.direct().ip();
    let addresses: Vec<IpAddr> = ["127.0.0.1", "10.96.0.1"]
        .iter()
        .filter_map(|address| address.parse().ok())
        .chain([IpAddr::V4(site.advertised_address()), direct])
        .collect();
    let pki = &site.pki;
    pki.issue(
        "apiserver",
        &Subject {
            common_name: "kube-apiserver",
            names: &[
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ],
            addresses: &addresses,
            ..Subject::default()
        },
    )?;
    pki.make_service_account_key()?;
    pki.issue("front-proxy", &client("front-proxy-client", None))?;
    pki.issue(
        "apiserver-kubelet",
        &client("kube-apiserver-kubelet-client", Some("system:masters")),
    )?;
    for component in ["kube-controller-manager", "kube-scheduler"] {
        let user = format!("system:{component}");
        let identity = pki.issue(component, &client(&user, None))?;
        pki.write_kubeconfig(component, &site.local_url(), &identity)?;
    }
    let admin = pki.issue("admin", &client("kubernetes-admin", Some("system:masters")))?;
    pki.write_kubeconfig("local-admin", &site.local_url(), &admin)?;
    Ok(admin)
}

fn client<'a>(common_name: &'a str, organization: Option<&'a str>) -> Subject<'a> {
    Subject {
        common_name,
        organization,
        ..Subject::default()
    }
}

fn start_etcd(site: &Site) -> Result<Process> {
    let client = format!("http://127.0.0.1:{}", site.ports.etcd());
    let peer = format!("http://127.0.0.1:{}", site.ports.etcd_peer());
    let mut etcd = site.program("etcd")?;
    etcd.args(["--name", "default", "--log-level", "warn", "--data-dir"])
        .arg(site.folder.join("etcd"))
        .args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ])
        .args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ])
        .args(["--initial-cluster", &format!("default={peer}")]);
    site.start("etcd", &etcd)
}

pub(crate) fn start_api_server(site: &Site) -> Result<Process> {
    let file = |name: &str| site.pki.path(name).display().to_string();
    let (bind, reconciler) = if site.network.is_some() {
        ("0.0.0.0", "lease")
    } else {
        // The lease reconciler refuses a loopback address.
        ("127.0.0.1", "none")
    };
    let mut server = site.program("kube-apiserver")?;
    flags(
        &mut server,
        &[
            (
                "etcd-servers",
                &format!("http://127.0.0.1:{}", site.ports.etcd()),
            ),
            ("secure-port", &site.ports.api_server().to_string()),
            ("bind-address", bind),
            ("advertise-address", &site.advertised_address().to_string()),
            ("endpoint-reconciler-type", reconciler),
            ("client-ca-file", &file("ca.crt")),
            ("tls-cert-file", &file("apiserver.crt")),
            ("tls-private-key-file", &file("apiserver.key")),
            ("service-account-key-file", &file("service-accounts.pub")),
            (
                "service-account-signing-key-file",
                &file("service-accounts.key"),
            ),
            ("service-account-issuer", "https://kubernetes.default.svc"),
            ("service-cluster-ip-range", "10.96.0.0/16"),
            ("authorization-mode", "Node,RBAC"),
            ("enable-admission-plugins", "NodeRestriction"),
            ("kubelet-client-certificate", &file("apiserver-kubelet.crt")),
            ("kubelet-client-key", &file("apiserver-kubelet.key")),
            ("kubelet-certificate-authority", &file("ca.crt")),
            ("kubelet-preferred-address-types", "InternalIP"),
            ("requestheader-client-ca-file", &file("ca.crt")),
            ("requestheader-allowed-names", "front-proxy-client"),
            ("requestheader-username-headers", "X-Remote-User"),
            ("requestheader-group-headers", "X-Remote-Group"),
            ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            ("proxy-client-cert-file", &file("front-proxy.crt")),
            ("proxy-client-key-file", &file("front-proxy.key")),
            ("allow-privileged", "true"),
            ("profiling", "false"),
        ],
    );
    if site.token_webhook {
        let file = write_token_webhook(site)?;
        flags(
            &mut server,
            &[
                (
                    "authentication-token-webhook-config-file",
                    &file.display().to_string(),
                ),
                ("authentication-token-webhook-cache-ttl", "5s"),
            ],
        );
    }
    if site.audited {
        let policy = site.write("audit-policy.yaml", AUDIT_POLICY)?;
        flags(
            &mut server,
            &[
                ("audit-policy-file", &policy.display().to_string()),
                ("audit-log-path", &site.audit_log().display().to_string()),
            ],
        );
    }
    if site.constrained_impersonation {
        flags(
            &mut server,
            &[("feature-gates", "ConstrainedImpersonation=true")],
        );
    }
    if let Some(collector) = site.traces_to {
        let config = format!(
            "apiVersion: apiserver.config.k8s.io/v1beta1\n\
             kind: TracingConfiguration\n\
             endpoint: {collector}\n\
             samplingRatePerMillion: 1000000\n"
        );
        let file = site.write("tracing.yaml", &config)?;
        flags(
            &mut server,
            &[("tracing-config-file", &file.display().to_string())],
        );
    }
    site.start("kube-apiserver", &server)
}

/// Writes the kubeconfig with which the API server asks about tokens.
fn write_token_webhook(site: &Site) -> Result<PathBuf> {
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "webhook", "cluster": {
            "server": format!("http://{}/v1/authenticate", site.token_webhook_address()),
        }}],
        "users": [{"name": "webhook", "user": {}}],
        "contexts": [{"name": "webhook", "context": {"cluster": "webhook", "user": "webhook"}}],
        "current-context": "webhook",
    });
    site.write("token-webhook.kubeconfig", &config.to_string())
}

fn start_controller_manager(site: &Site) -> Result<Process> {
    let file = |name: &str| site.pki.path(name).display().to_string();
    let mut manager = site.program("kube-controller-manager")?;
    own_kubeconfig(&mut manager, &file("kube-controller-manager.kubeconfig"));
    flags(
        &mut manager,
        &[
            ("secure-port", &site.ports.controller_manager().to_string()),
            ("use-service-account-credentials", "true"),
            (
                "service-account-private-key-file",
                &file("service-accounts.key"),
            ),
            ("root-ca-file", &file("ca.crt")),
            ("cluster-signing-cert-file", &file("ca.crt")),
            ("cluster-signing-key-file", &file("ca.key")),
            // Large tests fill a cluster with thousands of pods.
            ("kube-api-qps", "300"),
            ("kube-api-burst", "600"),
        ],
    );
    site.start("kube-controller-manager", &manager)
}

fn start_scheduler(site: &Site) -> Result<Process> {
    let kubeconfig = site.pki.path("kube-scheduler.kubeconfig");
    let mut scheduler = site.program("kube-scheduler")?;
    own_kubeconfig(&mut scheduler, &kubeconfig.display().to_string());
    flags(
        &mut scheduler,
        &[("secure-port", &site.ports.scheduler().to_string())],
    );
    site.start("kube-scheduler", &scheduler)
}

/// What the controller-manager and the scheduler have in common.
fn own_kubeconfig(component: &mut Command, kubeconfig: &str) {
    flags(
        component,
        &[
            ("kubeconfig", kubeconfig),
            ("authentication-kubeconfig", kubeconfig),
            ("authorization-kubeconfig", kubeconfig),
            ("leader-elect", "false"),
            ("bind-address", "127.0.0.1"),
        ],
    );
}

/// Appends `--name=value` for each pair.
pub(crate) fn flags(command: &mut Command, flags: &[(&str, &str)]) {
    command.args(
        flags
            .iter()
            .map(|(name, value)| format!("--{name}={value}")),
    );
}

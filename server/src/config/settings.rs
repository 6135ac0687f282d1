//! All settings: how each is called, what it means, how its text becomes a value.

mod reader;
mod traces;

use url::Url;

use super::values::{
    count, duration, image, listen_address, log_filter, log_format, names, number, path, server_url,
};
use super::{Config, Limits, LoginBounds, Mistake, ProxyLimits, Sources};
use reader::Reader;
use traces::SETTINGS as TRACES;

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its name in the file and, after `--`, as a flag.
    pub(super) name: &'static str,
    /// The environment variable, where a standard has given it one. Otherwise it is `LARIAT_` and the
    /// name in capitals with underscores.
    pub(super) variable: Option<&'static str>,
    /// Shape of its value.
    pub(super) value: &'static str,
    /// The default, as it would be written. Empty: none.
    pub(super) default: &'static str,
    /// Whether it may be a flag. Secrets may not: other users of the machine can read flags.
    pub(super) flag: bool,
    /// What it means.
    pub(super) help: &'static str,
}

impl Setting {
    /// Its environment variable.
    pub(super) fn variable(&self) -> String {
        match self.variable {
            Some(variable) => variable.to_owned(),
            None => format!("LARIAT_{}", self.name.to_uppercase().replace('-', "_")),
        }
    }
}

/// All settings, in the order of the reference.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain(TRACES)
}

/// The setting of this name.
pub(super) fn named(name: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.name == name)
}

const fn setting(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        variable: None,
        value,
        default,
        flag: true,
        help,
    }
}

const SETTINGS: &[Setting] = &[
    setting(
        "data-dir",
        "DIRECTORY",
        "/var/lib/lariat",
        "Where the store, the private CA and its certificates are kept. Created, readable by its \
         owner alone, if it does not exist.",
    ),
    setting(
        "store",
        "redb|etcd",
        "redb",
        "Where the objects are kept: in a file in the data directory, or in an etcd. One server at a \
         time uses a store.",
    ),
    setting(
        "etcd-endpoints",
        "URL,…",
        "",
        "The client URLs of the members of the etcd, for example \
         `https://10.0.0.1:2379,https://10.0.0.2:2379`. Needed with `store` etcd.",
    ),
    setting(
        "etcd-prefix",
        "PREFIX",
        "/lariat",
        "What the keys in etcd begin with, so that others can use it too.",
    ),
    setting(
        "etcd-ca-file",
        "FILE",
        "",
        "The CA (PEM) behind the certificates of the members. Needed with `https`.",
    ),
    setting(
        "etcd-cert-file",
        "FILE",
        "",
        "A certificate (PEM) to show to the etcd. Needs `etcd-key-file`.",
    ),
    setting(
        "etcd-key-file",
        "FILE",
        "",
        "The private key (PEM) of `etcd-cert-file`.",
    ),
    setting(
        "etcd-user",
        "NAME",
        "",
        "A user of an etcd with authentication. Needs `etcd-password-file`.",
    ),
    setting(
        "etcd-password-file",
        "FILE",
        "",
        "A file with the password of `etcd-user`; a newline at its end does not count.",
    ),
    setting(
        "listen",
        "ADDRESS:PORT",
        "0.0.0.0:8443",
        "Where to listen for HTTPS. Port 0 takes any free port, which is then logged.",
    ),
    setting(
        "server-url",
        "URL",
        "",
        "How clients and agents reach the server, for example `https://lariat.example.org`. Goes \
         into kubeconfig files and import manifests. Default: `https://localhost` with the port of \
         `listen`, which is good for a trial on one machine only.",
    ),
    setting(
        "tls-names",
        "NAME,…",
        "",
        "More DNS names and IP addresses for the certificate that the server makes. `localhost`, \
         the loopback addresses, the address in `listen` and the host of `server-url` are always \
         in it.",
    ),
    setting(
        "tls-cert-file",
        "FILE",
        "",
        "A certificate chain of your own (PEM, leaf first) instead of one made by the private CA. \
         Needs `tls-key-file`. Read again when it changes.",
    ),
    setting(
        "tls-key-file",
        "FILE",
        "",
        "The private key (PEM) of `tls-cert-file`.",
    ),
    setting(
        "tls-ca-file",
        "FILE",
        "",
        "The CA (PEM) behind `tls-cert-file`, if clients do not trust it already. Served at \
         `/cacerts`, put into kubeconfig files and pinned by agents.",
    ),
    Setting {
        name: "bootstrap-password",
        variable: None,
        value: "PASSWORD",
        default: "",
        flag: false,
        help: "Password of the user `admin`, who is made when the store has no user. At least 12 \
               characters. Default: made up and printed once.",
    },
    setting(
        "bootstrap-password-file",
        "FILE",
        "",
        "A file with that password.",
    ),
    setting(
        "encryption-keys-file",
        "FILE",
        "",
        "The keys that encrypt secrets in the store. Made when nothing is encrypted yet. Default: \
         `encryption.keys` in the data directory. See `lariat-server keys --help`.",
    ),
    setting(
        "log",
        "FILTER",
        "info",
        "Which events are logged: a level, or levels by module as in \
         `info,lariat_server::edge=debug`.",
    ),
    setting(
        "log-format",
        "text|json",
        "text",
        "How they are written to standard error.",
    ),
    setting(
        "audit-log",
        "FILE|stdout|off",
        "stdout",
        "Where the audit line of each request goes. A file is appended to, put aside when it has \
         grown (`audit-log-maxsize`), and opened again on SIGHUP for who moves it away by other \
         means.",
    ),
    setting(
        "audit-log-maxsize",
        "MEGABYTES",
        "100",
        "The file of the audit log is put aside under a name with the time before it is longer than \
         this. 0: never.",
    ),
    setting(
        "audit-log-maxage",
        "DAYS",
        "366",
        "How long files that were put aside are kept. 0: for ever.",
    ),
    setting(
        "audit-log-maxbackup",
        "NUMBER",
        "100",
        "How many of them are kept; the oldest are deleted. 0: all.",
    ),
    setting(
        "audit-log-compress",
        "true|false",
        "false",
        "Whether they are compressed with gzip.",
    ),
    setting(
        "audit-webhook-config-file",
        "FILE",
        "",
        "A kubeconfig file of who gets the events as well, as for kube-apiserver: each batch is an \
         `EventList` of `audit.k8s.io/v1`, sent with POST to the address of the cluster in it. What \
         is not taken is sent again; what waits is bounded, and what is dropped is counted.",
    ),
    setting(
        "audit-policy",
        "FILE",
        "",
        "Which requests are recorded and how much of them: a `Policy` of `audit.k8s.io/v1`, as \
         kube-apiserver reads it. Default: one line for each request, without bodies. Bodies of \
         requests to connected clusters, of Secrets and of tokens are never recorded.",
    ),
    setting(
        "session-recording",
        "demanded|all",
        "demanded",
        "Which sessions in containers (exec, attach) are recorded, and refused where they cannot be: \
         those of which a RoleTemplate or a Cluster demands it, or all.",
    ),
    setting(
        "recordings-dir",
        "DIRECTORY",
        "",
        "Where recordings of sessions are kept. Created, readable by its owner alone, if it does not \
         exist. Default: `recordings` in the data directory.",
    ),
    setting(
        "recordings-maxage",
        "DAYS",
        "90",
        "How long recordings are kept. 0: for ever.",
    ),
    setting(
        "recordings-maxsize",
        "MEGABYTES",
        "10240",
        "How long all recordings may be together. Nothing is deleted for a new one: sessions that must \
         be recorded are refused or ended. 0: as long as there is room on the disk.",
    ),
    setting(
        "recordings-session-maxsize",
        "MEGABYTES",
        "1024",
        "How long the recording of one session may be; the session ends then. 0: as long as there is \
         room.",
    ),
    setting(
        "max-connections",
        "NUMBER",
        "65536",
        "Most client connections in total. Bounded by the file descriptors that the system allows.",
    ),
    setting(
        "max-connections-per-address",
        "NUMBER",
        "16384",
        "Most client connections from one address. Clusters behind one NAT share an address.",
    ),
    setting(
        "handshake-timeout",
        "DURATION",
        "10s",
        "How long a TLS handshake may take.",
    ),
    setting(
        "agent-handshakes",
        "NUMBER",
        "4096",
        "Most agents that may be connecting at the same time. More are told when to come again (503 with \
         `Retry-After`), and do.",
    ),
    setting(
        "header-timeout",
        "DURATION",
        "100s",
        "How long the head of an HTTP/1.1 request may take, and how long a kept connection may \
         stay idle before it.",
    ),
    setting(
        "body-timeout",
        "DURATION",
        "30s",
        "How long the body of a request to the management API may take.",
    ),
    setting(
        "api-requests",
        "NUMBER",
        "64",
        "Most requests for one object or one page of the management API that are worked on at once. \
         One user has at most half of it; more wait, whoever has fewest first, and are refused with \
         429 after 15 s.",
    ),
    setting(
        "api-bulk-requests",
        "NUMBER",
        "16",
        "The same for requests for whole collections.",
    ),
    setting(
        "api-requests-per-user",
        "NUMBER",
        "200",
        "Most requests to the management API that one user may have under way. More are refused \
         with 429.",
    ),
    setting(
        "api-watches-per-user",
        "NUMBER",
        "4000",
        "Most watches of the management API that one user may have open. More are refused with 429.",
    ),
    setting(
        "logins-per-address",
        "NUMBER",
        "20",
        "How often somebody may try to log in from one address: so many times at once, and in a minute. More are refused \
         with 429. An IPv6 network of 64 bits counts as one address. 0: any number.",
    ),
    setting(
        "logins-per-account",
        "NUMBER",
        "10",
        "The same to one account, from wherever.",
    ),
    setting(
        "proxy-requests-per-user",
        "NUMBER",
        "1000",
        "Most requests to clusters that one user may have under way. More are refused with 429. 0: any \
         number.",
    ),
    setting(
        "proxy-streams-per-user",
        "NUMBER",
        "4000",
        "The same for what stays open: watches, logs, exec, attach, port-forward and proxy.",
    ),
    setting(
        "proxy-bandwidth-per-user",
        "MEGABYTES",
        "0",
        "How much of bodies and connections to and from clusters one user may have carried in a second. \
         Who had ten seconds' worth more begins nothing new until time has made it good (429); what is \
         open goes on. 0: any amount.",
    ),
    setting(
        "proxy-requests-per-cluster",
        "NUMBER",
        "0",
        "Most requests to one cluster that may be under way, whoever asks. 0: as many as its tunnel \
         carries.",
    ),
    setting(
        "proxy-streams-per-cluster",
        "NUMBER",
        "0",
        "The same for what stays open.",
    ),
    setting(
        "proxy-bandwidth-per-cluster",
        "MEGABYTES",
        "0",
        "The same as for users, for one cluster.",
    ),
    setting(
        "proxy-requests-per-project",
        "NUMBER",
        "0",
        "Most requests to the namespaces of one project that may be under way, whoever asks. 0: any number.",
    ),
    setting(
        "proxy-streams-per-project",
        "NUMBER",
        "0",
        "The same for what stays open.",
    ),
    setting(
        "proxy-bandwidth-per-project",
        "MEGABYTES",
        "0",
        "The same as for users, for one project.",
    ),
    setting(
        "drain-timeout",
        "DURATION",
        "20s",
        "How long open requests may go on after the server was told to stop.",
    ),
    setting(
        "agent-image",
        "IMAGE",
        concat!(
            "docker.io/lariat/cattle-cluster-agent:v",
            env!("CARGO_PKG_VERSION")
        ),
        "Image of the cluster agent that import manifests name.",
    ),
    setting(
        "auth-image",
        "IMAGE",
        concat!(
            "docker.io/lariat/kube-api-auth:v",
            env!("CARGO_PKG_VERSION")
        ),
        "Image of the token webhook that import manifests name for clusters with an authorized \
         endpoint.",
    ),
];

/// Parses every setting, so that every mistake is found. `None` if a value without which nothing
/// can be built is wrong; then there is a mistake.
pub(super) fn parse(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Option<Config> {
    let mut reader = Reader { sources, mistakes };
    let data_dir = reader.required("data-dir", path);
    let store = reader.store();
    let listen = reader.required("listen", listen_address);
    let server_url = reader.optional("server-url", server_url);
    let tls_names = reader.optional("tls-names", names).unwrap_or_default();
    let tls_files = reader.tls_files();
    let bootstrap_password = reader.bootstrap_password();
    let encryption_keys = reader.optional("encryption-keys-file", path);
    let log = reader.required("log", log_filter);
    let log_format = reader.required("log-format", log_format);
    let audit = reader.audit();
    let recordings = reader.recordings(data_dir.as_deref());
    let connections = reader.required("max-connections", count);
    let connections_per_address = reader.required("max-connections-per-address", count);
    let handshake = reader.required("handshake-timeout", duration);
    let agent_handshakes = reader.required("agent-handshakes", count);
    let header = reader.required("header-timeout", duration);
    let body = reader.required("body-timeout", duration);
    let interactive = reader.required("api-requests", count);
    let bulk = reader.required("api-bulk-requests", count);
    let per_user = reader.required("api-requests-per-user", count);
    let watches_per_user = reader.required("api-watches-per-user", count);
    let logins_per_address = reader.required("logins-per-address", number);
    let logins_per_account = reader.required("logins-per-account", number);
    let of_user = reader.proxy_bounds([
        "proxy-requests-per-user",
        "proxy-streams-per-user",
        "proxy-bandwidth-per-user",
    ]);
    let of_cluster = reader.proxy_bounds([
        "proxy-requests-per-cluster",
        "proxy-streams-per-cluster",
        "proxy-bandwidth-per-cluster",
    ]);
    let of_project = reader.proxy_bounds([
        "proxy-requests-per-project",
        "proxy-streams-per-project",
        "proxy-bandwidth-per-project",
    ]);
    let drain_timeout = reader.required("drain-timeout", duration);
    let agent_image = reader.required("agent-image", image);
    let auth_image = reader.required("auth-image", image);
    let traces = reader.traces();
    let listen = listen?;
    let server_url = match server_url {
        Some(url) => url,
        None => Url::parse(&format!("https://localhost:{}", listen.port())).ok()?,
    };
    Some(Config {
        data_dir: data_dir?,
        store: store?,
        listen,
        server_url,
        tls_names,
        tls_files,
        bootstrap_password,
        encryption_keys,
        log: log?,
        log_format: log_format?,
        audit: audit?,
        recordings: recordings?,
        limits: Limits {
            connections: connections?,
            connections_per_address: connections_per_address?,
            handshake: handshake?,
            agent_handshakes: agent_handshakes?,
            header: header?,
            body: body?,
            api: apiserver::flow::Limits {
                interactive: interactive?,
                bulk: bulk?,
                per_user: per_user?,
                watches_per_user: watches_per_user?,
                ..apiserver::flow::Limits::default()
            },
            proxy: ProxyLimits {
                per_user: of_user?,
                per_cluster: of_cluster?,
                per_project: of_project?,
            },
            logins: LoginBounds {
                per_address: logins_per_address?,
                per_account: logins_per_account?,
            },
        },
        drain_timeout: drain_timeout?,
        agent_image: agent_image?,
        auth_image: auth_image?,
        traces,
    })
}

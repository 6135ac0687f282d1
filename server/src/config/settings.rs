//! All settings: how each is called, what it means, how its text becomes a value.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::{AuditLog, BootstrapPassword, Config, Limits, LogFormat, Mistake, Sources, TlsFiles};

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its name in the file and, after `--`, as a flag. The environment variable is `LARIAT_` and
    /// the name in capitals with underscores.
    pub(super) name: &'static str,
    /// Shape of its value.
    pub(super) value: &'static str,
    /// The default, as it would be written. Empty: none.
    pub(super) default: &'static str,
    /// Whether it may be a flag. Secrets may not: other users of the machine can read flags.
    pub(super) flag: bool,
    /// What it means.
    pub(super) help: &'static str,
}

const fn setting(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        value,
        default,
        flag: true,
        help,
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "data-dir",
        "DIRECTORY",
        "/var/lib/lariat",
        "Where the store, the private CA and its certificates are kept. Created, readable by its \
         owner alone, if it does not exist.",
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
        "Where the audit line of each request goes. A file is appended to and opened again on \
         SIGHUP, so that it can be rotated.",
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
];

/// Parses every setting, so that every mistake is found. `None` if a value without which nothing
/// can be built is wrong; then there is a mistake.
pub(super) fn parse(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Option<Config> {
    let mut reader = Reader { sources, mistakes };
    let data_dir = reader.required("data-dir", path);
    let listen = reader.required("listen", listen_address);
    let server_url = reader.optional("server-url", server_url);
    let tls_names = reader.optional("tls-names", names).unwrap_or_default();
    let tls_files = reader.tls_files();
    let bootstrap_password = reader.bootstrap_password();
    let log = reader.required("log", log_filter);
    let log_format = reader.required("log-format", log_format);
    let audit_log = reader.required("audit-log", audit_log);
    let connections = reader.required("max-connections", count);
    let connections_per_address = reader.required("max-connections-per-address", count);
    let handshake = reader.required("handshake-timeout", duration);
    let header = reader.required("header-timeout", duration);
    let body = reader.required("body-timeout", duration);
    let drain_timeout = reader.required("drain-timeout", duration);
    let agent_image = reader.required("agent-image", image);
    let listen = listen?;
    let server_url = match server_url {
        Some(url) => url,
        None => Url::parse(&format!("https://localhost:{}", listen.port())).ok()?,
    };
    Some(Config {
        data_dir: data_dir?,
        listen,
        server_url,
        tls_names,
        tls_files,
        bootstrap_password,
        log: log?,
        log_format: log_format?,
        audit_log: audit_log?,
        limits: Limits {
            connections: connections?,
            connections_per_address: connections_per_address?,
            handshake: handshake?,
            header: header?,
            body: body?,
        },
        drain_timeout: drain_timeout?,
        agent_image: agent_image?,
    })
}

struct Reader<'a> {
    sources: &'a Sources,
    mistakes: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    fn required<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let default = (SETTINGS.iter())
            .find(|setting| setting.name == name)
            .map_or("", |setting| setting.default);
        self.read(name, default, parse)
    }

    /// An empty value is as good as none.
    fn optional<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        self.read(name, "", parse)
    }

    fn read<T>(
        &mut self,
        name: &str,
        default: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, place) = match self.sources.value(name) {
            Some(given) if !given.text.is_empty() => (given.text.as_str(), given.place.as_str()),
            _ if default.is_empty() => return None,
            _ => (default, name),
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.mistake(place, fault);
                None
            }
        }
    }

    fn tls_files(&mut self) -> Option<TlsFiles> {
        let certificate = self.optional("tls-cert-file", path);
        let key = self.optional("tls-key-file", path);
        let ca = self.optional("tls-ca-file", path);
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                return Some(TlsFiles {
                    certificate,
                    key,
                    ca,
                });
            }
            (Some(_), None) => {
                self.mistake("tls-key-file", "is needed with tls-cert-file".to_owned());
            }
            (None, Some(_)) => {
                self.mistake("tls-cert-file", "is needed with tls-key-file".to_owned());
            }
            (None, None) if ca.is_some() => {
                self.mistake("tls-cert-file", "is needed with tls-ca-file".to_owned());
            }
            (None, None) => {}
        }
        None
    }

    fn bootstrap_password(&mut self) -> BootstrapPassword {
        let given = self.optional("bootstrap-password", new_password);
        let file = self.optional("bootstrap-password-file", path);
        match (given, file) {
            (Some(_), Some(_)) => {
                let fault = "cannot be given together with bootstrap-password-file".to_owned();
                self.mistake("bootstrap-password", fault);
                BootstrapPassword::Generate
            }
            (Some(password), None) => BootstrapPassword::Given(password.into()),
            (None, Some(file)) => BootstrapPassword::File(file),
            (None, None) => BootstrapPassword::Generate,
        }
    }

    fn mistake(&mut self, place: &str, fault: String) {
        self.mistakes.push(Mistake {
            place: place.to_owned(),
            fault,
        });
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let explained = |_| format!("{text:?} is not ADDRESS:PORT, for example 0.0.0.0:8443");
    text.parse().map_err(explained)
}

fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is not a URL: {error}"))?;
    if url.scheme() != "https" || url.host_str().is_none() {
        return Err(format!(
            "{text:?} must be https://HOST or https://HOST:PORT"
        ));
    }
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{text:?} must have nothing after host and port"));
    }
    Ok(url)
}

fn names(text: &str) -> Result<Vec<String>, String> {
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-*:_".contains(&byte);
            if name.len() <= 253 && name.bytes().all(good) {
                Ok(name.to_owned())
            } else {
                Err(format!("{name:?} is neither a DNS name nor an IP address"))
            }
        })
        .collect()
}

fn new_password(text: &str) -> Result<String, String> {
    lariat_api::User::check_new_password(text).map_err(|error| error.rule)?;
    Ok(text.to_owned())
}

fn log_filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map_err(|error| format!("{text:?} is not a log filter: {error}"))?;
    Ok(text.to_owned())
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} must be text or json")),
    }
}

fn audit_log(text: &str) -> Result<AuditLog, String> {
    Ok(match text {
        "off" => AuditLog::Off,
        "stdout" => AuditLog::Stdout,
        file => AuditLog::File(file.into()),
    })
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err(format!("{text:?} must be a number from 1 to 1000000")),
    }
}

/// `500ms`, `10s`, `2m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("{text:?} must be a duration such as 500ms, 10s, 2m or 1h");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| fault())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    match milliseconds {
        Some(milliseconds @ 1..=86_400_000) => Ok(Duration::from_millis(milliseconds)),
        Some(_) => Err(format!("{text:?} must be from 1ms to 24h")),
        None => Err(fault()),
    }
}

fn image(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    if text.len() <= 512 && text.bytes().all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not the name of a container image"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "0s",
            "1.5s",
            "99999999999999999999s",
            "25h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_server_url_is_an_origin() {
        assert!(server_url("https://example.org:8443").is_ok());
        for bad in [
            "http://example.org",
            "https://example.org/path",
            "https://user@example.org",
            "https://example.org/?x",
            "example.org",
        ] {
            assert!(server_url(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text: String) {
            let _ = (duration(&text), server_url(&text), names(&text), image(&text), count(&text));
        }
    }
}

//! One setting, or several that belong together, from what was given.

use std::path::Path;

use super::super::values::{
    StoreKind, all_recorded, audit_log, etcd_endpoints, etcd_prefix, new_password, number, path,
    store_kind, text, yes_or_no,
};
use super::super::{
    Audit, BootstrapPassword, EtcdSettings, Mistake, ProxyBounds, Recordings, Rotation, Sources,
    StoreChoice, TlsFiles,
};
use super::{all, named};

/// How the text of a setting becomes a value.
type Parse<T> = fn(&str) -> Result<T, String>;

/// Parses settings one by one, and notes every mistake.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let default = named(name).map_or("", |setting| setting.default);
        self.read(name, default, parse)
    }

    /// An empty value is as good as none.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
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

    pub(super) fn tls_files(&mut self) -> Option<TlsFiles> {
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

    /// `None` only if there is a mistake.
    pub(super) fn store(&mut self) -> Option<StoreChoice> {
        let kind = self.required("store", store_kind)?;
        if kind == StoreKind::Redb {
            let given = all()
                .filter(|setting| setting.name.starts_with("etcd-"))
                .filter_map(|setting| self.sources.value(setting.name))
                .filter(|given| !given.text.is_empty());
            for place in given.map(|given| given.place.clone()).collect::<Vec<_>>() {
                self.mistake(
                    &place,
                    "is for the store etcd, and store is redb".to_owned(),
                );
            }
            return Some(StoreChoice::Redb);
        }
        let endpoints = self.optional("etcd-endpoints", etcd_endpoints);
        if self.is_empty("etcd-endpoints") {
            self.mistake("etcd-endpoints", "is needed with the store etcd".to_owned());
        }
        let prefix = self.required("etcd-prefix", etcd_prefix);
        let ca = self.optional("etcd-ca-file", path);
        let identity = self.pair(
            ("etcd-cert-file", path as fn(&str) -> Result<_, String>),
            ("etcd-key-file", path),
        );
        let login = self.pair(
            ("etcd-user", text as fn(&str) -> Result<_, String>),
            ("etcd-password-file", path),
        );
        let endpoints = endpoints?;
        let secure = endpoints.iter().any(|url| url.starts_with("https://"));
        match (secure, &ca, &identity) {
            (true, None, _) => {
                let fault = "is needed with etcd-endpoints that are https";
                self.mistake("etcd-ca-file", fault.to_owned());
            }
            (false, None, None) | (true, Some(_), _) => {}
            (false, _, _) => {
                let fault = "must be https, as certificates are given";
                self.mistake("etcd-endpoints", fault.to_owned());
            }
        }
        Some(StoreChoice::Etcd(EtcdSettings {
            endpoints,
            prefix: prefix?,
            ca,
            identity,
            login,
        }))
    }

    /// Two settings of which each needs the other.
    fn pair<A, B>(
        &mut self,
        (one, parse_one): (&str, Parse<A>),
        (other, parse_other): (&str, Parse<B>),
    ) -> Option<(A, B)> {
        let values = (
            self.optional(one, parse_one),
            self.optional(other, parse_other),
        );
        for (given, missing) in [(one, other), (other, one)] {
            if !self.is_empty(given) && self.is_empty(missing) {
                self.mistake(missing, format!("is needed with {given}"));
            }
        }
        Some((values.0?, values.1?))
    }

    pub(super) fn is_empty(&self, name: &str) -> bool {
        let given = self.sources.value(name);
        given.is_none_or(|given| given.text.is_empty())
    }

    /// Requests, streams and megabytes a second. `None` only if there is a mistake.
    pub(super) fn proxy_bounds(&mut self, names: [&str; 3]) -> Option<ProxyBounds> {
        let [requests, streams, megabytes] = names.map(|name| self.required(name, number));
        Some(ProxyBounds {
            requests: requests?.into(),
            streams: streams?.into(),
            bytes_per_second: bytes(megabytes?),
        })
    }

    /// `None` only if there is a mistake.
    pub(super) fn recordings(&mut self, data: Option<&Path>) -> Option<Recordings> {
        let all = self.required("session-recording", all_recorded);
        let folder = self.optional("recordings-dir", path);
        let folder = folder.or_else(|| data.map(|data| data.join("recordings")));
        let days = self.required("recordings-maxage", number);
        let megabytes = self.required("recordings-maxsize", number);
        let of_one = self.required("recordings-session-maxsize", number);
        Some(Recordings {
            all: all?,
            folder: folder?,
            max_age_days: days?,
            max_size: bytes(megabytes?),
            max_session_size: bytes(of_one?),
        })
    }

    /// `None` only if there is a mistake.
    pub(super) fn audit(&mut self) -> Option<Audit> {
        let log = self.required("audit-log", audit_log);
        let megabytes = self.required("audit-log-maxsize", number);
        let days = self.required("audit-log-maxage", number);
        let backups = self.required("audit-log-maxbackup", number);
        let compress = self.required("audit-log-compress", yes_or_no);
        let webhook = self.optional("audit-webhook-config-file", path);
        let policy = self.optional("audit-policy", path);
        Some(Audit {
            log: log?,
            rotation: Rotation {
                max_size: bytes(megabytes?),
                max_age_days: days?,
                max_backups: usize::try_from(backups?).ok()?,
                compress: compress?,
            },
            webhook,
            policy,
        })
    }

    pub(super) fn bootstrap_password(&mut self) -> BootstrapPassword {
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

fn bytes(megabytes: u32) -> u64 {
    u64::from(megabytes) * 1024 * 1024
}

//! How the text of a setting becomes a value. Errors say what was found and what would be right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::{AuditLog, LogFormat};

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// The name of a back end of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreKind {
    Redb,
    Etcd,
}

pub(super) fn store_kind(text: &str) -> Result<StoreKind, String> {
    match text {
        "redb" => Ok(StoreKind::Redb),
        "etcd" => Ok(StoreKind::Etcd),
        _ => Err(format!("{text:?} must be redb or etcd")),
    }
}

pub(super) fn etcd_endpoints(text: &str) -> Result<Vec<String>, String> {
    let given = text.split(',').map(str::trim);
    let urls = given.filter(|url| !url.is_empty()).map(|given| {
        let url = Url::parse(given).map_err(|error| format!("{given:?} is not a URL: {error}"))?;
        let bare = url.path() == "/" && url.query().is_none() && url.username().is_empty();
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !bare {
            return Err(format!(
                "{given:?} must be https://HOST:PORT or http://HOST:PORT"
            ));
        }
        Ok(given.trim_end_matches('/').to_owned())
    });
    let urls: Vec<_> = urls.collect::<Result<_, _>>()?;
    let secure = |url: &String| url.starts_with("https://");
    match urls.first().map(secure) {
        None => Err("names no endpoint".to_owned()),
        Some(first) if urls.iter().all(|url| secure(url) == first) => Ok(urls),
        Some(_) => Err("must be all https or all http".to_owned()),
    }
}

pub(super) fn etcd_prefix(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.ends_with('/') && text.len() <= 64 {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} must begin with a slash, not end with one, and have at most 64 bytes"
    ))
}

pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let explained = |_| format!("{text:?} is not ADDRESS:PORT, for example 0.0.0.0:8443");
    text.parse().map_err(explained)
}

pub(super) fn server_url(text: &str) -> Result<Url, String> {
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

pub(super) fn names(text: &str) -> Result<Vec<String>, String> {
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

pub(super) fn new_password(text: &str) -> Result<String, String> {
    lariat_api::User::check_new_password(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map_err(|error| format!("{text:?} is not a log filter: {error}"))?;
    Ok(text.to_owned())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} must be text or json")),
    }
}

pub(super) fn audit_log(text: &str) -> Result<AuditLog, String> {
    Ok(match text {
        "off" => AuditLog::Off,
        "stdout" => AuditLog::Stdout,
        file => AuditLog::File(file.into()),
    })
}

pub(super) fn all_recorded(text: &str) -> Result<bool, String> {
    match text {
        "all" => Ok(true),
        "demanded" => Ok(false),
        _ => Err(format!("{text:?} must be demanded or all")),
    }
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err(format!("{text:?} must be a number from 1 to 1000000")),
    }
}

/// A number that may be 0, for what then has no bound.
pub(super) fn number(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ 0..=1_000_000) => Ok(number),
        _ => Err(format!("{text:?} must be a number from 0 to 1000000")),
    }
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| format!("{text:?} must be true or false"))
}

/// `500ms`, `10s`, `2m` or `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
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

pub(super) fn image(text: &str) -> Result<String, String> {
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
            let _ = (duration(&text), server_url(&text), names(&text), image(&text), count(&text), number(&text));
        }
    }
}

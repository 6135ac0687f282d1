//! What the operator decides about traces, under the names that OpenTelemetry has given to it, and how
//! its text becomes values. Faults say what is wrong and show no secret.

use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

/// Where spans go when the address of a collector has no path of its own.
const PATH: &str = "/v1/traces";

/// Most headers and attributes that may be given.
const MOST: usize = 64;

/// How traces are recorded and where they go.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The collector: `https` or `http`, and what comes before `/v1/traces` in its path.
    pub endpoint: Url,
    /// Sent with every export. Their values are marked as sensitive.
    pub headers: HeaderMap,
    /// The CA (PEM) behind the collector's certificate. The platform's roots if there is none.
    pub certificate: Option<PathBuf>,
    /// Which traces are recorded.
    pub sampling: Sampling,
    /// How many traces a second those may have recorded who send requests, by flag or by trace id;
    /// `None`: as many as they like.
    pub foreign_per_second: Option<u32>,
    /// `service.name` of the resource.
    pub service_name: String,
    /// `service.version` of the resource.
    pub service_version: &'static str,
    /// More attributes of the resource. Those above win.
    pub resource: Vec<(String, String)>,
}

impl Settings {
    /// Where spans are sent to.
    #[must_use]
    pub fn url(&self) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}{PATH}", url.path().trim_end_matches('/')));
        url
    }
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Whether those of requests that come with a trace are recorded as whoever sends them does it.
    pub parent_based: bool,
    /// How many of all others: 0 none, 1 all.
    pub ratio: f64,
}

/// A sampler of the specification that can be chosen: `OTEL_TRACES_SAMPLER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplerName {
    parent_based: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    On,
    Off,
    Ratio,
}

impl SamplerName {
    /// With what `OTEL_TRACES_SAMPLER_ARG` says: the ratio, where there is one.
    #[must_use]
    pub fn with(self, ratio: f64) -> Sampling {
        Sampling {
            parent_based: self.parent_based,
            ratio: match self.kind {
                Kind::On => 1.0,
                Kind::Off => 0.0,
                Kind::Ratio => ratio,
            },
        }
    }
}

/// Reads `OTEL_EXPORTER_OTLP_ENDPOINT`.
///
/// # Errors
/// With what would be right.
pub fn endpoint(text: &str) -> Result<Url, String> {
    let fault =
        || "must be https://HOST:PORT or http://HOST:PORT, with a path if need be".to_owned();
    let url = Url::parse(text).map_err(|_| fault())?;
    let bare = url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !bare {
        return Err(fault());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must have no user or password; send a header instead".to_owned());
    }
    Ok(url)
}

/// Reads `OTEL_EXPORTER_OTLP_HEADERS`: `name=value`, separated by commas, values percent-encoded.
///
/// # Errors
/// With what would be right. No value is shown.
pub fn headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(text)? {
        let good: HeaderName = name
            .parse()
            .map_err(|_| format!("{name:?} is not the name of a header"))?;
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| format!("the value of {name} is not that of a header"))?;
        value.set_sensitive(true);
        headers.append(good, value);
    }
    Ok(headers)
}

/// Reads `OTEL_RESOURCE_ATTRIBUTES`: `name=value`, separated by commas, values percent-encoded.
///
/// # Errors
/// With what would be right.
pub fn resource(text: &str) -> Result<Vec<(String, String)>, String> {
    pairs(text)
}

/// Reads `OTEL_TRACES_SAMPLER`.
///
/// # Errors
/// With what would be right.
pub fn sampler(text: &str) -> Result<SamplerName, String> {
    let (parent_based, rest) = match text.strip_prefix("parentbased_") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let kind = match rest {
        "always_on" => Kind::On,
        "always_off" => Kind::Off,
        "traceidratio" => Kind::Ratio,
        _ => {
            return Err(format!(
                "{text:?} must be always_on, always_off or traceidratio, or one of them after parentbased_"
            ));
        }
    };
    Ok(SamplerName { parent_based, kind })
}

/// Reads `OTEL_TRACES_SAMPLER_ARG`.
///
/// # Errors
/// With what would be right.
pub fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("{text:?} must be a number from 0 to 1")),
    }
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let members = text.split(',').map(str::trim);
    let pairs = members.filter(|member| !member.is_empty()).map(|member| {
        let Some((name, value)) = member.split_once('=') else {
            return Err("must be NAME=VALUE, separated by commas".to_owned());
        };
        let name = name.trim();
        let value = percent_decode_str(value.trim()).decode_utf8();
        let value = value.map_err(|_| format!("the value of {name} is not UTF-8"))?;
        match name.is_empty() {
            true => Err("has a value without a name".to_owned()),
            false => Ok((name.to_owned(), value.into_owned())),
        }
    });
    let pairs: Vec<_> = pairs.collect::<Result<_, _>>()?;
    match pairs.len() > MOST {
        true => Err(format!("has more than {MOST} of them")),
        false => Ok(pairs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Result<String, String> {
        let settings = Settings {
            endpoint: endpoint(text)?,
            headers: HeaderMap::new(),
            certificate: None,
            sampling: sampler("always_on")?.with(1.0),
            foreign_per_second: None,
            service_name: String::new(),
            service_version: "",
            resource: Vec::new(),
        };
        Ok(settings.url().to_string())
    }

    #[test]
    fn the_path_of_traces_comes_after_that_of_the_collector() {
        for (given, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("https://a.example/", "https://a.example/v1/traces"),
            (
                "https://a.example/otlp/x/",
                "https://a.example/otlp/x/v1/traces",
            ),
        ] {
            assert_eq!(url(given).unwrap(), expected);
        }
        for wrong in [
            "localhost:4317",
            "grpc://localhost:4317",
            "https://a.example/?key=x",
            "https://user:secret@a.example",
            "unix:/run/socket",
            "",
        ] {
            let fault = url(wrong).unwrap_err();
            assert!(!fault.contains("secret"), "{fault}");
        }
    }

    #[test]
    fn headers_are_lists_of_pairs_and_nobody_shows_them() {
        let text = "api-key=s3cret, authorization=Basic%20YTpi==,,";
        let given = headers(text).unwrap();
        assert_eq!(given["authorization"], "Basic YTpi==");
        assert!(!format!("{given:?}").contains("s3cret"), "{given:?}");
        for wrong in [
            "s3cret",
            "=s3cret",
            "a b=s3cret",
            "a=s3cret%0a",
            "a=s3cret%ff",
        ] {
            let fault = headers(wrong).unwrap_err();
            assert!(!fault.contains("s3cret"), "{wrong}: {fault}");
        }
        assert!(headers(&"a=1,".repeat(65)).is_err());
    }

    #[test]
    fn the_samplers_of_the_specification_are_known() {
        for (name, parent_based, ratio) in [
            ("always_on", false, 1.0),
            ("always_off", false, 0.0),
            ("traceidratio", false, 0.25),
            ("parentbased_always_on", true, 1.0),
            ("parentbased_always_off", true, 0.0),
            ("parentbased_traceidratio", true, 0.25),
        ] {
            let expected = Sampling {
                parent_based,
                ratio,
            };
            assert_eq!(sampler(name).unwrap().with(0.25), expected, "{name}");
        }
        for wrong in ["", "xray", "parentbased_", "jaeger_remote"] {
            assert!(sampler(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "-0.1", "1.1", "NaN", "inf", "half"] {
            assert!(ratio(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = (endpoint(&text), headers(&text), resource(&text), sampler(&text), ratio(&text));
        }
    }
}

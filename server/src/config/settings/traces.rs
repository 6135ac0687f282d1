//! Settings of traces, under the names that OpenTelemetry has given to them.

use telemetry::settings::{self, Settings};

use super::super::values::{number, path, text};
use super::Setting;
use super::reader::Reader;

const fn standard(
    name: &'static str,
    variable: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        variable: Some(variable),
        value,
        default,
        flag: true,
        help,
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    standard(
        "otlp-endpoint",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "URL",
        "",
        "Where traces of requests are exported: an OpenTelemetry collector that takes OTLP over HTTP (protobuf), \
         for example `https://collector.example.org:4318`; `/v1/traces` is added to its path. Default: nothing is traced, \
         and the other settings of traces mean nothing.",
    ),
    Setting {
        name: "otlp-headers",
        variable: Some("OTEL_EXPORTER_OTLP_HEADERS"),
        value: "NAME=VALUE,…",
        default: "",
        flag: false,
        help: "Headers that are sent to the collector, such as a key; values are percent-encoded.",
    },
    standard(
        "otlp-certificate-file",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "FILE",
        "",
        "The CA (PEM) behind the collector's certificate. Default: the platform's.",
    ),
    standard(
        "traces-sampler",
        "OTEL_TRACES_SAMPLER",
        "SAMPLER",
        "parentbased_always_on",
        "Which requests are traced: `always_on`, `always_off` or `traceidratio`; with `parentbased_` before it, those that \
         come with a trace are recorded if that is.",
    ),
    standard(
        "traces-sampler-arg",
        "OTEL_TRACES_SAMPLER_ARG",
        "NUMBER",
        "1",
        "The share of `traceidratio`, from 0 to 1.",
    ),
    Setting {
        name: "traces-of-clients-per-second",
        variable: None,
        value: "NUMBER",
        default: "10",
        flag: true,
        help: "How many traces a second are recorded because clients ask for it, where the sampler would record a share of \
               them only. The rest of what they ask for has the chance of all others. 0: what they ask for means nothing.",
    },
    standard(
        "otel-service-name",
        "OTEL_SERVICE_NAME",
        "NAME",
        "lariat-server",
        "The name of this server in traces.",
    ),
    standard(
        "otel-resource-attributes",
        "OTEL_RESOURCE_ATTRIBUTES",
        "NAME=VALUE,…",
        "",
        "What else is said of it there, for example `deployment.environment.name=production`.",
    ),
];

impl Reader<'_> {
    /// `None` if nothing is traced, or if there is a mistake. Who traces nothing may have any variables in
    /// the environment, for other programs.
    pub(super) fn traces(&mut self) -> Option<Settings> {
        let endpoint = self.optional("otlp-endpoint", settings::endpoint);
        if self.is_empty("otlp-endpoint") {
            return None;
        }
        let headers = self.optional("otlp-headers", settings::headers);
        let certificate = self.optional("otlp-certificate-file", path);
        let sampler = self.required("traces-sampler", settings::sampler);
        let ratio = self.required("traces-sampler-arg", settings::ratio);
        let of_clients = self.required("traces-of-clients-per-second", number);
        let service_name = self.required("otel-service-name", text);
        let resource = self.optional("otel-resource-attributes", settings::resource);
        Some(Settings {
            endpoint: endpoint?,
            headers: headers.unwrap_or_default(),
            certificate,
            sampling: sampler?.with(ratio?),
            foreign_per_second: Some(of_clients?),
            service_name: service_name?,
            service_version: env!("CARGO_PKG_VERSION"),
            resource: resource.unwrap_or_default(),
        })
    }
}

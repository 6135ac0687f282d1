//! How the agent traces requests, under the names that OpenTelemetry has given to the settings.

use clap::Args;
use std::path::PathBuf;
use telemetry::settings::{self, Settings};

/// Text, of which an empty one is as good as none: the variables may be set for other programs.
#[derive(Args)]
pub(super) struct TracesArgs {
    /// OpenTelemetry collector for traces of requests (OTLP over HTTP), as http[s]://host:port. Without it
    /// nothing is traced
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "")]
    otlp_endpoint: String,

    /// Headers that are sent to the collector, as name=value,…
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        default_value = "",
        hide_env_values = true
    )]
    otlp_headers: String,

    /// CA (PEM) behind the collector's certificate. Without it the platform's roots are trusted
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", default_value = "")]
    otlp_certificate_file: String,

    /// Which requests are traced: always_on, always_off or traceidratio; after parentbased_, as the server does
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER",
        default_value = "parentbased_always_on"
    )]
    traces_sampler: String,

    /// Share of traceidratio, from 0 to 1
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1")]
    traces_sampler_arg: String,

    /// Name of this agent in traces
    #[arg(
        long,
        env = "OTEL_SERVICE_NAME",
        default_value = "cattle-cluster-agent"
    )]
    otel_service_name: String,

    /// What else is said of it there, as name=value,…
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", default_value = "")]
    otel_resource_attributes: String,
}

impl TracesArgs {
    /// What is traced, if anything is.
    ///
    /// # Errors
    /// Names the flag and what would be right.
    pub(super) fn settings(&self) -> Result<Option<Settings>, String> {
        if self.otlp_endpoint.is_empty() {
            return Ok(None);
        }
        let or = |text: &str, default: &str| match text {
            "" => default.to_owned(),
            text => text.to_owned(),
        };
        let sampler = or(&self.traces_sampler, "parentbased_always_on");
        let ratio = or(&self.traces_sampler_arg, "1");
        let sampler = named("traces-sampler", settings::sampler(&sampler))?;
        let ratio = named("traces-sampler-arg", settings::ratio(&ratio))?;
        let certificate = &self.otlp_certificate_file;
        Ok(Some(Settings {
            endpoint: named("otlp-endpoint", settings::endpoint(&self.otlp_endpoint))?,
            headers: named("otlp-headers", settings::headers(&self.otlp_headers))?,
            certificate: (!certificate.is_empty()).then(|| PathBuf::from(certificate)),
            sampling: sampler.with(ratio),
            // Requests are the server's, which has decided for those who sent them.
            foreign_per_second: None,
            service_name: or(&self.otel_service_name, "cattle-cluster-agent"),
            service_version: env!("CARGO_PKG_VERSION"),
            resource: named(
                "otel-resource-attributes",
                settings::resource(&self.otel_resource_attributes),
            )?,
        }))
    }
}

fn named<T>(flag: &str, parsed: Result<T, String>) -> Result<T, String> {
    parsed.map_err(|fault| format!("--{flag}: {fault}"))
}

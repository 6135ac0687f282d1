//! Traces of requests, in the terms of OpenTelemetry: the context that comes with a request and goes
//! on with it (W3C Trace Context), spans, which of them are recorded, and their export to a collector
//! by OTLP over HTTP.
//!
//! Nothing is traced unless a collector is named; then [`Traces::off`] is what the program holds, and
//! every operation on it and its spans is a test of an `Option`. Nothing in this crate spawns a task:
//! [`Exporter::run`] is for the caller to run beside the program.
//!
//! The libraries of OpenTelemetry make the spans and write them down in OTLP. What bounds them is
//! here, and so is the exporter, because theirs read settings from the environment behind the back of
//! the program that uses them, and lose spans without counting.

#![warn(missing_docs)]

mod collector;
mod export;
mod propagation;
mod sampler;
pub mod settings;
mod span;

pub use collector::TlsError;
pub use export::{Counts, Exporter};
pub use opentelemetry::trace::TraceId;
pub use settings::Settings;
pub use span::{Span, Traces};

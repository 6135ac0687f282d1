//! Spans, and what begins them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use opentelemetry::trace::{
    SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::collector::TlsError;
use crate::export::{self, Exporter};
use crate::propagation;
use crate::sampler::Sampler;
use crate::settings::Settings;

/// What the text of an attribute is cut to, in bytes.
const LONGEST: usize = 1024;

/// Begins spans, or does nothing. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<SdkTracer>);

impl Traces {
    /// Nothing is traced.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Traces as `settings` say, and what exports them: nothing goes anywhere until that runs.
    ///
    /// # Errors
    /// When the CA of the collector cannot be used.
    pub fn start(settings: &Settings) -> Result<(Self, Exporter), TlsError> {
        let resource = export::resource(settings);
        let (queue, exporter) = export::queue(settings, &resource)?;
        let sampler = Sampler::new(settings.sampling, settings.foreign_per_second);
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_resource(resource)
            .with_span_processor(queue)
            .build();
        Ok((Self(Some(provider.tracer("lariat"))), exporter))
    }

    /// Begins the span of a request that came with these headers: a part of the trace that they name, or
    /// a new one.
    pub fn request(&self, headers: &HeaderMap, name: impl FnOnce() -> Cow<'static, str>) -> Span {
        let Some(tracer) = &self.0 else {
            return Span::none();
        };
        let parent = match propagation::extract(headers) {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        Span::begin(tracer, &parent, SpanKind::Server, name())
    }
}

/// A piece of work in a trace, or nothing. It ends when its last clone is dropped.
#[derive(Clone, Default)]
pub struct Span(Option<Arc<Begun>>);

struct Begun {
    tracer: SdkTracer,
    context: Context,
    kind: SpanKind,
}

impl Span {
    /// Nothing, which nothing is done with.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    fn begin(
        tracer: &SdkTracer,
        parent: &Context,
        kind: SpanKind,
        name: Cow<'static, str>,
    ) -> Self {
        let builder = tracer.span_builder(name).with_kind(kind.clone());
        let span = tracer.build_with_context(builder, parent);
        Self(Some(Arc::new(Begun {
            tracer: tracer.clone(),
            context: Context::new().with_span(span),
            kind,
        })))
    }

    /// Begins a part of this work.
    #[must_use]
    pub fn child(&self, name: &'static str) -> Self {
        self.part(SpanKind::Internal, name)
    }

    /// Begins a request that this work makes of others.
    #[must_use]
    pub fn client(&self, name: &'static str) -> Self {
        self.part(SpanKind::Client, name)
    }

    fn part(&self, kind: SpanKind, name: &'static str) -> Self {
        match &self.0 {
            Some(begun) if begun.context.span().is_recording() => {
                Self::begin(&begun.tracer, &begun.context, kind, name.into())
            }
            // Of what is not recorded, only the context is of use.
            _ => self.clone(),
        }
    }

    /// Whether anybody will see what is said of it.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        let begun = self.0.as_ref();
        begun.is_some_and(|begun| begun.context.span().is_recording())
    }

    /// Says something of it. Text is cut to 1024 bytes.
    pub fn set(&self, name: &'static str, value: impl Into<Attribute>) {
        if let Some(begun) = &self.0 {
            let span = begun.context.span();
            if span.is_recording() {
                span.set_attribute(KeyValue::new(name, value.into().0));
            }
        }
    }

    /// It was answered with this status: a fault of a server from 500 on, and for who has asked from 400 on.
    pub fn set_status(&self, status: StatusCode) {
        let Some(begun) = &self.0 else { return };
        self.set("http.response.status_code", i64::from(status.as_u16()));
        let failed = match begun.kind {
            SpanKind::Client => status.is_client_error() || status.is_server_error(),
            _ => status.is_server_error(),
        };
        if failed {
            self.set("error.type", status.as_str());
            begun.context.span().set_status(Status::error(""));
        }
    }

    /// It failed, because of this.
    pub fn fail(&self, why: impl fmt::Display) {
        if let Some(begun) = &self.0
            && begun.context.span().is_recording()
        {
            let why = cut(&why.to_string()).to_owned();
            begun.context.span().set_status(Status::error(why));
        }
    }

    /// Puts its context into the headers of a request that is made for it. Headers of a trace that is none of
    /// ours stay as they are.
    pub fn inject(&self, headers: &mut HeaderMap) {
        if let Some(begun) = &self.0 {
            propagation::inject(begun.context.span().span_context(), headers);
        }
    }

    /// For what is logged meanwhile: the field `trace_id`, whatever the level. Nothing if nothing is traced.
    #[must_use]
    pub fn in_log(&self) -> tracing::Span {
        self.trace_id().map_or_else(
            tracing::Span::none,
            |trace_id| tracing::error_span!("request", %trace_id),
        )
    }

    /// The id of the trace, recorded or not. `None` if nothing is traced.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        let begun = self.0.as_ref()?;
        Some(begun.context.span().span_context().trace_id())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Span::none"),
            Some(begun) => f
                .debug_tuple("Span")
                .field(begun.context.span().span_context())
                .finish(),
        }
    }
}

/// What is said of a span.
#[derive(Debug)]
pub struct Attribute(Value);

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self(Value::from(cut(text).to_owned()))
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self(Value::I64(number))
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self(Value::I64(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

/// The beginning of a text, whole characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

//! The way of a request: allowed, counted, read, in its turn, done.

use super::{
    ApiServer, Attributes, Body, Call, Sent, Trail, User, answer, delete, read, scale, watch, write,
};
use crate::body::collect;
use crate::error::ApiError;
use crate::flow::{Level, Seat, Ticket};
use crate::media;
use crate::request::{Target, Verb};
use http::header::{CACHE_CONTROL, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use std::time::Instant;

impl ApiServer {
    /// Answers a request of `user`. Failures are answers too; the [`ApiError`] is in the extensions of
    /// those, for who writes logs, and the [`Trail`] in those of all.
    pub async fn answer<B>(&self, user: User, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let started = Instant::now();
        let encoding = media::of_statuses(request.headers());
        let mut trail = Trail::of_path(request.method(), request.uri().path());
        let answered = self.try_answer(user, request, &mut trail).await;
        let mut answer = answered.unwrap_or_else(answer::failure);
        answer::write_failure_as(encoding, &mut answer);
        let caching = answer.headers_mut().entry(CACHE_CONTROL);
        caching.or_insert(HeaderValue::from_static("no-cache, private"));
        self.count(&mut answer, &trail, started);
        answer.extensions_mut().insert(trail);
        answer
    }

    /// Counts an answer. A watch is answered when it ends.
    fn count(&self, answer: &mut Response<Body>, trail: &Trail, started: Instant) {
        let code = answer.status().as_u16();
        let (metrics, labels, dry_run) = (&self.metrics, &trail.labels, trail.dry_run);
        if labels.verb == "WATCH" && answer.status().is_success() {
            let (metrics, labels) = (metrics.clone(), labels.clone());
            answer.body_mut().when_sent(move |_| {
                metrics.answered(&labels, dry_run, code, started.elapsed());
            });
            return;
        }
        metrics.answered(labels, dry_run, code, started.elapsed());
        if trail.reads() {
            let (metrics, labels) = (metrics.clone(), labels.clone());
            let sent = move |bytes| metrics.sent(&labels, bytes);
            answer.body_mut().when_sent(sent);
        }
    }

    async fn try_answer<B>(
        &self,
        user: User,
        request: Request<B>,
        trail: &mut Trail,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let target = match Target::parse(parts.uri.path()) {
            Target::Path(path) => {
                let query = parts.uri.query().unwrap_or_default();
                let verb = parts.method.as_str().to_ascii_lowercase();
                let (verb, path) = (verb.as_str(), path.as_str());
                self.allow(&user, &Attributes::Path { verb, path }, trail)?;
                let ticket = self.enter(&user, Level::Interactive, false)?;
                let _seat = self.seat(ticket.as_ref(), Level::Interactive).await?;
                return self.describe(path, query, &parts.headers);
            }
            target => target,
        };
        let deprecation = self.deprecation(&target);
        let answered = self.carry_out(user, target, (parts, body), trail).await;
        let mut answer = answered.unwrap_or_else(answer::failure);
        if let Some(warning) = deprecation {
            answer::warn(&mut answer, &warning);
        }
        Ok(answer)
    }

    /// What clients of the version that a request names are warned with.
    fn deprecation(&self, target: &Target) -> Option<String> {
        let Target::Resource {
            group,
            version,
            resource,
            ..
        } = target
        else {
            return None;
        };
        let registry = self.registry();
        let version = registry.get(group, resource)?.version(version)?;
        version.deprecation.clone()
    }

    /// Answers a request for a resource.
    async fn carry_out<B>(
        &self,
        user: User,
        target: Target,
        (parts, body): (Parts, B),
        trail: &mut Trail,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let call = self.call(user, target, &parts, trail).await?;
        if call.resource.hooks.is_review() && call.verb != Verb::Create {
            return Err(ApiError::method_not_allowed());
        }
        let level = Level::of(call.verb, &call.query);
        let ticket = self.enter(&call.user, level, call.verb == Verb::Watch)?;
        let working = self.metrics.begun(call.verb);
        let place = (ticket.as_ref(), level);
        let answered = self.work(&call, parts.headers, body, place, trail).await;
        let mut answer = answered.unwrap_or_else(answer::failure);
        drop(working);
        trail.annotations = call.notes.add_to(&mut answer);
        Ok(answer.map(|body| body.holding(ticket)))
    }

    /// Does what a request asks for when it is its turn.
    async fn work<B>(
        &self,
        call: &Call,
        headers: HeaderMap,
        body: B,
        (ticket, level): (Option<&Ticket>, Level),
        trail: &mut Trail,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let sent = match call.verb {
            Verb::Get | Verb::List | Verb::Watch => None,
            // Before the request's turn, so that nobody waits for a slow client.
            _ => {
                let body = collect(body, self.body_timeout).await?;
                trail.sent = Some(body.clone());
                // Who writes may watch from there on: what happens is kept from now.
                call.kind(&self.cache).await?;
                Some(Sent { headers, body })
            }
        };
        let _seat = self.seat(ticket, level).await?;
        let scaled = call.subresource.as_deref() == Some("scale");
        match (call.verb, &sent) {
            (Verb::List, _) => read::list(self, call).await,
            (Verb::Watch, _) => watch::watch(self, call, &trail.labels).await,
            (_, sent) if scaled => scale::answer(self, call, sent.as_ref()).await,
            (Verb::Create, Some(sent)) => write::create(self, call, sent).await,
            (Verb::Update, Some(sent)) => write::replace(self, call, sent).await,
            (Verb::Patch, Some(sent)) => write::patch(self, call, sent).await,
            (Verb::Delete, Some(sent)) => delete::delete(self, call, sent).await,
            (_, Some(sent)) => delete::delete_collection(self, call, sent).await,
            (_, None) => read::get(self, call).await,
        }
    }

    /// Counts a request among those of its user. The server's own are not counted.
    fn enter(&self, user: &User, level: Level, is_watch: bool) -> Result<Option<Ticket>, ApiError> {
        if user.is_master() {
            return Ok(None);
        }
        let entered = self.flow.enter(&user.name, is_watch);
        entered.map(Some).map_err(|why| {
            self.metrics.rejected(level, why);
            why.into()
        })
    }

    /// Waits for the turn of a request. The server's own do not wait.
    async fn seat(&self, ticket: Option<&Ticket>, level: Level) -> Result<Option<Seat>, ApiError> {
        let Some(ticket) = ticket else {
            return Ok(None);
        };
        let waiting = Instant::now();
        match ticket.seat(level).await {
            Ok(seat) => {
                self.metrics.dispatched(level.as_str(), waiting.elapsed());
                Ok(Some(seat))
            }
            Err(why) => {
                self.metrics.rejected(level, why);
                Err(why.into())
            }
        }
    }
}

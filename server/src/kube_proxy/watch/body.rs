//! The body of a watch's answer, which goes on when the cluster's breaks off.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::asked::{Again, Asked};
use super::course::Course;
use super::events::{Events, Format, Next};
use super::held::Share;
use super::{Outcome, Watches, expired};
use crate::edge::BoxError;

/// How long behind the ends of a session's streams it may be known that the session is leaving: they come by different ways.
const MOMENT: Duration = Duration::from_millis(100);

/// Whom a watch can be asked of again.
pub(super) trait Source: Send + Unpin + 'static {
    /// What they answer.
    type Body: Answer;

    /// Asks; waits until they can be reached. Who awaits it sets a limit.
    fn ask(&self, again: Again) -> BoxFuture<'static, Reply<Self::Body>>;
}

/// One answer to a watch.
pub(super) trait Answer:
    HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static
{
    /// Whether what it comes by is ending. It is no word of the cluster then that the answer ends.
    fn is_leaving(&self) -> bool;
}

/// What comes of asking again.
pub(super) enum Reply<B> {
    /// The watch goes on.
    GoesOn(B),
    /// The cluster remembers too little.
    Expired,
    /// It may be tried again, not before this time has passed.
    Later(Duration),
    /// It may not.
    Refused,
    /// The time that the client wanted to watch is over.
    Over,
    /// There was none in time.
    None,
}

/// A watch: of an answer, or of several.
pub(super) struct Watch<S: Source> {
    watches: Watches,
    source: S,
    asked: Asked,
    format: Format,
    events: Events,
    share: Share,
    course: Course,
    began: Instant,
    state: State<S::Body>,
}

enum State<B> {
    Open(B),
    /// It has ended in order; until then it may turn out that this was no word of the cluster.
    Ending(B, Pin<Box<Sleep>>),
    Asking(BoxFuture<'static, Reply<B>>),
    Ended,
}

impl<S: Source> Watch<S> {
    /// The watch of this request that begins with this answer.
    pub(super) fn new(
        watches: Watches,
        source: S,
        asked: Asked,
        format: Format,
        first: S::Body,
    ) -> Self {
        let began = Instant::now();
        Self {
            share: watches.held.share(),
            watches,
            source,
            format,
            events: Events::new(format, asked.start()),
            asked,
            course: Course::new(began.into_std()),
            began,
            state: State::Open(first),
        }
    }

    fn read(&mut self, chunk: &Bytes) -> Bytes {
        let most = self.share.grow(self.events.holds() + chunk.len());
        let passed = self.events.read(chunk, most);
        self.share.shrink(self.events.holds());
        self.course.passed(passed.events);
        passed.bytes
    }

    /// The answer broke off. Whether the watch outlives that; otherwise it ends as the answer did.
    fn outlives(&mut self) -> bool {
        if self.events.next() == Next::Never {
            self.watches.count(Outcome::Unknown);
            self.state = State::Ended;
            return false;
        }
        // What is not whole comes again.
        drop(self.events.rest());
        self.share.shrink(0);
        self.try_again(Duration::ZERO);
        true
    }

    /// Asks for the rest, or ends in order.
    fn try_again(&mut self, least: Duration) {
        self.state = State::Ended;
        let (now, began) = (Instant::now().into_std(), self.began.into_std());
        let again = self.asked.again(self.events.next(), began);
        let Some(again) = again.filter(|again| again.path_and_query(now).is_some()) else {
            return;
        };
        let Some(pause) = self.course.failed(now, least, rand::random()) else {
            return self.watches.count(Outcome::GivenUp);
        };
        let (left, reply) = (self.course.left(now), self.source.ask(again));
        let reply = async move {
            sleep(pause).await;
            reply.await
        };
        self.state = State::Asking(Box::pin(async move {
            timeout(left, reply).await.unwrap_or(Reply::None)
        }));
    }

    /// Goes on as the reply says. Returns what the client is sent for it.
    fn go_on(&mut self, reply: Reply<S::Body>) -> Bytes {
        self.state = State::Ended;
        let outcome = match reply {
            Reply::GoesOn(body) => {
                self.course.resumed(Instant::now().into_std());
                self.state = State::Open(body);
                self.watches.count(Outcome::Resumed);
                return Bytes::from_static(self.events.begin_again());
            }
            Reply::Expired => {
                self.watches.count(Outcome::Expired);
                let before = self.events.begin_again();
                let event = expired::event(self.format).unwrap_or_default();
                return [before, &event[..]].concat().into();
            }
            Reply::Later(least) => {
                self.try_again(least);
                return Bytes::new();
            }
            Reply::Over => return Bytes::new(),
            Reply::Refused => Outcome::Refused,
            Reply::None => Outcome::GivenUp,
        };
        self.watches.count(outcome);
        Bytes::new()
    }
}

impl<S: Source> HttpBody for Watch<S> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let watch = self.get_mut();
        loop {
            let bytes = match &mut watch.state {
                State::Open(body) => match ready!(Pin::new(&mut *body).poll_frame(context)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(chunk) => watch.read(&chunk),
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    },
                    Some(Err(error)) => {
                        if !watch.outlives() {
                            return Poll::Ready(Some(Err(error.into())));
                        }
                        Bytes::new()
                    }
                    None => {
                        if let State::Open(body) = mem::replace(&mut watch.state, State::Ended) {
                            watch.state = State::Ending(body, Box::pin(sleep(MOMENT)));
                        }
                        Bytes::new()
                    }
                },
                State::Ending(body, moment) => {
                    let is_leaving = body.is_leaving() || {
                        ready!(moment.as_mut().poll(context));
                        body.is_leaving()
                    };
                    if is_leaving && watch.outlives() {
                        Bytes::new()
                    } else {
                        watch.state = State::Ended;
                        watch.events.rest()
                    }
                }
                State::Asking(reply) => {
                    let reply = ready!(reply.as_mut().poll(context));
                    watch.go_on(reply)
                }
                State::Ended => return Poll::Ready(None),
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! On the side that dials: brings the session another carrier when it has lost its own.

use super::Shared;
use crate::{
    dial::Connected,
    lane::{Control, End},
};
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};
use tunnel_proto::backoff::{self, Backoff};

/// Waits between attempts. A network that heals is noticed within the longest of them and the
/// time that an attempt takes.
const WAITS: backoff::Config = backoff::Config {
    base: Duration::from_millis(200),
    cap: Duration::from_millis(1_500),
    healthy: Duration::from_secs(1),
    longest_word: Duration::from_secs(600),
};

/// Makes one attempt to go on with a session over another carrier.
pub(crate) trait Redial: Send + Sync {
    /// Dials, says what the session of `control` has received, and attaches the new carrier.
    fn redial(
        &self,
        session: &str,
        control: Arc<Control>,
    ) -> BoxFuture<'static, Result<Redialled, Again>>;
}

/// What became of an attempt.
pub(crate) enum Redialled {
    /// The session goes on.
    Resumed,
    /// It does not.
    Over(End),
    /// It does not, but another one has begun.
    Succeeded(Box<Connected>),
}

/// Another attempt is to be made.
pub(crate) struct Again {
    /// The server's word on when.
    pub(crate) retry_after: Option<Duration>,
}

/// Keeps a session on a carrier.
pub(crate) struct Keeper {
    redial: Arc<dyn Redial>,
    backoff: Backoff,
    /// What waits are drawn from.
    randomness: StdRng,
    doing: Doing,
}

enum Doing {
    Nothing,
    Dialling(BoxFuture<'static, Result<Redialled, Again>>),
    Waiting(Pin<Box<Sleep>>),
}

impl Keeper {
    pub(crate) fn new(redial: Arc<dyn Redial>, randomness: StdRng) -> Self {
        let mut backoff = Backoff::new(WAITS);
        backoff.connected(Instant::now().into_std());
        Self {
            redial,
            backoff,
            randomness,
            doing: Doing::Nothing,
        }
    }

    /// Does what there is to do; says why the session is over, if it is.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Option<End> {
        loop {
            let now = Instant::now().into_std();
            self.doing = match &mut self.doing {
                Doing::Nothing if shared.control.is_attached() => return None,
                Doing::Nothing => self.wait(now, None),
                Doing::Waiting(until) => match until.as_mut().poll(cx) {
                    Poll::Pending => return None,
                    Poll::Ready(()) => {
                        let control = Arc::clone(&shared.control);
                        Doing::Dialling(self.redial.redial(&shared.id, control))
                    }
                },
                Doing::Dialling(attempt) => match attempt.as_mut().poll(cx) {
                    Poll::Pending => return None,
                    Poll::Ready(Ok(Redialled::Resumed)) => {
                        self.backoff.connected(now);
                        // The lane takes the carrier at its next poll, which is due.
                        cx.waker().wake_by_ref();
                        self.doing = Doing::Nothing;
                        return None;
                    }
                    Poll::Ready(Ok(Redialled::Over(end))) => return Some(end),
                    Poll::Ready(Ok(Redialled::Succeeded(successor))) => {
                        let mut place = shared
                            .successor
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner);
                        *place = Some(successor);
                        return Some(End::Forgotten("it began another one".into()));
                    }
                    Poll::Ready(Err(Again { retry_after })) => self.wait(now, retry_after),
                },
            };
        }
    }

    fn wait(&mut self, now: std::time::Instant, retry_after: Option<Duration>) -> Doing {
        let wait = self.backoff.next(now, retry_after, &mut self.randomness);
        Doing::Waiting(Box::pin(tokio::time::sleep(wait)))
    }
}

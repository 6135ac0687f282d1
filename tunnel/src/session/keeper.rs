//! On the side that dials: brings a lane another carrier when it has lost its own.

use super::Shared;
use crate::{
    dial::Connected,
    lane::{Control, End},
};
use futures::future::BoxFuture;
use rand::{SeedableRng as _, rngs::StdRng};
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

/// Makes one attempt to go on with a lane of a session over another carrier.
pub(crate) trait Redial: Send + Sync {
    /// Dials, says what the lane of `control` has received, and attaches the new carrier. The lane
    /// is the session's bulk lane of that number, or the interactive one, which has the number 0.
    fn redial(
        &self,
        session: &str,
        number: u32,
        control: Arc<Control>,
    ) -> BoxFuture<'static, Result<Redialled, Again>>;
}

/// What became of an attempt.
pub(crate) enum Redialled {
    /// The lane goes on.
    Resumed,
    /// It does not.
    Over(End),
    /// It does not, nor does its session, but another one has begun.
    Succeeded(Box<Connected>),
}

/// Another attempt is to be made.
pub(crate) struct Again {
    /// The server's word on when.
    pub(crate) retry_after: Option<Duration>,
}

/// Keeps a lane on a carrier.
pub(crate) struct Keeper {
    redial: Arc<dyn Redial>,
    number: u32,
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
    /// For the interactive lane of a session, on its first carrier.
    pub(crate) fn new(redial: Arc<dyn Redial>, randomness: StdRng) -> Self {
        let mut backoff = Backoff::new(WAITS);
        backoff.connected(Instant::now().into_std());
        Self {
            redial,
            number: 0,
            backoff,
            randomness,
            doing: Doing::Nothing,
        }
    }

    /// For a bulk lane of the same session, which waits for its first carrier.
    pub(super) fn beside(&mut self, number: u32) -> Self {
        Self {
            redial: Arc::clone(&self.redial),
            number,
            backoff: Backoff::new(WAITS),
            randomness: StdRng::from_rng(&mut self.randomness),
            doing: Doing::Waiting(Box::pin(tokio::time::sleep(Duration::ZERO))),
        }
    }

    /// Does what there is to do for the lane of `control`; says why the lane is over, if it is.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        control: &Arc<Control>,
    ) -> Option<End> {
        loop {
            let now = Instant::now().into_std();
            self.doing = match &mut self.doing {
                Doing::Nothing if control.is_attached() => return None,
                Doing::Nothing => self.wait(now, None),
                Doing::Waiting(until) => match until.as_mut().poll(cx) {
                    Poll::Pending => return None,
                    Poll::Ready(()) => {
                        let control = Arc::clone(control);
                        Doing::Dialling(self.redial.redial(&shared.id, self.number, control))
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

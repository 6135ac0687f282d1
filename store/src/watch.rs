//! The reading end of a watch.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;

use crate::{Change, Revision, WatchError};

/// All changes of one revision that a watcher asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The revision. Watching again after it misses nothing and repeats nothing.
    pub revision: Revision,
    /// At least one; none in a watch [with progress](Watch::with_progress).
    pub changes: Vec<Arc<Change>>,
}

/// What is done to changes on their way to the reader.
pub(crate) type Map = Arc<dyn Fn(Changes) -> Changes + Send + Sync>;

/// A stream of [`Changes`]. Ends after its first error. Dropping it ends the watch.
pub struct Watch {
    backlog: VecDeque<Changes>,
    live: mpsc::Receiver<Changes>,
    lagged: Arc<AtomicBool>,
    ended: bool,
    progress: bool,
    map: Option<Map>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Watch");
        shown.field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Watch {
    /// A watch that first yields `backlog` and then what is fed. At most `capacity` revisions wait
    /// for the reader.
    pub(crate) fn new(backlog: VecDeque<Changes>, capacity: usize) -> (Feed, Self) {
        let (sender, live) = mpsc::channel(capacity);
        let lagged = Arc::new(AtomicBool::new(false));
        let feed = Feed {
            sender,
            lagged: Arc::clone(&lagged),
        };
        let watch = Self {
            backlog,
            live,
            lagged,
            ended: false,
            progress: false,
            map: None,
        };
        (feed, watch)
    }

    /// The same watch, whose changes are mapped when they are read.
    pub(crate) fn mapped(self, map: Map) -> Self {
        Self {
            map: Some(map),
            ..self
        }
    }

    /// The same watch, which also yields revisions at which nothing happened under its prefix, with
    /// no changes. Others who use the same etcd take such revisions; in redb there are none.
    #[must_use]
    pub fn with_progress(self) -> Self {
        Self {
            progress: true,
            ..self
        }
    }

    /// The next changes. Cancellation-safe.
    ///
    /// # Errors
    /// Once, when the watch was cut off or the store stopped; `None` after that.
    pub async fn next(&mut self) -> Option<Result<Changes, WatchError>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Watch {
    type Item = Result<Changes, WatchError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let next = match self.backlog.pop_front() {
                Some(changes) => Some(changes),
                None => ready!(self.live.poll_recv(context)),
            };
            match next {
                Some(changes) if changes.changes.is_empty() && !self.progress => {}
                Some(changes) => {
                    return Poll::Ready(Some(Ok(match &self.map {
                        Some(map) => map(changes),
                        None => changes,
                    })));
                }
                None => break,
            }
        }
        self.ended = true;
        let error = if self.lagged.load(Ordering::Acquire) {
            WatchError::Lagged
        } else {
            WatchError::Stopped
        };
        Poll::Ready(Some(Err(error)))
    }
}

/// The writing end of a watch.
#[derive(Debug)]
pub(crate) struct Feed {
    sender: mpsc::Sender<Changes>,
    lagged: Arc<AtomicBool>,
}

impl Feed {
    /// Hands over changes without waiting. Returns whether the watch goes on: it does not when the
    /// reader is gone or has no room.
    pub(crate) fn offer(&self, changes: Changes) -> bool {
        match self.sender.try_send(changes) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.cut_off();
                false
            }
        }
    }

    /// As [`Self::offer`], but waits so long for room.
    pub(crate) async fn send(&self, changes: Changes, patience: Duration) -> bool {
        match self.sender.send_timeout(changes, patience).await {
            Ok(()) => true,
            Err(mpsc::error::SendTimeoutError::Closed(_)) => false,
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                self.cut_off();
                false
            }
        }
    }

    /// Lets the watch end with [`WatchError::Lagged`] when this is dropped.
    pub(crate) fn cut_off(&self) {
        self.lagged.store(true, Ordering::Release);
    }

    /// Ends when the reader is gone.
    pub(crate) fn reader_gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let sender = self.sender.clone();
        async move { sender.closed().await }
    }

    /// Whether the reader is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

//! What runs a bulk lane, inside of its session's driver.

use super::{Ended, New, is_used};
use crate::{
    lane::{Control, End},
    mux::{Mux, MuxError, Opener},
    session::{
        Shared,
        driver::{GOODBYE, Inlet},
        keeper::Keeper,
    },
};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tunnel_proto::{frame::CloseCode, mux::Side};

/// How long the agent keeps a lane that nobody uses.
const IDLE: Duration = Duration::from_secs(60);

/// How long a lane that the peer leaves has to have been unused before it is closed: what is
/// written and what ends a stream has left by then.
const SETTLED: Duration = Duration::from_secs(1);

/// Moves the bytes of one bulk lane until it is over.
pub(in crate::session) struct LaneDriver {
    number: u32,
    mux: Box<dyn Mux>,
    opener: Opener,
    /// Brings it its carriers, on the side that dials.
    keeper: Option<Keeper>,
    control: Arc<Control>,
    shared: Arc<Shared>,
    inlet: Inlet,
    over: CancellationToken,
    /// The session is over, or a newer lane is there.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    users: Arc<()>,
    state: State,
    attached: bool,
    /// Since when nobody has used it.
    unused_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// What it ended with, if that was not in order.
    lost: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// The session opens nothing on it any more.
    Leaving,
    Closing,
}

impl LaneDriver {
    pub(in crate::session) fn new(new: New, shared: &Arc<Shared>, inlet: Inlet) -> Self {
        Self {
            number: new.number,
            mux: new.mux,
            opener: new.opener,
            keeper: new.keeper,
            control: new.control,
            shared: Arc::clone(shared),
            inlet,
            cut: Box::pin(new.over.clone().cancelled_owned()),
            over: new.over,
            users: new.users,
            state: State::Running,
            attached: false,
            unused_since: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            lost: None,
        }
    }

    /// Takes in streams of the peer, and moves what there is to move.
    fn poll_accepts(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>> {
        loop {
            match std::task::ready!(self.mux.poll_accept(cx))? {
                Some(stream) => {
                    let mark = Some(Arc::clone(&self.users));
                    self.inlet.take(stream, mark, &self.control);
                }
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// What the link reported since last time.
    fn take_events(&mut self) {
        let was_attached = std::mem::replace(&mut self.attached, self.control.is_attached());
        if self.attached && !was_attached {
            self.shared.bulk.attached();
        }
        let events = self.control.take_events();
        if events.draining.is_some() && self.state == State::Running {
            self.state = State::Leaving;
            self.unused_since = None;
            self.shared.bulk.leave(self.number);
        }
        if let Some(end) = events.end {
            self.lost.get_or_insert(end);
        }
    }

    fn is_unused(&self) -> bool {
        if is_used(&self.users) {
            return false;
        }
        let streams = self.opener.stats().unwrap_or_default();
        let status = self.control.status();
        // What was written, and the ends of streams, have arrived. What the peer wrote has too, where the
        // lane is about to be closed: it has had a connection for a while.
        streams.own_streams + streams.peer_streams == 0
            && status.unacknowledged == 0
            && (status.attached || self.state == State::Running)
    }

    /// How long it may be unused; `None`: for ever.
    fn patience(&self) -> Option<Duration> {
        match (self.shared.terms.side, self.state) {
            (Side::Agent, State::Running | State::Leaving) => Some(IDLE),
            (Side::Server, State::Leaving) => Some(SETTLED),
            _ => None,
        }
    }

    /// Lets a lane go that nobody uses. The agent says that it does, and the server closes it:
    /// what the server had opened by then has come before, and is seen through.
    fn look_after(&mut self, cx: &mut Context<'_>) {
        let Some(patience) = self.patience() else {
            return;
        };
        if !self.is_unused() {
            self.unused_since = None;
            return;
        }
        let now = Instant::now();
        let until = *self.unused_since.get_or_insert(now) + patience;
        if until > now {
            if self.timer.deadline() != until {
                self.timer.as_mut().reset(until);
            }
            if self.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            return;
        }
        self.unused_since = None;
        match self.state {
            State::Running if self.shared.bulk.leave_unused(self.number) => {
                self.state = State::Leaving;
                self.control.ask_drain(Duration::ZERO, "nothing to carry");
            }
            State::Leaving => self.close("nothing to carry"),
            State::Running | State::Closing => {}
        }
        cx.waker().wake_by_ref();
    }

    fn close(&mut self, reason: &str) {
        self.control.set_close(CloseCode::Normal, reason);
        self.timer.as_mut().reset(Instant::now() + GOODBYE);
        self.state = State::Closing;
    }

    /// What has become of it.
    fn how(&mut self) -> Ended {
        let Some(end) = self.lost.take() else {
            return Ended::InOrder;
        };
        // A lane in whose place there is another one has one mark less.
        let present = usize::from(!self.shared.bulk.has_newer(self.number));
        let used = Arc::strong_count(&self.users) > 1 + present;
        let broke_rules = match &end {
            End::Protocol(_) | End::Carrier(_) | End::Mux(_) => true,
            End::ClosedByPeer { code, .. } => *code != CloseCode::Normal,
            _ => false,
        };
        if broke_rules || (used && !self.shared.over.is_cancelled()) {
            Ended::Lost(end)
        } else if self.control.status().carriers == 0 {
            Ended::NeverCame
        } else {
            Ended::InOrder
        }
    }
}

impl Future for LaneDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.state != State::Closing && this.cut.as_mut().poll(cx).is_ready() {
            if this.shared.bulk.has_newer(this.number) {
                this.lost = Some(End::Replaced);
                return Poll::Ready(());
            }
            this.close("the session is over");
        }
        if this.state == State::Closing {
            let closed = this.mux.poll_close(cx).is_ready();
            return match closed || this.timer.as_mut().poll(cx).is_ready() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            };
        }
        let accepted = this.poll_accepts(cx);
        this.take_events();
        if let Poll::Ready(result) = accepted {
            let why = match result {
                Err(MuxError::Protocol(message)) => End::Mux(message),
                _ => End::CarrierLost("connection ended".into()),
            };
            this.lost.get_or_insert(why);
            return Poll::Ready(());
        }
        if let Some(keeper) = &mut this.keeper
            && let Some(end) = keeper.poll(cx, &this.shared, &this.control)
        {
            this.lost.get_or_insert(end);
            return Poll::Ready(());
        }
        this.look_after(cx);
        Poll::Pending
    }
}

impl Drop for LaneDriver {
    fn drop(&mut self) {
        let how = self.how();
        self.over.cancel();
        self.shared.bulk.ended(self.number, how);
    }
}

impl fmt::Debug for LaneDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneDriver")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

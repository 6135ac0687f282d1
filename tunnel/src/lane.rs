//! One lane of a session: a [`Link`], and the carrier it is on while there is one.
//!
//! Everything happens in the poll functions, in the one task that drives the session: nothing is
//! locked, and a blocked write never keeps a message from being read. A carrier that is lost is let
//! go; the lane waits for the next one, which whoever shakes hands with the peer attaches.

mod control;
mod io;

pub(crate) use control::{Control, Frozen, Seen};
pub use control::{End, LaneStatus};
pub(crate) use io::LaneIo;

use crate::carrier::Carrier;
use bytes::{Bytes, BytesMut};
use std::{
    future::Future,
    io::ErrorKind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::Sleep;
use tunnel_proto::{
    budget::Grant,
    frame::{CloseCode, Offset},
    link::{self, Event, Link, LinkError},
    mux::Out,
};

/// Received bytes that may wait for the multiplexer before the carrier is left unread.
const READ_AHEAD: usize = 128 * 1024;

/// The same while nothing can be written.
const READ_AHEAD_BLOCKED: usize = 8 * 1024 * 1024;

/// Written bytes that may wait for the carrier: one message. Every one of them is latency for all
/// streams.
const WRITE_AHEAD: usize = link::FULL;

/// By how much the replay bound grows that is too small.
const GROWTH: usize = 4;

/// The shortest time after which a quiet carrier is asked whether it lives.
const LEAST_QUIET: Duration = Duration::from_secs(1);

/// How soon to look again at a link whose carrier takes nothing.
const STUCK: Duration = Duration::from_secs(1);

/// For how long the least replay bound must have been enough before what the bound has grown by is
/// given back.
const SPARE: Duration = Duration::from_secs(10);

/// A link with its carrier. See the [module](self).
pub(crate) struct Lane {
    link: Link,
    place: Place,
    /// How long it waits for another carrier.
    window: Duration,
    control: Arc<Control>,
    timer: Pin<Box<Sleep>>,
    replay: Grant,
    /// Since when the least replay bound would be enough; `None` while it is not.
    spare_since: Option<Instant>,
    over: bool,
}

/// Where a link is.
enum Place {
    On {
        carrier: Box<Carrier>,
        /// Messages were handed to the carrier and not flushed.
        unflushed: bool,
        /// It takes nothing more, and that has not been acted on.
        broken: Option<End>,
    },
    /// Waits for a carrier, until then. What the last one died of.
    Nowhere { until: Instant, why: End },
}

impl Place {
    fn on(carrier: Carrier) -> Self {
        Self::On {
            carrier: Box::new(carrier),
            unflushed: false,
            broken: None,
        }
    }
}

/// The lane is over; its [`Control`] knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over;

impl Lane {
    /// A lane on its first carrier, or one that waits for it.
    pub(crate) fn new(
        mut link: Link,
        carrier: Option<Carrier>,
        window: Duration,
        replay: Grant,
        control: Arc<Control>,
    ) -> Self {
        let place = match carrier {
            Some(carrier) => {
                // A fresh link accepts offset 0.
                let _ = link.attach(now(), Offset(0));
                control.attached();
                Place::on(carrier)
            }
            None => Place::Nowhere {
                until: now() + window,
                why: End::CarrierLost("no connection came about".into()),
            },
        };
        Self {
            link,
            place,
            window,
            control,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            replay,
            spare_since: None,
            over: false,
        }
    }

    /// Lets the lane do all it can now: orders, time, messages in, messages out.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        if self.over {
            return Err(Over);
        }
        self.control.register(cx.waker());
        let now = now();
        self.take_orders(now);
        self.narrow(now);
        self.carry(cx, now)
            .and_then(|()| self.run_timer(cx, now))
            .and_then(|()| self.report())
            .map_err(|end| self.end(cx, end))
    }

    /// Ends the lane: the peer broke the rules of what is above it.
    pub(crate) fn accuse(&mut self, cx: &mut Context<'_>, fault: &str) -> Over {
        self.end(cx, End::Mux(fault.to_owned()))
    }

    fn end(&mut self, cx: &mut Context<'_>, end: End) -> Over {
        self.over = true;
        let fault = match &end {
            End::Protocol(error) => Some(error.to_string()),
            End::Mux(fault) => Some(fault.clone()),
            _ => None,
        };
        // Tells a peer that broke the rules which one, if the carrier takes it at once.
        if let Some(fault) = fault
            && let Some(message) = self.link.abort(CloseCode::ProtocolError, &fault)
            && let Place::On { carrier, .. } = &mut self.place
            && let Poll::Ready(Ok(())) = carrier.poll_ready(cx)
        {
            carrier.start_send(message);
            let _ = carrier.poll_flush(cx);
        }
        self.control.ended(end);
        Over
    }

    fn take_orders(&mut self, now: Instant) {
        let orders = self.control.take_orders();
        if let Some((deadline, reason)) = orders.drain {
            self.link.drain(deadline, &reason);
        }
        if let Some(number) = orders.want {
            self.link.want_lane(number);
        }
        if let Some(answer) = orders.freeze {
            // From here on nothing more is received on the old carrier, nor on one that was about
            // to be attached: the newest handshake wins.
            self.detach(now, End::Replaced);
            let _ = answer.send(self.control.freeze(self.link.received()));
        } else if let Some(new) = orders.attach {
            match self.link.attach(now, new.peer_received) {
                Ok(()) => {
                    self.control.attached();
                    self.place = Place::on(new.carrier);
                }
                // It costs the carrier, not the session, which waits for the next one.
                Err(error) => {
                    if let Place::Nowhere { why, .. } = &mut self.place {
                        *why = unfit(error);
                    }
                }
            }
        }
    }

    /// Lets the carrier go, and waits for another one.
    fn detach(&mut self, now: Instant, why: End) {
        if let (End::CarrierLost(_), Some(silence)) = (&why, self.link.silence(now)) {
            self.learn(silence);
        }
        self.link.detach();
        if let Place::On { .. } = self.place {
            self.control.detached(&why);
            let until = now + self.window;
            self.place = Place::Nowhere { until, why };
        }
    }

    /// A carrier that is closed while nothing goes over it may be one that something in between
    /// closes for that: from now on it is not left quiet for as long.
    fn learn(&mut self, silence: Duration) {
        if (LEAST_QUIET..self.link.quiet()).contains(&silence) {
            self.link.set_quiet((silence / 2).max(LEAST_QUIET));
        }
    }

    fn carry(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        let carried = self.receive(cx, now).and_then(|()| {
            self.send(cx, now)
                .or_else(|loss| self.last_words(cx, now, loss))
        });
        match carried {
            Ok(()) => Ok(()),
            Err(Loss::OfCarrier(why)) => {
                self.detach(now, why);
                if self.window.is_zero() {
                    self.expire()
                } else {
                    Ok(())
                }
            }
            Err(Loss::OfLane(end)) => Err(end),
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Loss> {
        let most = self.read_ahead();
        let Place::On { carrier, .. } = &mut self.place else {
            return Ok(());
        };
        while self.link.held() < most && !self.link.is_closed() {
            let Poll::Ready(message) = carrier.poll_message(cx) else {
                break;
            };
            self.link.handle_message(now, message?)?;
        }
        Ok(())
    }

    /// A carrier takes nothing more when the peer has closed it; what the peer said before may still
    /// wait there, such as a goodbye.
    fn last_words(&mut self, cx: &mut Context<'_>, now: Instant, loss: Loss) -> Result<(), Loss> {
        match self.receive(cx, now) {
            Err(Loss::OfLane(end)) => Err(Loss::OfLane(end)),
            _ if self.link.is_closed() => Ok(()),
            _ => Err(loss),
        }
    }

    /// A multiplexer that cannot write may not read either. The acknowledgements that would let it
    /// write stand behind the data it does not read, so more of that is taken in then; the peer's
    /// replay buffer is smaller than this bound.
    fn read_ahead(&self) -> usize {
        match self.room() {
            0 => READ_AHEAD_BLOCKED,
            _ => READ_AHEAD,
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Loss> {
        let Place::On {
            carrier,
            unflushed,
            broken,
        } = &mut self.place
        else {
            return Ok(());
        };
        if let Some(why) = broken.take() {
            return Err(Loss::OfCarrier(why));
        }
        while let Poll::Ready(ready) = carrier.poll_ready(cx) {
            ready?;
            let Some(message) = self.link.poll_message(now) else {
                break;
            };
            carrier.start_send(message);
            *unflushed = true;
        }
        Ok(())
    }

    /// Lets time pass for the link, then sleeps until its next deadline. The timer is moved only
    /// to an earlier time: most deadlines are put off again and again, and a wake-up that comes
    /// too soon costs less.
    fn run_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        if self.link.poll_timeout().is_some_and(|at| at <= now) {
            self.link.handle_timeout(now);
            self.rest(now);
            self.carry(cx, now)?;
        }
        let deadline = match &self.place {
            Place::On { .. } => self.link.poll_timeout(),
            Place::Nowhere { until, .. } if *until <= now => return self.expire(),
            Place::Nowhere { until, .. } => Some(*until),
        };
        let Some(deadline) = deadline else {
            return Ok(());
        };
        // A deadline that stays in the past waits for the carrier to take a message.
        let wake = if deadline <= now {
            now + STUCK
        } else {
            deadline
        };
        if self.timer.is_elapsed() || wake < self.timer.deadline().into_std() {
            self.timer.as_mut().reset(wake.into());
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// A carrier that is quiet needs no large buffers.
    fn rest(&mut self, now: Instant) {
        let is_quiet = self.link.silence(now) >= Some(LEAST_QUIET);
        if let Place::On {
            carrier,
            unflushed: false,
            ..
        } = &mut self.place
            && is_quiet
        {
            carrier.rest();
        }
    }

    /// No carrier came in time.
    fn expire(&self) -> Result<(), End> {
        match &self.place {
            Place::Nowhere { why, .. } => Err(why.clone()),
            Place::On { .. } => Ok(()),
        }
    }

    fn report(&mut self) -> Result<(), End> {
        while let Some(event) = self.link.poll_event() {
            match event {
                Event::CarrierSilent => {
                    self.detach(now(), End::Silent);
                    if self.window.is_zero() {
                        return Err(End::Silent);
                    }
                }
                Event::Draining { deadline, reason } => self.control.draining(deadline, reason),
                Event::LaneWanted(number) => self.control.wanted(number),
                Event::Closed { code, reason } => {
                    self.control.ended(End::ClosedByPeer { code, reason });
                }
            }
        }
        self.control.see(Seen {
            round_trip: self.link.round_trip(),
            sent: self.link.written().0,
            received: self.link.received().0,
            unacknowledged: self.link.unacknowledged(),
            replay_bound: self.link.replay_bound(),
        });
        Ok(())
    }

    /// How many bytes may be written now.
    pub(crate) fn room(&self) -> usize {
        let waiting = WRITE_AHEAD.saturating_sub(self.link.unsent());
        waiting.min(self.link.room())
    }

    /// Writes as many bytes as there is room for; says how many.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        self.link.write(bytes)
    }

    /// Makes a message of what was written so far.
    pub(crate) fn seal(&mut self) {
        self.link.flush();
    }

    /// Moves received bytes into `out`; says how many.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> usize {
        self.link.read(out)
    }

    /// Received bytes, as they came.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        self.link.take()
    }

    /// The last round trip on this carrier.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.link.round_trip()
    }

    /// Whether written bytes wait for the carrier.
    pub(crate) fn has_unsent(&self) -> bool {
        self.link.unsent() > 0
    }

    /// Whether the link was closed, by either side.
    pub(crate) fn is_closed(&self) -> bool {
        self.link.is_closed()
    }

    /// Lets more be on its way, if the way takes more and there is memory for it.
    pub(crate) fn widen(&mut self) {
        if self.link.take_short() {
            let bound = self.link.replay_bound();
            let more = self.replay.grow((GROWTH - 1) * bound, bound / 4);
            self.link.set_replay_bound(bound + more);
        }
    }

    /// Gives back what the replay bound has grown by, if less has been enough for a while. Without a
    /// carrier the bound stays: what is kept may be about to grow.
    fn narrow(&mut self, now: Instant) {
        let least = self.link.replay_bound() - self.replay.bytes();
        let attached = matches!(self.place, Place::On { .. });
        if self.replay.bytes() == 0 || !attached || self.link.unacknowledged() > least {
            self.spare_since = None;
        } else if now >= *self.spare_since.get_or_insert(now) + SPARE {
            self.link.set_replay_bound(least);
            self.replay.give_back();
            self.spare_since = None;
        }
    }

    /// Lets the carrier write what was handed to it.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Place::On {
            carrier,
            unflushed,
            broken,
        } = &mut self.place
            && *unflushed
        {
            if let Err(error) = ready!(carrier.poll_flush(cx)) {
                *broken = Some(lost(&error));
                cx.waker().wake_by_ref();
            }
            *unflushed = false;
        }
        Poll::Ready(())
    }

    /// Says goodbye behind everything that was written, then closes the carrier and waits until the
    /// peer has done so: a connection that is dropped with bytes unread is reset, and the goodbye
    /// may be lost with it.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((code, reason)) = self.control.take_close() {
            self.link.close(code, &reason);
        }
        if !self.link.is_closed() {
            if self.poll(cx).is_err() || matches!(self.place, Place::Nowhere { .. }) {
                return Poll::Ready(());
            }
            if !self.link.is_closed() {
                return Poll::Pending;
            }
        }
        ready!(self.poll_flush(cx));
        match &mut self.place {
            Place::On { carrier, .. } => {
                if ready!(carrier.poll_close(cx)).is_ok() {
                    while ready!(carrier.poll_message(cx)).is_ok() {}
                }
                Poll::Ready(())
            }
            Place::Nowhere { .. } => Poll::Ready(()),
        }
    }
}

impl Out for Lane {
    fn expect(&mut self, len: usize) {
        self.link.expect(len);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.link.write(bytes);
    }

    fn block(&mut self, block: BytesMut) {
        self.link.write_block(block);
    }
}

/// What a step on the carrier ends.
enum Loss {
    OfCarrier(End),
    OfLane(End),
}

/// Why a carrier could not be attached. A hello that its sender has given up may arrive behind a newer one: it tells of
/// the past, and breaks no rule.
fn unfit(error: LinkError) -> End {
    match error {
        LinkError::ImpossibleReceipt { claimed, from, .. } if claimed < from => {
            End::CarrierLost("it came behind a newer one".into())
        }
        _ => End::Protocol(error),
    }
}

impl From<LinkError> for Loss {
    fn from(error: LinkError) -> Self {
        Self::OfLane(End::Protocol(error))
    }
}

impl From<std::io::Error> for Loss {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Not what a broken connection looks like.
            ErrorKind::InvalidData => Self::OfLane(End::Carrier(error.to_string())),
            _ => Self::OfCarrier(lost(&error)),
        }
    }
}

fn lost(error: &std::io::Error) -> End {
    End::CarrierLost(error.to_string())
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

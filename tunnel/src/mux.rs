//! Many streams over one lane, behind one trait. Which multiplexer it is, is agreed in the hello:
//! [`fair`] is ours, and yamux is for peers that know no other. No other module knows either.

mod fair;
mod yamux;

use crate::{
    Io,
    lane::{Lane, LaneIo},
};
use fair::Fair;
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tunnel_proto::{
    budget::Budget,
    hello::{FAIR, YAMUX},
    link,
    mux::{self, Side, Stats},
    stream::Class,
};
use yamux::Yamux;

/// The multiplexers that are spoken here, best first.
pub(crate) const SPOKEN: [&str; 2] = [FAIR, YAMUX];

/// One multiplexed byte stream.
pub(crate) type MuxStream = Box<dyn MuxIo>;

/// A stream with a class that can be changed.
pub(crate) trait MuxIo: Io {
    /// Says what the stream is for from now on, to both ends where the multiplexer can.
    fn set_class(&self, class: Class);
}

/// Why the multiplexer cannot go on, or cannot open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MuxError {
    /// The connection under it ended.
    #[error("connection ended")]
    Ended,
    /// The peer broke the multiplexer's rules.
    #[error("{0}")]
    Protocol(String),
}

/// A multiplexer, driven by one task that keeps calling [`Mux::poll_accept`].
pub(crate) trait Mux: Send {
    /// Moves all bytes there are to move, and returns streams that the peer opened. `Ok(None)`:
    /// the connection ended in order.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<MuxStream>, MuxError>>;

    /// Ends all streams and the connection under them.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>>;
}

/// What a link under this multiplexer keeps for the peer from the start.
pub(crate) fn replay_bound(mux: &str) -> usize {
    match mux {
        YAMUX => yamux::REPLAY,
        _ => link::Config::default().replay_bound,
    }
}

/// What both ends agreed on.
pub(crate) struct Agreed<'a> {
    pub(crate) mux: &'a str,
    pub(crate) side: Side,
    /// Streams that this side opens at most.
    pub(crate) own_streams: usize,
    /// Streams that the peer opens at most.
    pub(crate) peer_streams: usize,
    /// What the windows of the lane's streams may grow by together.
    pub(crate) windows: Arc<Budget>,
}

/// Starts a multiplexer on a lane.
/// `over` is cancelled when the session is over.
pub(crate) fn start(
    agreed: &Agreed<'_>,
    lane: Lane,
    over: &CancellationToken,
) -> (Opener, Box<dyn Mux>) {
    if agreed.mux == YAMUX {
        let (opens, asked) = mpsc::channel(64);
        let growth = agreed.windows.total();
        let mux = Yamux::new(LaneIo::new(lane), agreed.side, asked, over.clone(), growth);
        return (Opener::Yamux(opens), Box::new(mux));
    }
    let config = mux::Config {
        side: agreed.side,
        own_streams: agreed.own_streams,
        // It may open the next stream before this side has noticed the end of the one before.
        peer_streams: 2 * agreed.peer_streams,
        windows: Arc::clone(&agreed.windows),
    };
    let (handle, mux) = Fair::start(config, lane);
    (Opener::Fair(handle), Box::new(mux))
}

/// Opens streams of a multiplexer that somebody else drives.
#[derive(Clone, Debug)]
pub(crate) enum Opener {
    Fair(fair::Handle),
    Yamux(mpsc::Sender<oneshot::Sender<MuxStream>>),
}

impl Opener {
    /// Opens a stream; waits while as many are open as the peer takes.
    pub(crate) async fn open(&self, class: Class) -> Result<MuxStream, MuxError> {
        match self {
            Self::Fair(handle) => handle.open(class).await,
            Self::Yamux(asked) => {
                let (answer, stream) = oneshot::channel();
                asked.send(answer).await.map_err(|_| MuxError::Ended)?;
                stream.await.map_err(|_| MuxError::Ended)
            }
        }
    }

    /// What the streams are doing, where the multiplexer says it.
    pub(crate) fn stats(&self) -> Option<Stats> {
        match self {
            Self::Fair(handle) => Some(handle.stats()),
            Self::Yamux(_) => None,
        }
    }
}

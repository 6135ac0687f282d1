//! yamux behind the [`Mux`] trait.

use super::{Mux, MuxError, MuxStream, Side};
use crate::link_io::LinkIo;
use std::task::{Context, Poll};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

/// Streams of both directions together. Opening one more would kill the whole connection, so
/// sessions stay far below it by their own count (`session::MOST_STREAMS` per direction).
const STREAMS: usize = 2048;

/// What every stream may have unread from the start, as yamux fixes it.
const FIRST_WINDOW: usize = 256 * 1024;

/// What the windows of all streams may grow by together: 1 Gbit/s at 100 ms. More is only queue.
const GROWTH: usize = 16 * 1024 * 1024;

pub(crate) struct Yamux {
    connection: yamux::Connection<Compat<LinkIo>>,
}

impl Yamux {
    pub(crate) fn new(io: LinkIo, side: Side) -> Self {
        let mode = match side {
            Side::Agent => yamux::Mode::Client,
            Side::Server => yamux::Mode::Server,
        };
        Self {
            connection: yamux::Connection::new(io.compat(), config(), mode),
        }
    }
}

fn config() -> yamux::Config {
    let mut config = yamux::Config::default();
    // The window first: the other setter asserts that it covers the streams.
    config.set_max_connection_receive_window(Some(STREAMS * FIRST_WINDOW + GROWTH));
    config.set_max_num_streams(STREAMS);
    // The split of sends stays at its default of 16 KiB: a smaller one costs three quarters of the
    // throughput and latency as well, a larger one gains nothing.
    config
}

impl Mux for Yamux {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<MuxStream, MuxError>> {
        self.connection
            .poll_new_outbound(cx)
            .map_ok(boxed)
            .map_err(to_error)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<MuxStream>, MuxError>> {
        self.connection.poll_next_inbound(cx).map(|next| {
            next.transpose()
                .map(|stream| stream.map(boxed))
                .map_err(to_error)
        })
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>> {
        self.connection.poll_close(cx).map_err(to_error)
    }
}

fn boxed(stream: yamux::Stream) -> MuxStream {
    Box::new(stream.compat())
}

fn to_error(error: yamux::ConnectionError) -> MuxError {
    match error {
        yamux::ConnectionError::Io(_) | yamux::ConnectionError::Closed => MuxError::Ended,
        other => MuxError::Protocol(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::MOST_STREAMS;

    #[test]
    fn the_settings_are_ones_that_yamux_accepts() {
        // Y8: the setter panics if the window does not cover the streams.
        let _ = config();
    }

    #[test]
    fn sessions_stay_below_what_would_kill_the_connection() {
        // Y1: the limit counts both directions, and one stream too many ends all of them.
        const { assert!(2 * MOST_STREAMS as usize + 256 <= STREAMS) };
    }

    #[test]
    fn windows_grow_by_a_small_budget() {
        // Y6: more is only queue on a shared connection; Y11: what a hostile peer can pin.
        const { assert!(GROWTH <= 16 * 1024 * 1024) };
        const { assert!(STREAMS * FIRST_WINDOW + GROWTH <= 528 * 1024 * 1024) };
    }
}

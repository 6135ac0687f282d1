//! A stream that is read slowly.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// What is read at a time.
const PIECE: usize = 4096;

/// Reads at most so many bytes a second, and writes as fast as it can be.
pub(super) struct Slow<T> {
    inner: T,
    rate: Option<u64>,
    /// When the next piece is read.
    rested: Pin<Box<Sleep>>,
}

impl<T> Slow<T> {
    /// Without a rate it is not slow.
    pub(super) fn new(inner: T, rate: Option<u64>) -> Self {
        Self {
            inner,
            rate,
            rested: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Slow<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(rate) = this.rate else {
            return Pin::new(&mut this.inner).poll_read(context, buffer);
        };
        ready!(this.rested.as_mut().poll(context));
        let mut room = [0; PIECE];
        let most = PIECE.min(buffer.remaining());
        let mut piece = ReadBuf::new(&mut room[..most]);
        ready!(Pin::new(&mut this.inner).poll_read(context, &mut piece))?;
        let read = piece.filled();
        buffer.put_slice(read);
        let rest = Duration::from_secs_f64(read.len() as f64 / rate as f64);
        this.rested.as_mut().reset(Instant::now() + rest);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Slow<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn no_more_is_read_in_a_second_than_was_said() {
        let started = Instant::now();
        let mut slow = Slow::new(&[7_u8; 10_000][..], Some(40_000));
        let mut all = Vec::new();
        slow.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 10_000);
        // The last piece is not waited for, but the end is.
        assert!(started.elapsed() >= Duration::from_millis(240));
    }
}

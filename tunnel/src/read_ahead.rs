//! A connection that is read in large pieces while much comes, and holds nothing while it is idle.

use bytes::{Buf, BytesMut};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// What one read takes while much comes: four TLS records.
const AHEAD: usize = 64 * 1024;

/// Much comes when a read takes as much as this: a TLS record.
const MUCH: usize = 16 * 1024;

/// Belongs under TLS: rustls reads 4 KiB at a time, which makes five system calls of every record.
#[derive(Debug)]
pub struct ReadAhead<S> {
    io: S,
    ahead: BytesMut,
    /// The last read took all it was offered, or much.
    busy: bool,
}

impl<S> ReadAhead<S> {
    /// Nothing was read yet.
    pub fn new(io: S) -> Self {
        Self {
            io,
            ahead: BytesMut::new(),
            busy: false,
        }
    }

    /// What is read.
    pub fn get_ref(&self) -> &S {
        &self.io
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            if !this.busy {
                let before = buf.filled().len();
                ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
                this.busy = buf.remaining() == 0 && buf.filled().len() > before;
                return Poll::Ready(Ok(()));
            }
            this.ahead.reserve(AHEAD);
            let read = poll_read_buf(Pin::new(&mut this.io), cx, &mut this.ahead);
            this.busy = matches!(read, Poll::Ready(Ok(MUCH..)));
            if !matches!(read, Poll::Ready(Ok(1..))) {
                this.ahead = BytesMut::new();
                return read.map_ok(|_| ());
            }
        }
        let len = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..len]);
        this.ahead.advance(len);
        if this.ahead.is_empty() && !this.busy {
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_comes_is_read_whatever_the_pieces_and_an_idle_one_holds_nothing() {
        let (mut peer, io) = tokio::io::duplex(1024 * 1024);
        let mut io = ReadAhead::new(io);
        let sent: Vec<u8> = (0..900_000_u32).map(|byte| byte as u8).collect();
        peer.write_all(&sent).await.unwrap();
        let (mut got, mut pieces) = (Vec::new(), [1, 5, 4096, 4096, 4096, 70_000].iter().cycle());
        while got.len() < sent.len() {
            let mut piece = vec![0; *pieces.next().unwrap()];
            let read = io.read(&mut piece).await.unwrap();
            got.extend_from_slice(&piece[..read]);
        }
        assert_eq!(got, sent);
        let idle = futures::poll!(Box::pin(io.read(&mut [0; 10])));
        assert!(idle.is_pending() && io.ahead.capacity() == 0);
        drop(peer);
        assert_eq!(io.read(&mut [0; 10]).await.unwrap(), 0);
    }
}

//! A stream of the multiplexer, as its holder reads and writes it.

use super::Handle;
use crate::mux::MuxIo;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tunnel_proto::{
    mux::{Read, StreamId, Write},
    stream::Class,
};

/// One stream. Dropping it resets what has not ended.
pub(super) struct FairStream {
    handle: Handle,
    id: StreamId,
}

impl FairStream {
    pub(super) fn new(handle: Handle, id: StreamId) -> Self {
        Self { handle, id }
    }

    /// Something is to be sent.
    fn wake(driver: Option<Waker>) {
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

fn reset(code: u32) -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        format!("the peer ended the stream (code {code})"),
    )
}

fn keep(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(kept) => kept.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}

impl AsyncRead for FairStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.handle.lock();
        let now = tokio::time::Instant::now().into_std();
        match state.mux.read(now, self.id, buf.initialize_unfilled()) {
            Read::Bytes(read) => {
                // Credit for the peer, if it is time for it.
                let driver = state.mux.has_news().then(|| state.driver.take());
                drop(state);
                buf.advance(read);
                Self::wake(driver.flatten());
                Poll::Ready(Ok(()))
            }
            Read::Wait if state.over => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Read::Wait => {
                let waiting = state.waiting.entry(self.id).or_default();
                keep(&mut waiting.reader, cx.waker());
                Poll::Pending
            }
            Read::End => Poll::Ready(Ok(())),
            Read::Reset(code) => Poll::Ready(Err(reset(code))),
        }
    }
}

impl AsyncWrite for FairStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.handle.lock();
        if state.over {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let (mut sum, mut blocked) = (0, None);
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            match state.mux.write(self.id, piece) {
                Write::Bytes(written) => sum += written,
                other => blocked = Some(other),
            }
            if blocked.is_some() {
                break;
            }
        }
        match blocked {
            Some(Write::Wait) if sum == 0 => {
                let waiting = state.waiting.entry(self.id).or_default();
                keep(&mut waiting.writer, cx.waker());
                Poll::Pending
            }
            Some(Write::Ended) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(Write::Reset(code)) => Poll::Ready(Err(reset(code))),
            _ => {
                let driver = state.driver.take();
                drop(state);
                Self::wake(driver);
                Poll::Ready(Ok(sum))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written leaves as soon as it may. This waits until it will, whatever the peer does.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.handle.lock();
        if state.over || state.mux.is_covered(self.id) {
            return Poll::Ready(Ok(()));
        }
        let waiting = state.waiting.entry(self.id).or_default();
        keep(&mut waiting.writer, cx.waker());
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.handle.lock();
        state.mux.finish(self.id);
        let driver = state.driver.take();
        drop(state);
        Self::wake(driver);
        Poll::Ready(Ok(()))
    }
}

impl MuxIo for FairStream {
    fn set_class(&self, class: Class) {
        let mut state = self.handle.lock();
        state.mux.set_class(self.id, class);
        let driver = state.driver.take();
        drop(state);
        Self::wake(driver);
    }
}

impl Drop for FairStream {
    fn drop(&mut self) {
        let mut state = self.handle.lock();
        state.waiting.remove(&self.id);
        state.mux.release(self.id);
        let driver = state.driver.take();
        drop(state);
        Self::wake(driver);
    }
}

//! One WebSocket connection: whole binary messages in both directions.

use crate::Io;
use bytes::Bytes;
use futures::{FutureExt, Sink, SinkExt, Stream};
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        error::ProtocolError,
        protocol::{Role, WebSocketConfig},
    },
};
use tunnel_proto::MAX_MESSAGE;

/// tungstenite allocates this much per connection at once; thousands of tunnels are idle.
const READ_BUFFER: usize = 4 * 1024;

/// Written to the socket as soon as this much has gathered, or on flush.
const WRITE_BUFFER: usize = MAX_MESSAGE;

/// The settings both ends use. Messages are never longer than one full data frame.
pub(crate) fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(4 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

/// A message from this length on leaves large buffers behind, in bytes.
const LONG: usize = READ_BUFFER;

pub(crate) struct Carrier {
    /// `None` only while it is made anew.
    socket: Option<WebSocketStream<Metered>>,
    role: Role,
    /// Bytes of the connection that all messages so far took.
    taken: u64,
    /// Long messages have come or gone since the buffers were small.
    has_grown: bool,
}

impl Carrier {
    /// An end of a connection whose upgrade is done.
    pub(crate) async fn new(io: Box<dyn Io>, role: Role) -> Self {
        Self {
            socket: Some(socket(Metered { io, read: 0 }, role).await),
            role,
            taken: 0,
            has_grown: false,
        }
    }

    fn socket(&mut self) -> io::Result<&mut WebSocketStream<Metered>> {
        let gone = io::ErrorKind::NotConnected;
        self.socket.as_mut().ok_or_else(|| gone.into())
    }

    /// Lets go of the buffers that long messages have left behind, which are kept else for as long as
    /// the connection lasts. For one on which all was flushed and nothing comes.
    pub(crate) fn rest(&mut self) {
        let whole = |socket: &WebSocketStream<Metered>| socket.get_ref().read == self.taken;
        if self.has_grown && self.socket.as_ref().is_some_and(whole) {
            let metered = self.socket.take().map(WebSocketStream::into_inner);
            // It waits for nothing.
            self.socket = metered.and_then(|io| socket(io, self.role).now_or_never());
            self.has_grown = false;
        }
    }

    /// A message of so many bytes has come.
    fn took(&mut self, len: usize) {
        self.has_grown |= len >= LONG;
        let header = match len {
            0..126 => 2,
            126..65_536 => 4,
            _ => 10,
        };
        let mask = match self.role {
            Role::Server => 4,
            Role::Client => 0,
        };
        self.taken += (header + mask + len) as u64;
    }

    /// Sends one message and flushes it.
    pub(crate) async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        let sending = self.socket()?.send(Message::Binary(message.into()));
        sending.await.map_err(to_io)
    }

    /// The next message; an error when there is none.
    pub(crate) async fn receive(&mut self) -> io::Result<Bytes> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    /// Sends a close frame; errors do not matter any more.
    pub(crate) async fn close(mut self) {
        if let Ok(socket) = self.socket() {
            let _ = socket.close(None).await;
        }
    }

    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            match ready!(Pin::new(self.socket()?).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => {
                    self.took(bytes.len());
                    return Poll::Ready(Ok(bytes));
                }
                // tungstenite answers these itself.
                Some(Ok(Message::Ping(bytes) | Message::Pong(bytes))) => self.took(bytes.len()),
                Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                    let text = io::Error::new(io::ErrorKind::InvalidData, "not a binary message");
                    return Poll::Ready(Err(text));
                }
                Some(Ok(Message::Close(_))) | None => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
            }
        }
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_ready_unpin(cx).map_err(to_io)
    }

    pub(crate) fn start_send(&mut self, message: Bytes) -> io::Result<()> {
        self.has_grown |= message.len() >= LONG;
        let socket = self.socket()?;
        socket
            .start_send_unpin(Message::Binary(message))
            .map_err(to_io)
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush_unpin(cx).map_err(to_io)
    }

    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.socket()?).poll_close(cx).map_err(to_io)
    }
}

async fn socket(io: Metered, role: Role) -> WebSocketStream<Metered> {
    WebSocketStream::from_raw_socket(io, role, Some(websocket_config())).await
}

/// A connection whose bytes are counted as they come.
struct Metered {
    io: Box<dyn Io>,
    read: u64,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.read += (buf.filled().len() - before) as u64;
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}

fn to_io(error: WsError) -> io::Error {
    match error {
        WsError::Io(error) => error,
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            io::ErrorKind::UnexpectedEof.into()
        }
        WsError::Capacity(_) => io::Error::new(io::ErrorKind::InvalidData, "message is too long"),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

//! One WebSocket connection: whole binary messages in both directions.

use crate::Io;
use bytes::Bytes;
use futures::{Sink, SinkExt, Stream};
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};
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

pub(crate) struct Carrier {
    socket: WebSocketStream<Box<dyn Io>>,
}

impl Carrier {
    pub(crate) fn new(socket: WebSocketStream<Box<dyn Io>>) -> Self {
        Self { socket }
    }

    /// The server's end, on a connection whose upgrade was answered already.
    pub(crate) async fn accepted(io: Box<dyn Io>) -> Self {
        Self::new(
            WebSocketStream::from_raw_socket(io, Role::Server, Some(websocket_config())).await,
        )
    }

    /// Sends one message and flushes it.
    pub(crate) async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.socket
            .send(Message::Binary(message.into()))
            .await
            .map_err(to_io)
    }

    /// The next message; an error when there is none.
    pub(crate) async fn receive(&mut self) -> io::Result<Bytes> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    /// Sends a close frame; errors do not matter any more.
    pub(crate) async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }

    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Ok(bytes)),
                // tungstenite answers these itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
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
        self.socket.poll_ready_unpin(cx).map_err(to_io)
    }

    pub(crate) fn start_send(&mut self, message: Bytes) -> io::Result<()> {
        self.socket
            .start_send_unpin(Message::Binary(message))
            .map_err(to_io)
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush_unpin(cx).map_err(to_io)
    }

    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(to_io)
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

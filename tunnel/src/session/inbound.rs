//! The acceptor's side of a stream: read the preamble, answer at once, go on.

use super::stream::{Held, Stream};
use crate::mux::MuxStream;
use std::{io, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tunnel_proto::stream::{
    OpenV1, PREAMBLE_HEADER, Refusal, RefusalReason, Reply, StreamError, decode_open,
    decode_open_header, encode_reply,
};

/// How long the opener may take for its preamble, and the network for a refusal, while there is a
/// carrier: longer than it takes to notice that one is dead.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream that the peer opened and whose preamble was not read yet.
pub struct Incoming {
    stream: MuxStream,
    held: Held,
    attached: watch::Receiver<bool>,
}

/// A stream whose preamble was read; it waits for an answer.
pub struct Inbound {
    /// What the opener asked for.
    pub open: OpenV1,
    stream: MuxStream,
    held: Held,
}

/// Why an incoming stream came to nothing. The opener has been told.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The preamble broke the rules.
    #[error("malformed preamble")]
    Malformed(#[from] StreamError),
    /// The preamble did not come in time.
    #[error("no preamble within {} s", PATIENCE.as_secs())]
    Late,
    /// The stream or the session ended.
    #[error("stream ended in its preamble")]
    Ended(#[from] io::Error),
}

impl Incoming {
    pub(super) fn new(stream: MuxStream, held: Held, attached: watch::Receiver<bool>) -> Self {
        Self {
            stream,
            held,
            attached,
        }
    }

    /// Reads the preamble. A preamble that breaks the rules is refused. One that is cut off with
    /// the carrier comes with the next, however long that takes.
    ///
    /// # Errors
    ///
    /// See [`IncomingError`].
    pub async fn preamble(mut self) -> Result<Inbound, IncomingError> {
        let open = {
            let mut read = std::pin::pin!(read_open(&mut self.stream));
            loop {
                let was_attached = *self.attached.borrow_and_update();
                match tokio::time::timeout(PATIENCE, read.as_mut()).await {
                    Ok(open) => break open,
                    Err(_) if was_attached && !self.attached.has_changed().unwrap_or(false) => {
                        break Err(IncomingError::Late);
                    }
                    Err(_) => {}
                }
            }
        };
        match open {
            Ok(open) => Ok(Inbound {
                open,
                stream: self.stream,
                held: self.held,
            }),
            Err(IncomingError::Malformed(error)) => {
                let refusal = Refusal {
                    reason: RefusalReason::Malformed,
                    message: error.to_string(),
                };
                refuse(self.stream, refusal).await;
                Err(IncomingError::Malformed(error))
            }
            Err(error) => Err(error),
        }
    }
}

async fn read_open(stream: &mut MuxStream) -> Result<OpenV1, IncomingError> {
    let mut header = [0; PREAMBLE_HEADER];
    stream.read_exact(&mut header).await?;
    let len = decode_open_header(header)?;
    // As long as what has come: a peer may announce much on all its streams.
    let mut body = Vec::new();
    stream.take(len as u64).read_to_end(&mut body).await?;
    if body.len() < len {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(decode_open(&body)?)
}

impl Inbound {
    /// Takes the stream.
    ///
    /// # Errors
    ///
    /// The stream or the session has ended.
    pub async fn accept(mut self) -> io::Result<Stream> {
        self.stream.write_all(&encode_reply(&Reply::Opened)).await?;
        Ok(Stream::accepted(self.stream, self.held))
    }

    /// Refuses the stream, saying why.
    pub async fn refuse(self, reason: RefusalReason, message: impl Into<String>) {
        let message = message.into();
        refuse(self.stream, Refusal { reason, message }).await;
    }
}

async fn refuse(mut stream: MuxStream, refusal: Refusal) {
    let answer = encode_reply(&Reply::Refused(refusal));
    let told = async {
        stream.write_all(&answer).await?;
        // Without an orderly end the answer could be dropped with the stream.
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(PATIENCE, told).await;
}

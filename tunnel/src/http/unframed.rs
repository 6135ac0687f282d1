//! Answers that go on for long with little in them, as those to watches: the connection is upgraded, and what follows
//! the head of the answer is its body, to the end of the stream. So neither end keeps HTTP's buffers for it, 24 KiB of
//! hyper, and nothing is put into chunks and taken out of them again.
//!
//! Who does not know of this leaves the wish alone, as RFC 9110 has it (section 7.8), and answers as usual.

use super::{StreamClient, strip_hop_by_hop};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::{client::legacy, rt::TokioIo};
use std::{
    error::Error,
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_util::task::TaskTracker;

/// The protocol that is asked for.
const PROTOCOL: HeaderValue = HeaderValue::from_static("lariat-unframed");

/// Most bytes that are read at once.
const PIECE: usize = 8 * 1024;

/// Sends a request, and asks for an unframed answer. It is the same answer in any case.
///
/// # Errors
///
/// As of [`StreamClient::request`].
pub async fn ask_unframed<B>(
    client: &StreamClient<B>,
    mut request: Request<B>,
) -> Result<Response<AnswerBody>, legacy::Error>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    say(request.headers_mut());
    let mut response = client.request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response.map(AnswerBody::Framed));
    }
    let upgrade = hyper::upgrade::on(&mut response);
    *response.status_mut() = StatusCode::OK;
    strip_hop_by_hop(response.headers_mut());
    forget(response.headers_mut());
    Ok(response.map(|_| AnswerBody::Begins(upgrade)))
}

fn say(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, PROTOCOL);
}

fn forget(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::UPGRADE] {
        headers.remove(name);
    }
}

/// The body of an answer, framed or not.
#[derive(Debug)]
pub enum AnswerBody {
    /// By HTTP.
    Framed(Incoming),
    /// The connection is about to be nothing but the body.
    Begins(OnUpgrade),
    /// The connection is nothing but the body.
    Unframed(TokioIo<Upgraded>),
    /// It has ended.
    Ended,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            match &mut *self {
                Self::Framed(body) => return Pin::new(body).poll_frame(cx).map_err(Into::into),
                Self::Begins(upgrade) => {
                    *self = Self::Unframed(TokioIo::new(ready!(Pin::new(upgrade).poll(cx))?));
                }
                Self::Unframed(io) => {
                    let piece = ready!(poll_piece(Pin::new(io), cx))?;
                    if piece.is_empty() {
                        *self = Self::Ended;
                        return Poll::Ready(None);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                Self::Ended => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Framed(body) => body.is_end_stream(),
            Self::Begins(_) | Self::Unframed(_) => false,
            Self::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Framed(body) => body.size_hint(),
            Self::Begins(_) | Self::Unframed(_) => SizeHint::default(),
            Self::Ended => SizeHint::with_exact(0),
        }
    }
}

/// Reads what is there. Nothing is kept while nothing is.
fn poll_piece(io: Pin<&mut impl AsyncRead>, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut piece = [MaybeUninit::uninit(); PIECE];
    let mut piece = ReadBuf::uninit(&mut piece);
    ready!(io.poll_read(cx, &mut piece))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(piece.filled())))
}

/// Whoever sent a request, who may have asked for an unframed answer.
#[derive(Debug)]
pub struct Asker(Option<OnUpgrade>);

impl Asker {
    /// Who sent that request. Whether they asked for it is taken out of it.
    pub fn of<B>(request: &mut Request<B>) -> Self {
        let headers = request.headers_mut();
        if headers.get(header::UPGRADE) != Some(&PROTOCOL) || strip_hop_by_hop(headers).is_none() {
            return Self(None);
        }
        forget(headers);
        Self(Some(hyper::upgrade::on(request)))
    }

    /// Makes a response an unframed one, if it was asked for. A task of `tasks` sends its body then: to its end, or until
    /// nobody reads it any more; if it breaks off, so does the connection. A response that refuses, or whose length is
    /// known, stays as it is.
    pub fn answer<E: Send + 'static>(
        self,
        response: Response<UnsyncBoxBody<Bytes, E>>,
        tasks: &TaskTracker,
    ) -> Response<UnsyncBoxBody<Bytes, E>> {
        let has_length = response.headers().contains_key(header::CONTENT_LENGTH)
            || response.body().size_hint().exact().is_some();
        let Some(upgrade) = self
            .0
            .filter(|_| response.status() == StatusCode::OK && !has_length)
        else {
            return response;
        };
        let (mut parts, body) = response.into_parts();
        parts.status = StatusCode::SWITCHING_PROTOCOLS;
        strip_hop_by_hop(&mut parts.headers);
        say(&mut parts.headers);
        tasks.spawn(async move {
            if let Ok(connection) = upgrade.await {
                // Without an end of its own the stream is reset when it is dropped.
                let _ = send(body, TokioIo::new(connection)).await;
            }
        });
        let nothing = Empty::new().map_err(|never| match never {});
        Response::from_parts(parts, nothing.boxed_unsync())
    }
}

/// Sends a body until it ends or breaks off, or who reads it has gone.
async fn send(body: impl Body<Data = Bytes>, io: impl AsyncRead + AsyncWrite) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut body = pin!(body);
    let sent = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Ok(()) };
            if let Some(data) = frame.data_ref() {
                writer.write_all(data).await?;
                writer.flush().await?;
            }
        }
        writer.shutdown().await
    };
    tokio::select! {
        sent = sent => sent,
        // Nothing comes from there but the end.
        read = reader.read_u8() => read.map(drop),
    }
}

//! Upgraded connections (exec, attach, port-forward): bytes both ways until both have ended, or
//! the access to them has.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::{Instrument as _, debug};
use tunnel::http::splice;

use super::recording::Recording;
use crate::audit::Audit;
use crate::authz::Ongoing;
use crate::edge::RequestContext;

/// Carries an upgraded connection in a task of its own, and records it if it must be. The audit line
/// is written at its end.
pub(super) fn carry(
    ongoing: Ongoing,
    client: OnUpgrade,
    cluster: OnUpgrade,
    context: RequestContext,
    recording: Option<Recording>,
) {
    let (tasks, cut) = (ongoing.app.tasks.clone(), ongoing.app.cut.clone());
    let connection = context.trace.child("connection");
    let carried = async move {
        let joined = async {
            let client = client.await.map_err(|error| error.to_string())?;
            let cluster = cluster.await.map_err(|error| error.to_string())?;
            let audit = context.audit.clone();
            let inner = TokioIo::new(client);
            let (client, cluster) = (Counted { inner, audit }, TokioIo::new(cluster));
            match &recording {
                Some(recording) => recording.carry(client, cluster).await,
                None => {
                    let joined = splice(client, cluster).await;
                    joined.map_err(|error| error.to_string())
                }
            }
        };
        let reason = tokio::select! {
            joined = joined => joined.err().unwrap_or_default(),
            () = ongoing.until_ended() => "access to the cluster has ended".to_owned(),
            () = cut.cancelled() => "the server is stopping".to_owned(),
        };
        if let Some(recording) = recording {
            recording.finish(&reason).await;
        }
        if !reason.is_empty() {
            context.audit.set_reason(&reason);
            connection.fail(&reason);
            debug!(id = %context.id, reason, "upgraded connection was cut");
        }
        // Before the request, whose last holder is the context.
        drop(connection);
    };
    tasks.spawn(carried.in_current_span());
}

/// Counts what is read from and written to the client.
struct Counted<T> {
    inner: T,
    audit: Audit,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        self.audit
            .add_received((buffer.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
        self.audit.add_sent(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

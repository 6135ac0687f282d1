//! Turns at shaking hands. Real agents have a machine each; thousands of them on one core, all shaking hands at once,
//! would each be late.

use futures::future::BoxFuture;
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tunnel::{Io, ReadAhead, dial::Connect};

/// TCP for one agent. It connects when it has a turn, with one connection at a time until it has shaken hands.
#[derive(Clone)]
pub(super) struct InTurn {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
    now: Arc<Mutex<Option<Turn>>>,
}

/// Of the agent's connections, and of all agents.
type Turn = [OwnedSemaphorePermit; 2];

impl InTurn {
    /// An agent of those that share these turns.
    pub(super) fn new(all: &Arc<Semaphore>) -> Self {
        Self {
            all: Arc::clone(all),
            own: Arc::new(Semaphore::new(1)),
            now: Arc::default(),
        }
    }

    /// It has shaken hands, or given up.
    pub(super) fn end(&self) {
        self.set(None);
    }

    fn set(&self, turn: Option<Turn>) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }

    async fn turn(&self) -> io::Result<Turn> {
        let of = |turns: &Arc<Semaphore>| Arc::clone(turns).acquire_owned();
        let own = of(&self.own).await.map_err(io::Error::other)?;
        let all = of(&self.all).await.map_err(io::Error::other)?;
        Ok([own, all])
    }
}

impl Connect for InTurn {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let (agent, host) = (self.clone(), host.to_owned());
        Box::pin(async move {
            let turn = agent.turn().await?;
            let stream = TcpStream::connect((&*host, port)).await?;
            stream.set_nodelay(true)?;
            agent.set(Some(turn));
            let io = ReadAhead::new(stream);
            let connection: Box<dyn Io> = Box::new(Connection { io, agent });
            Ok(connection)
        })
    }
}

/// Its turn ends with it at the latest.
struct Connection {
    io: ReadAhead<TcpStream>,
    agent: InTurn,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.agent.end();
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
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

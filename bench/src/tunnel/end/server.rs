//! The accepting end: agents come in, and visitors go out through them.

use super::{Accepting, SPLICE_BUFFER, announce, certificates, gateway::Gateway, listen};
use crate::{
    lone_tunnel,
    tunnel::{control, service::Service},
};
use anyhow::Context as _;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tunnel::session::{Session, Stream};
use tunnel_proto::stream::{Class, OpenV1, RefusalReason, Target};

pub(super) async fn run(settings: Accepting) -> anyhow::Result<()> {
    let tls = certificates(&settings.folder)?;
    let server = Arc::new(Server {
        sessions: Mutex::default(),
        next: AtomicUsize::new(0),
        target: settings.target,
        service: Service::default(),
    });
    let (agents, bare, visitors, pooled, dialled, asked) = (
        listen().await?,
        listen().await?,
        listen().await?,
        listen().await?,
        listen().await?,
        listen().await?,
    );
    announce(&[
        ("tunnel", agents.local_addr()?.port()),
        ("tls", bare.local_addr()?.port()),
        ("visitors", visitors.local_addr()?.port()),
        ("pooled", pooled.local_addr()?.port()),
        ("dialled", dialled.local_addr()?.port()),
        ("control", asked.local_addr()?.port()),
    ]);
    let (taken, mut sessions) = mpsc::channel(64);
    tokio::spawn(lone_tunnel::accept(agents, Arc::clone(&tls.server), taken)?);
    tokio::spawn(serve_bare(
        bare,
        TlsAcceptor::from(Arc::clone(&tls.server)),
        Arc::clone(&server),
    ));
    tokio::spawn(take_visitors(visitors, Arc::clone(&server)));
    let gateway = Gateway::new(Arc::clone(&server), tls.client);
    tokio::spawn(gateway.clone().serve_pooled(pooled));
    tokio::spawn(gateway.serve_dialled(dialled));
    let answers = Arc::clone(&server);
    tokio::spawn(control::answer(asked, move |word| match word {
        "sessions" => answers.sessions().len().to_string(),
        word => answers.service.control(word),
    }));
    while let Some(session) = sessions.recv().await {
        server.sessions().push(session.clone());
        tokio::spawn(serve_agent(Arc::clone(&server), session));
    }
    Ok(())
}

pub(super) struct Server {
    sessions: Mutex<Vec<Session>>,
    next: AtomicUsize,
    target: String,
    service: Service,
}

impl Server {
    fn sessions(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next agent's session, round and round.
    pub(super) fn session(&self) -> anyhow::Result<Session> {
        let sessions = self.sessions();
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let session = sessions.get(next % sessions.len().max(1));
        Ok(session.context("no agent is connected")?.clone())
    }

    /// A connection of an agent to the target. What it is for is not known.
    pub(super) async fn dial(&self) -> anyhow::Result<Stream> {
        let open = OpenV1 {
            target: Target::Dial(self.target.clone()),
            class: Class::Interactive,
            trace: [0; 16],
            deadline_ms: 10_000,
        };
        Ok(self.session()?.open(&open).await?)
    }
}

async fn serve_bare(listener: TcpListener, tls: TlsAcceptor, server: Arc<Server>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, server) = (tls.clone(), Arc::clone(&server));
        tokio::spawn(async move {
            tcp.set_nodelay(true)?;
            server.service.serve(tls.accept(tcp).await?).await?;
            anyhow::Ok(())
        });
    }
}

async fn take_visitors(listener: TcpListener, server: Arc<Server>) {
    while let Ok((visitor, _)) = listener.accept().await {
        tokio::spawn(carry(visitor, Arc::clone(&server)));
    }
}

async fn carry(mut visitor: TcpStream, server: Arc<Server>) -> anyhow::Result<()> {
    visitor.set_nodelay(true)?;
    let mut stream = server.dial().await?;
    let size = SPLICE_BUFFER;
    copy_bidirectional_with_sizes(&mut visitor, &mut stream, size, size).await?;
    Ok(())
}

/// Serves what the agent opens, until it is gone.
async fn serve_agent(server: Arc<Server>, session: Session) {
    while let Some(incoming) = session.accept().await {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let inbound = incoming.preamble().await?;
            if inbound.open.target != Target::ServerApi {
                inbound.refuse(RefusalReason::NotServed, "bench").await;
                return Ok(());
            }
            server.service.serve(inbound.accept().await?).await?;
            anyhow::Ok(())
        });
    }
    server
        .sessions()
        .retain(|other| !other.over().is_cancelled());
}

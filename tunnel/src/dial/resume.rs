//! Another carrier for a session that has lost its own.

use super::{DialError, Dialer, Introduction, Line};
use crate::{
    identity::KeyPair,
    lane::{Control, End},
    session::{Again, Redial, Redialled},
};
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use rustls::ClientConfig;
use std::{sync::Arc, time::Duration};
use tunnel_proto::{
    frame::Offset,
    hello::{RejectionCode, Resume, Welcome},
};

/// How long an attempt may take up to the hello.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one connection is waited for before another one is begun beside it. On a network that
/// was away, or loses packets, a connection that is begun now is there before one whose packets
/// are repeated later and later.
const HEDGE: Duration = Duration::from_secs(1);

/// Dials for one session.
pub(super) struct Redialer(Arc<Kept>);

struct Kept {
    dialer: Dialer,
    tls: Arc<ClientConfig>,
    key: KeyPair,
    introduction: Introduction,
}

impl Redialer {
    /// For the session of `welcome`, as it was dialled first.
    pub(super) fn new(
        dialer: &Dialer,
        tls: Arc<ClientConfig>,
        key: &KeyPair,
        introduction: &Introduction,
        welcome: &Welcome,
    ) -> Self {
        let mut dialer = dialer.clone();
        dialer.server_key = Some(welcome.server_key.0.clone());
        let mut introduction = introduction.clone();
        // The key is bound by now.
        introduction.registration_token = None;
        Self(Arc::new(Kept {
            dialer,
            tls,
            key: key.clone(),
            introduction,
        }))
    }
}

impl Redial for Redialer {
    fn redial(
        &self,
        session: &str,
        control: Arc<Control>,
    ) -> BoxFuture<'static, Result<Redialled, Again>> {
        let (kept, session) = (Arc::clone(&self.0), session.to_owned());
        Box::pin(async move {
            let attempt = attempt(&kept, session, &control).await;
            attempt.or_else(|error| match error {
                DialError::Rejected(rejection) if is_final(rejection.code) => {
                    Ok(Redialled::Over(End::Forgotten(rejection.message)))
                }
                other => Err(Again {
                    retry_after: other.retry_after(),
                }),
            })
        })
    }
}

async fn attempt(
    kept: &Arc<Kept>,
    session: String,
    control: &Control,
) -> Result<Redialled, DialError> {
    let Kept {
        dialer,
        tls,
        key,
        introduction,
    } = &**kept;
    let line = tokio::time::timeout(PATIENCE, connect(dialer, tls))
        .await
        .map_err(|_| DialError::Late { step: "connecting" })??;
    let Some(frozen) = control.ask_freeze().await else {
        return Ok(Redialled::Over(End::CarrierLost("session is over".into())));
    };
    let resume = Resume {
        session: session.clone(),
        received: frozen.received.0,
    };
    let introduced = line.introduce(dialer, key, introduction, Some(resume));
    let (welcome, carrier) = introduced.await?;
    if welcome.session != session {
        let redialer = Redialer(Arc::clone(kept));
        let successor = dialer.begin(welcome, carrier, redialer);
        return Ok(Redialled::Succeeded(Box::new(successor)));
    }
    control.attach(frozen, carrier, Offset(welcome.received));
    Ok(Redialled::Resumed)
}

/// The first connection that comes about.
async fn connect(dialer: &Dialer, tls: &Arc<ClientConfig>) -> Result<Line, DialError> {
    let mut begun = FuturesUnordered::new();
    loop {
        begun.push(Line::connect(dialer, tls));
        let hedge = tokio::time::sleep(HEDGE);
        tokio::pin!(hedge);
        loop {
            tokio::select! {
                biased;
                connected = begun.next() => match connected {
                    Some(Ok(line)) => return Ok(line),
                    // Another one may still come about.
                    Some(Err(_)) if !begun.is_empty() => {}
                    Some(Err(error)) => return Err(error),
                    None => break,
                },
                () = &mut hedge => break,
            }
        }
    }
}

/// Whether the session is not worth another attempt.
fn is_final(code: RejectionCode) -> bool {
    match code {
        RejectionCode::UnknownSession
        | RejectionCode::UnknownKey
        | RejectionCode::BadToken
        | RejectionCode::KeyMismatch
        | RejectionCode::Revoked => true,
        RejectionCode::Malformed
        | RejectionCode::BadSignature
        | RejectionCode::ChannelMismatch
        | RejectionCode::UnsupportedVersion
        | RejectionCode::Busy
        | RejectionCode::Draining
        | RejectionCode::Internal
        | RejectionCode::Other => false,
    }
}

//! Requests to whichever member answers.
//!
//! One member is asked until it fails, then the next one. What that means for a request depends on
//! whether it may be sent twice: a read is tried until its time is over; a write goes to another
//! member only if it never left this process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures::{Stream, stream};
use http::uri::PathAndQuery;
use tokio::time::{Instant, sleep, timeout};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::options::{EtcdLogin, EtcdOptions, OptionsError};
use super::rpc::{
    self, AuthenticateRequest, AuthenticateResponse, LeaseKeepAliveResponse, LeaseRequest,
    WatchRequest, WatchResponse,
};

/// Between two attempts of a read.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// etcd said no; nothing was written.
    Refused(Status),
    /// No answer came. Whether a write happened is not known.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Connection {
    members: Vec<Channel>,
    /// Counts up; the member asked is this modulo their number.
    current: AtomicUsize,
    login: Option<EtcdLogin>,
    token: RwLock<Option<MetadataValue<Ascii>>>,
    patience: Duration,
}

/// Who must have agreed to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// The majority: nothing that was acknowledged is missing.
    Majority,
    /// The member that is asked.
    Member,
}

impl Connection {
    /// Connects when first used.
    pub(super) fn new(options: &EtcdOptions) -> Result<Self, OptionsError> {
        Ok(Self {
            members: options.channels()?,
            current: AtomicUsize::new(0),
            login: options.login.clone(),
            token: RwLock::default(),
            patience: options.request_timeout,
        })
    }

    /// Asks until a member answers or the time for a request is over.
    pub(super) async fn read<Q, A>(
        &self,
        path: &'static str,
        message: &Q,
        agreement: Agreement,
    ) -> Result<A, Failure>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        let end = Instant::now() + self.patience;
        loop {
            let member = self.current.load(Ordering::Relaxed);
            // A member that hangs must leave time for another one.
            let limit = (self.patience / 2).min(end.saturating_duration_since(Instant::now()));
            let status = match self
                .ask(member, path, message.clone(), agreement, limit)
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            match fault(&status) {
                Fault::Answer => return Err(Failure::Refused(status)),
                Fault::Login => self.log_in(member).await?,
                Fault::NotSent | Fault::NoAnswer => self.leave(member, &status),
            }
            if Instant::now() + PAUSE >= end {
                return Err(Failure::Unknown);
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks once; again only if the request was not sent or was not let in.
    pub(super) async fn write<Q, A>(&self, path: &'static str, message: &Q) -> Result<A, Failure>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        for _ in 0..=self.members.len() {
            let member = self.current.load(Ordering::Relaxed);
            let answer = self.ask(
                member,
                path,
                message.clone(),
                Agreement::Majority,
                self.patience,
            );
            let status = match answer.await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            match fault(&status) {
                Fault::Answer => return Err(Failure::Refused(status)),
                Fault::Login => self.log_in(member).await?,
                Fault::NotSent => self.leave(member, &status),
                Fault::NoAnswer => {
                    self.leave(member, &status);
                    break;
                }
            }
        }
        Err(Failure::Unknown)
    }

    /// Opens a stream of watches with the current member. Also returns which one that is, for
    /// [`Self::leave`].
    pub(super) async fn watch(
        &self,
        requests: impl Stream<Item = WatchRequest> + Send + 'static,
    ) -> Result<(usize, Streaming<WatchResponse>), Status> {
        let member = self.current.load(Ordering::Relaxed);
        let opened = async {
            let mut client = self.client(member).await?;
            let request = self.request(requests, Agreement::Majority);
            let path = PathAndQuery::from_static(rpc::WATCH);
            client.streaming(request, path, ProstCodec::default()).await
        };
        let opened = timeout(self.patience, opened).await;
        let status = match opened.unwrap_or_else(|_| Err(silent())) {
            Ok(answer) => return Ok((member, answer.into_inner())),
            Err(status) => status,
        };
        match fault(&status) {
            Fault::Login => {
                // What became of it shows at the next attempt.
                let _ = self.log_in(member).await;
            }
            _ => self.leave(member, &status),
        }
        Err(status)
    }

    /// Renews a lease once. Returns how many seconds it lasts; 0: it is no more.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<i64, Status> {
        let member = self.current.load(Ordering::Relaxed);
        let asked = async {
            let mut client = self.client(member).await?;
            let once = stream::iter([LeaseRequest { id }]);
            let request = self.request(once, Agreement::Majority);
            let path = PathAndQuery::from_static(rpc::LEASE_KEEP_ALIVE);
            let codec = ProstCodec::<_, LeaseKeepAliveResponse>::default();
            let answers = client.streaming(request, path, codec).await?;
            let answer = answers.into_inner().message().await?;
            let ended = || Status::unavailable("the stream ended");
            Ok(answer.ok_or_else(ended)?.ttl)
        };
        let answer = timeout(self.patience, asked).await;
        let answer = answer.unwrap_or_else(|_| Err(silent()));
        if let Err(status) = &answer {
            match fault(status) {
                // What became of it shows at the next attempt.
                Fault::Login => drop(self.log_in(member).await),
                _ => self.leave(member, status),
            }
        }
        answer
    }

    /// Turns to the next member, if nobody has done so already.
    pub(super) fn leave(&self, member: usize, status: &Status) {
        let next = member.wrapping_add(1);
        let left =
            (self.current).compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
        if left.is_ok() {
            let member = member % self.members.len();
            tracing::debug!(member, %status, "turning to another member of etcd");
        }
    }

    async fn log_in(&self, member: usize) -> Result<(), Failure> {
        let Some(login) = &self.login else {
            let refused = Status::unauthenticated("etcd wants a user and a password");
            return Err(Failure::Refused(refused));
        };
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = None;
        let message = AuthenticateRequest {
            name: login.user.clone(),
            password: login.password.clone(),
        };
        let asked = self.ask(
            member,
            rpc::AUTHENTICATE,
            message,
            Agreement::Majority,
            self.patience,
        );
        let answer: AuthenticateResponse = match asked.await {
            Ok(answer) => answer,
            Err(status) if fault(&status) == Fault::Answer => return Err(Failure::Refused(status)),
            Err(status) => {
                self.leave(member, &status);
                return Ok(());
            }
        };
        let token = answer.token.parse().map_err(|_| {
            Failure::Refused(Status::internal(
                "etcd gave a token that is no header value",
            ))
        })?;
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(())
    }

    async fn ask<Q, A>(
        &self,
        member: usize,
        path: &'static str,
        message: Q,
        agreement: Agreement,
        limit: Duration,
    ) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let asked = async {
            let mut client = self.client(member).await?;
            let request = self.request(message, agreement);
            let path = PathAndQuery::from_static(path);
            client.unary(request, path, ProstCodec::default()).await
        };
        let answer = timeout(limit, asked).await;
        Ok(answer.unwrap_or_else(|_| Err(silent()))?.into_inner())
    }

    async fn client(&self, member: usize) -> Result<Grpc<Channel>, Status> {
        let channel = self.members[member % self.members.len()].clone();
        // A member answers at most what it was asked for; the limit is in the question.
        let mut client = Grpc::new(channel).max_decoding_message_size(usize::MAX);
        let ready = client.ready().await;
        ready.map_err(|error| Status::from_error(Box::new(error)))?;
        Ok(client)
    }

    fn request<T>(&self, message: T, agreement: Agreement) -> Request<T> {
        let mut request = Request::new(message);
        if agreement == Agreement::Majority {
            // A member without a leader refuses at once, and ends watches, instead of waiting.
            let yes = MetadataValue::from_static("true");
            request.metadata_mut().insert("hasleader", yes);
        }
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// etcd has decided.
    Answer,
    /// The token is missing or no longer good; nothing was done.
    Login,
    /// There was no connection to send it on.
    NotSent,
    NoAnswer,
}

fn fault(status: &Status) -> Fault {
    match (status.code(), status.message()) {
        (Code::Unauthenticated, _)
        | (
            Code::InvalidArgument,
            "etcdserver: user name is empty" | "etcdserver: revision of auth store is old",
        ) => Fault::Login,
        (
            Code::InvalidArgument
            | Code::OutOfRange
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Unimplemented,
            _,
        ) => Fault::Answer,
        _ if was_not_sent(status) => Fault::NotSent,
        _ => Fault::NoAnswer,
    }
}

fn was_not_sent(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn silent() -> Status {
    Status::deadline_exceeded("no answer in time")
}

//! One process at a time may say that the store is its own.
//!
//! The claim is a key beside the record, with a lease: it is there as long as the process renews it,
//! and for [`LIFE`] after its end. While a process has a claim, each of its writes goes through only if
//! the claim is still there, so that one that was away and is no longer the owner writes nothing.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::connection::{Agreement, Failure};
use super::rpc::{
    self, Compare, LeaseGrantRequest, LeaseGrantResponse, LeaseRequest, LeaseRevokeResponse,
    PutRequest, RangeRequest, Request, TxnRequest, TxnResponse,
};
use super::{EtcdStore, plain_error};
use crate::Error;

/// How long a claim outlives its process. etcd counts from anew when it has a new leader.
const LIFE: Duration = Duration::from_secs(15);

/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(4);

/// A store cannot be claimed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else has it. Carries what the claim says.
    #[error("it is claimed by {0}")]
    Taken(String),
    /// etcd cannot be asked.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The store is this process's own, as long as [`Self::keep`] runs.
#[derive(Debug)]
pub struct Claim {
    store: EtcdStore,
    value: Bytes,
    lease: i64,
}

impl EtcdStore {
    /// Claims the store. `holder` tells people who has it, and tells claims apart: who comes back with
    /// the same words has the claim that it had before.
    ///
    /// # Errors
    /// When somebody else has it, or etcd cannot be asked.
    pub async fn claim(&self, holder: &str) -> Result<Claim, ClaimError> {
        let value = Bytes::from(holder.to_owned());
        let lease = self.take(&value).await?;
        let mut own = self.claim.write().unwrap_or_else(PoisonError::into_inner);
        *own = Some(value.clone());
        Ok(Claim {
            store: self.clone(),
            value,
            lease,
        })
    }

    /// Who has claimed the store; `None` if nobody has.
    ///
    /// # Errors
    /// When etcd cannot be asked.
    pub async fn holder(&self) -> Result<Option<String>, Error> {
        let request = RangeRequest {
            key: self.claim_key(),
            ..RangeRequest::default()
        };
        let found = self.read_range(&request, Agreement::Majority).await;
        let found = found.map_err(plain_error)?;
        Ok((found.kvs.first()).map(|kv| String::from_utf8_lossy(&kv.value).into_owned()))
    }

    /// Makes a transaction hold only while the claim does, if there is one. Returns what that says;
    /// who has it then is the last answer to a transaction that does not hold.
    pub(super) fn guard(&self, request: &mut TxnRequest) -> Option<Bytes> {
        let own = self.claim.read().unwrap_or_else(PoisonError::into_inner);
        let value = own.clone()?;
        let key = self.claim_key();
        request
            .compare
            .push(Compare::holds(key.clone(), value.clone()));
        let read = Request::Range(RangeRequest {
            key,
            ..RangeRequest::default()
        });
        request.failure.push(read.into());
        Some(value)
    }

    fn claim_key(&self) -> Bytes {
        Bytes::from(format!("{}/claim", self.prefix))
    }

    /// Puts the claim there with a new lease, if nobody has it or this holder did before.
    async fn take(&self, value: &Bytes) -> Result<i64, ClaimError> {
        let grant = LeaseGrantRequest {
            ttl: LIFE.as_secs().cast_signed(),
        };
        let granted: Result<LeaseGrantResponse, Failure> =
            self.connection.write(rpc::LEASE_GRANT, &grant).await;
        let lease = granted.map_err(plain_error)?.id;
        let key = self.claim_key();
        let put = || {
            Request::Put(PutRequest {
                key: key.clone(),
                value: value.clone(),
                lease,
            })
        };
        for unclaimed in [
            Compare::modified(key.clone(), 0),
            Compare::holds(key.clone(), value.clone()),
        ] {
            let request = TxnRequest {
                compare: vec![unclaimed],
                success: vec![put().into()],
                failure: Vec::new(),
            };
            let answer: Result<TxnResponse, Failure> =
                self.connection.write(rpc::TXN, &request).await;
            if answer.map_err(plain_error)?.succeeded {
                return Ok(lease);
            }
        }
        self.release(lease).await;
        let holder = self.holder().await?;
        Err(ClaimError::Taken(
            holder.unwrap_or_else(|| "somebody who has just gone".to_owned()),
        ))
    }

    async fn release(&self, id: i64) {
        let request = LeaseRequest { id };
        let released: Result<LeaseRevokeResponse, Failure> =
            self.connection.write(rpc::LEASE_REVOKE, &request).await;
        if let Err(failure) = released {
            // It ends by itself.
            tracing::debug!(?failure, "a lease was not given back");
        }
    }
}

impl Claim {
    /// Renews the claim until `stop` ends, and takes it again when it has ended while etcd was away.
    /// Gives it back then, so that nobody has to wait until it ends by itself.
    ///
    /// # Errors
    /// When somebody else has it: then nothing can be written any more.
    pub async fn keep(mut self, stop: impl Future<Output = ()>) -> Result<(), ClaimError> {
        let mut stop = std::pin::pin!(stop);
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = &mut stop => {
                    self.store.release(self.lease).await;
                    return Ok(());
                }
                () = sleep(RENEWAL) => {}
            }
            match self.store.connection.keep_alive(self.lease).await {
                Ok(ttl) if ttl > 0 => {
                    renewed = Instant::now();
                    continue;
                }
                Ok(_) => {}
                Err(failure) => {
                    let since = renewed.elapsed();
                    tracing::debug!(?failure, ?since, "the claim of the store was not renewed");
                    if since < LIFE {
                        continue;
                    }
                }
            }
            match self.store.take(&self.value).await {
                Ok(lease) => {
                    tracing::info!("the store is claimed again");
                    self.lease = lease;
                    renewed = Instant::now();
                }
                Err(taken @ ClaimError::Taken(_)) => return Err(taken),
                Err(ClaimError::Store(error)) => {
                    tracing::warn!(%error, "the store cannot be claimed again yet");
                }
            }
        }
    }
}

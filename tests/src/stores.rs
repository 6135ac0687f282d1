//! What the back ends of the store must survive: real etcd members that die, real processes that
//! are killed while they write.

mod asking;
mod claim;
pub mod crash;
mod etcd;
mod faults;
pub mod full_disk;
mod keys;
mod kubectls;
mod load;
mod redb;
mod relay;
mod server;
mod server_on_etcd;

use std::path::PathBuf;

use anyhow::Result;
use store::{RedbOptions, RedbStore};
use testbed::{Etcd, Testbed};

use crate::cases::Case;

/// What the cases share.
pub struct World {
    /// Where etcd members and servers run.
    pub testbed: Testbed,
    /// Where their data is.
    pub folder: PathBuf,
    /// How many seconds members of etcd are killed.
    pub seconds: u64,
    /// At how many writes a process is killed.
    pub crash_points: u64,
}

/// All cases, in the order in which they run.
pub const CASES: &[(&str, Case<World>)] = &[
    ("redb keeps the contract", |world| {
        Box::pin(redb::redb_contract(world))
    }),
    ("redb loses nothing when it is killed", |world| {
        Box::pin(redb::crashes(world))
    }),
    ("redb on a full disk", |world| {
        Box::pin(redb::disk_is_full(world))
    }),
    ("backup of a running store, and restore", |world| {
        Box::pin(redb::backups(world))
    }),
    ("backup of a running server, and restore", |world| {
        Box::pin(server::backup(world))
    }),
    ("keys of a running server change", |world| {
        Box::pin(keys::rotation(world))
    }),
    (
        "a key ring that is missing, a secret that was changed",
        |world| Box::pin(keys::faults(world)),
    ),
    ("etcd of one member keeps the contract", |world| {
        Box::pin(etcd::one_member(world))
    }),
    ("etcd of three members keeps the contract", |world| {
        Box::pin(etcd::three_members(world))
    }),
    ("etcd over TLS", |world| Box::pin(etcd::tls(world))),
    ("etcd with authentication", |world| {
        Box::pin(etcd::authentication(world))
    }),
    ("one process has a store in etcd", |world| {
        Box::pin(claim::one_owner(world))
    }),
    ("answers that come in pieces", |world| {
        Box::pin(etcd::pieces(world))
    }),
    ("compaction beneath a watch", |world| {
        Box::pin(faults::compaction(world))
    }),
    ("a quiet watch outlives compaction", |world| {
        Box::pin(faults::quiet_watch(world))
    }),
    ("a member that hangs", |world| {
        Box::pin(faults::hanging_member(world))
    }),
    ("a member without a majority", |world| {
        Box::pin(faults::lonely_member(world))
    }),
    ("members are killed under load", |world| {
        Box::pin(faults::killed_members(world))
    }),
    ("a server on etcd outlives its members", |world| {
        Box::pin(server_on_etcd::outages(world))
    }),
    ("a server moves to etcd and back", |world| {
        Box::pin(server_on_etcd::moves(world))
    }),
];

impl World {
    /// Starts an etcd for one case. Everything about it blocks.
    fn etcd(&self, name: &str, members: usize, tls: bool) -> Result<Etcd> {
        let options = testbed::EtcdOptions { members, tls };
        let start = || self.testbed.etcd(&self.folder.join(name), options);
        Ok(tokio::task::block_in_place(start)?)
    }

    fn redb(&self, name: &str) -> Result<RedbStore> {
        Ok(RedbStore::open(
            &self.folder.join(name),
            RedbOptions::default(),
        )?)
    }
}

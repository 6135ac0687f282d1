//! Starts real Kubernetes components for tests, demo and benchmarks, and leaves nothing behind.
//!
//! A [`Testbed`] is one owner's place on the machine; from it come [`Cluster`]s: etcd, the control
//! plane and, in the full tier, a real node with containerd, runc and a kubelet, in a network of
//! its own from which it can dial out and cannot be dialled. The programs are built once, from Go
//! modules pinned in this package, into a cache ([`tools`]).
//!
//! ```no_run
//! # fn main() -> testbed::Result<()> {
//! let testbed = testbed::Testbed::open("an example")?;
//! let cluster = testbed.cluster("alpha").start()?;
//! let nodes = cluster.kubectl()?.args(["get", "nodes"]).status();
//! # drop(nodes);
//! # Ok(())
//! # }
//! ```
//!
//! All functions block. Everything ends when it is dropped, on SIGINT, SIGTERM and SIGHUP, and when
//! the owner is killed: processes die with it, and the rest is removed by the next owner or by
//! [`clean`].

pub mod balancer;
pub mod browser;
mod cache;
pub mod chromium;
pub mod clients;
pub mod clock;
mod cluster;
pub mod collector;
mod command;
mod control_plane;
pub mod directory;
mod error;
mod etcd;
pub mod forward_proxy;
pub mod github;
mod https;
mod image;
mod kwok;
mod metrics;
mod network;
mod node;
mod npm;
pub mod oidc;
mod packages;
mod pki;
mod process;
mod progress;
pub mod samba;
mod service_proxy;
mod signals;
mod site;
pub mod slapd;
mod slot;
mod sweep;
mod testbed;
pub mod tools;
pub mod wait;

pub use cluster::{Cluster, ClusterBuilder, Tier};
pub use error::{Error, Result};
pub use etcd::{Etcd, EtcdOptions, Member};
pub use image::{BUSYBOX, Image};
pub use network::{Network, Quality, Wire};
pub use nix::sys::signal::Signal;
pub use node::NODE_NAME;
pub use process::Process;
pub use slot::{ClusterRecord, Owner, Resource, State, owners};
pub use sweep::clean;
pub use testbed::Testbed;

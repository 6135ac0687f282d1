//! The Lariat management server.
//!
//! The folders follow a request: [`edge`] accepts it, gives it an id and decides where it goes;
//! [`authn`] says who it is; [`authz`] whether it may; then it is answered by [`management`] (the
//! Kubernetes-style API), [`norman`] (the Rancher-shaped one), `kube_proxy` (clusters) or `tunnels`
//! (agents). What the server itself writes goes through the Kubernetes-style API as well; [`audit`]
//! keeps a record of what others ask, [`recordings`] of what they do in containers.
//!
//! The library exists so that tests can start servers; the product is the binary.

pub mod audit;
pub mod authn;
pub mod authz;
pub mod backup;
mod bootstrap;
pub mod clock;
pub mod config;
pub mod control;
pub mod controllers;
pub mod edge;
pub mod encryption;
pub mod expiry;
pub mod inactive_users;
pub mod kube_proxy;
mod lines;
mod logins;
pub mod management;
pub mod metrics;
pub mod norman;
mod pages;
mod random;
pub mod recordings;
pub mod registration;
mod server;
pub mod state;
pub mod storage;
mod stored;
pub mod tokens;
mod traces;
pub mod tunnels;
mod turns;

pub use server::Server;

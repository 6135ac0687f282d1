//! A Kubernetes-style API server as a library.
//!
//! Objects are JSON values, as kube-apiserver treats those of user-defined kinds: one path serves
//! kinds that are compiled in and kinds that users define.

pub mod admission;
pub mod apply;
pub mod body;
pub mod builtin;
pub mod cache;
pub mod crd;
pub mod discovery;
pub mod error;
pub mod flow;
pub mod garbage;
pub mod keys;
pub mod media;
mod metrics;
pub mod names;
pub mod namespaces;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod policy;
pub mod protobuf;
pub mod rbac;
pub mod registry;
pub mod request;
pub mod review;
pub mod schema;
pub mod selector;
pub mod serve;
pub mod strategic_merge;
pub mod table;
mod upstream;

//! A Kubernetes-style API server as a library.
//!
//! Objects are JSON values, as kube-apiserver treats those of user-defined kinds: one path serves
//! kinds that are compiled in and kinds that users define.

pub mod apply;
pub mod schema;

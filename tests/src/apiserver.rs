//! The management API beside a real kube-apiserver: the same requests and the same kubectl
//! invocations to both, and their answers compared.
//!
//! The cases are data, in `tests/apiserver/`. What may differ is in `differences.yaml` there, each
//! with its reason.

pub mod cases;
pub mod compare;
pub mod differences;
mod normalise;
mod protobuf;
pub mod report;
pub mod run;
pub mod side;

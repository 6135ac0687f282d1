//! The management API beside a real kube-apiserver: the same kind, the same objects, the same
//! client, the same machine, in turns.

#![expect(clippy::print_stdout, reason = "a run of minutes says how far it is")]

mod contest;
mod etcd;
mod fan_out;
mod footprint;
mod objects;
mod report;
mod requests;
mod side;

pub use contest::{Contest, Scale};
pub use report::Report;
pub use side::Side;

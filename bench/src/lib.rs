//! Benchmarks: what is measured, against what, and how it is reported.
//!
//! Every figure is compared with another one of the same run on the same machine; absolute
//! figures say more about the machine than about the program.

pub mod apiserver;
pub mod backend;
pub mod bulk;
pub mod cluster;
pub mod cpu;
pub mod endpoint;
pub mod fleet;
pub mod goal;
pub mod load;
pub mod lone_tunnel;
pub mod memory;
pub mod plot;
pub mod report;
pub mod reverse_proxy;
pub mod scale;
pub mod simulator;
pub mod soak;
pub mod tunnel;

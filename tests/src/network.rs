//! Loads that count every byte, through a network that fails.

mod client;
mod condition;
mod copying;
mod counted;
mod cutting;
mod faults;
mod forwarding;
mod lines;
mod load;
mod numbers;
pub mod pod;
mod requests;
pub mod rules;
mod run;
mod typing;
mod way;
mod world;

pub use faults::{FAULTS, Fault};
pub use run::{Options, run};
pub use world::{Settings, World};

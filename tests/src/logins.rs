//! Who gets into a cluster, and until when: with real login providers, through the tunnel.

mod browsing;
mod elsewhere;
mod life;
mod person;
mod provider;
mod world;

pub use browsing::browsing;
pub use life::life_of;
pub use provider::Provider;
pub(crate) use provider::{INSIDER, OUTER, PASSWORD};
pub use world::World;

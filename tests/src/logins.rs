//! Who gets into a cluster, and until when: with real directories, through the tunnel.

mod directory;
mod life;
mod world;

pub use directory::Directory;
pub(crate) use directory::{INSIDER, OUTER, PASSWORD};
pub use life::life_of;
pub use world::World;

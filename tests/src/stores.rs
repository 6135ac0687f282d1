//! What the back ends of the store must survive: real etcd members that die, real processes that
//! are killed while they write.

pub mod crash;
pub mod full_disk;
pub mod load;
pub mod relay;

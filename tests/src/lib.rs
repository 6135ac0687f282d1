//! End-to-end tests over the real binaries.

pub mod access;
pub mod apiserver;
pub mod cases;
pub mod clients;
pub mod endpoint;
pub mod follower;
pub mod helm;
pub mod lariat;
pub mod logins;
pub mod network;
pub mod rancher;
pub mod recording;
pub mod scenarios;
pub mod stores;
pub mod table;
pub mod traces;
pub mod transcript;

//! Servers in this process, each over a store of its own: asked directly, and over HTTP by kubectl.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

mod bounds;
mod harness;
mod kubectl;
mod policies;
mod protobuf;
mod rbac;
mod rest;

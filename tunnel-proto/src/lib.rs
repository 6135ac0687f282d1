//! tunnel-proto.

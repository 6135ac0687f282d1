//! server.

fn main() {}

//! The control plane alone, on loopback ports: the tier that needs no root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use testbed::{Testbed, Tier};

#[test]
fn it_takes_objects_and_two_run_side_by_side() {
    let testbed = Testbed::open("test of the loopback tier").unwrap();
    let clusters =
        ["left", "right"].map(|name| testbed.cluster(name).tier(Tier::Loopback).start().unwrap());
    for cluster in &clusters {
        let made = cluster
            .kubectl()
            .unwrap()
            .args(["create", "configmap", cluster.name(), "--from-literal=a=b"])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
    let [left, right] = &clusters;
    assert_ne!(left.kubeconfig(), right.kubeconfig());
    let seen = right
        .kubectl()
        .unwrap()
        .args(["get", "configmaps", "-o", "name"])
        .output()
        .unwrap();
    let seen = String::from_utf8(seen.stdout).unwrap();
    assert!(
        seen.contains("configmap/right") && !seen.contains("configmap/left"),
        "{seen}"
    );
}

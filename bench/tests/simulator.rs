//! Simulated agents at a real server: they come back from whatever happens to them, and do what they are told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bench::{
    endpoint::Endpoint,
    simulator::{Mix, PAYLOAD, Simulated, Simulator, clusters},
};
use bytes::Bytes;
use e2e::lariat::{Server, ServerOptions};
use http::Method;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::time::{Duration, Instant};
use testbed::Testbed;
use tunnel::dial::{Dialer, Trust};

const LIMIT: Duration = Duration::from_secs(30);

/// Waits until something holds of an agent.
async fn until(agent: &Simulated, holds: impl Fn(&Simulated) -> bool) {
    let begun = Instant::now();
    while !holds(agent) {
        assert!(begun.elapsed() < LIMIT, "{:?}", agent.figures());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_come_back_and_behave_as_they_are_told() {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .unwrap();
    let testbed = Testbed::open("simulator").unwrap();
    let folder = std::env::temp_dir().join(format!("lariat-simulator-{}", std::process::id()));
    let options = ServerOptions::loopback(folder.clone());
    let mut server = Server::start(&testbed, options).await.unwrap();
    let api = server.api().await.unwrap();
    let made = clusters::register(&api, "test", 5, 5, |_| ())
        .await
        .unwrap();
    let dialer = Dialer::new(
        server.url().parse().unwrap(),
        Trust::pem(&std::fs::read(server.ca_file()).unwrap()).unwrap(),
    );
    let mut simulator = Simulator::new(dialer, 2);
    let mix = Mix::parse([
        "1:line,payload=1000",
        "1:forbids",
        "1:leave=1s/100ms",
        "1:flap=2s",
    ]);
    simulator.add_all(&made, &mix.unwrap()).await.unwrap();
    simulator.all_connected(LIMIT).await.unwrap();
    let agents = simulator.agents().to_vec();
    let [line, forbids, leaves, flaps, good] = agents.as_slice() else {
        panic!("{} agents", agents.len());
    };

    let kubeconfig: Kubeconfig = serde_json::from_str(&server.kubeconfig().await.unwrap()).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    let endpoint = Endpoint::of_kube(&config, Some(&api.token)).unwrap();
    let ask = async |agent: &Simulated, path: &str| {
        let path = format!("/k8s/clusters/{}{path}", agent.id());
        endpoint.ask(Method::GET, &path, Bytes::new()).await
    };
    let object = "/api/v1/namespaces/default";
    assert_eq!(ask(line, PAYLOAD).await.unwrap().len(), 1000);
    assert!(ask(good, object).await.is_ok());
    let refused = ask(forbids, object).await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");

    line.cut();
    until(line, |it| {
        it.figures().resumptions == 1 && it.is_connected()
    })
    .await;
    assert_eq!(line.figures().sessions, 1);
    line.kill(Duration::ZERO);
    until(line, |it| it.figures().sessions == 2 && it.is_connected()).await;
    assert!(ask(line, object).await.is_ok());
    until(leaves, |it| it.figures().sessions >= 3).await;
    until(flaps, |it| it.figures().resumptions >= 2).await;

    let since = Instant::now();
    server.kill();
    server.relaunch().unwrap();
    let returned = simulator.all_since(since, LIMIT).await.unwrap();
    assert_eq!(returned.took.len(), 5);
    until(good, |it| it.figures().sessions == 2 && it.is_connected()).await;
    assert!(ask(good, object).await.is_ok());
    assert!(good.figures().returns.iter().all(|took| *took < LIMIT));
    simulator.stop().await;
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

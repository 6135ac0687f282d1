//! Watches of clusters go on when the session is lost by which their answer came.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod agents;

use std::sync::{Arc, Mutex};

use agents::{Answer, Running, answer, serve, until, within};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, Config};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;
use tokio::sync::mpsc;
use tunnel::identity::KeyPair;
use tunnel::session::Session;
use tunnel_proto::frame::CloseCode;

const PATH: &str = "/api/v1/namespaces/default/configmaps";

fn configmap(version: u64) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": format!("map-{version}"), "namespace": "default", "resourceVersion": version.to_string()}})
}

fn event(version: u64) -> String {
    format!(
        "{}\n",
        json!({"type": "ADDED", "object": configmap(version)})
    )
}

/// A cluster that has config maps, and counts who asks for them.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Queries of lists and of watches, and the user who asked.
    lists: Vec<String>,
    watches: Vec<String>,
    users: Vec<String>,
    /// The watches that are open.
    open: Vec<mpsc::Sender<String>>,
    /// Every config map ever made, by its version.
    made: Vec<u64>,
    /// Answers watches with this status instead.
    refuses: Option<u16>,
}

impl Fake {
    async fn answer(self, request: Request<Incoming>) -> Answer {
        if request.uri().path() != PATH {
            return answer(404, "");
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let mut state = self.0.lock().unwrap();
        if !query.contains("watch=") {
            let items: Vec<_> = state
                .made
                .iter()
                .map(|version| configmap(*version))
                .collect();
            let version = state.made.last().copied().unwrap_or(1).to_string();
            state.lists.push(query);
            let list = json!({"apiVersion": "v1", "kind": "ConfigMapList",
                "metadata": {"resourceVersion": version}, "items": items});
            let mut answer = answer(200, list.to_string());
            let json = "application/json".parse().unwrap();
            answer.headers_mut().insert(header::CONTENT_TYPE, json);
            return answer;
        }
        let user = &request.headers()["impersonate-user"];
        state.users.push(user.to_str().unwrap().to_owned());
        if let Some(status) = state.refuses {
            state.watches.push(query);
            return answer(status, "");
        }
        let after = url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "resourceVersion")
            .map_or(0, |(_, version)| version.parse::<u64>().unwrap());
        let (send, receive) = mpsc::channel(100);
        for version in state.made.iter().filter(|version| **version > after) {
            send.try_send(event(*version)).unwrap();
        }
        state.open.push(send);
        state.watches.push(query);
        let frames = futures::stream::unfold(receive, |mut receive| async move {
            let text: String = receive.recv().await?;
            let frame = Frame::data(Bytes::from(text));
            Some((Ok::<_, std::io::Error>(frame), receive))
        });
        Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(StreamBody::new(frames.boxed()).boxed_unsync())
            .unwrap()
    }

    /// Makes a config map, and tells who watches.
    fn make(&self, version: u64) {
        let mut state = self.0.lock().unwrap();
        state.made.push(version);
        state
            .open
            .retain(|open| open.try_send(event(version)).is_ok());
    }

    /// Sends half of an event to who watches.
    fn begin(&self, version: u64) {
        let half = event(version)[..20].to_owned();
        let state = self.0.lock().unwrap();
        for open in &state.open {
            open.try_send(half.clone()).unwrap();
        }
    }

    fn watches(&self) -> Vec<String> {
        self.0.lock().unwrap().watches.clone()
    }

    fn lists(&self) -> usize {
        self.0.lock().unwrap().lists.len()
    }
}

/// A server, and the cluster `c-1` with the key of its agent.
struct Stage {
    server: Running,
    fake: Fake,
    key: KeyPair,
}

impl Stage {
    async fn start() -> (Self, Session) {
        let server = Running::start().await;
        server.cluster("c-1").await;
        let token = server.registration("c-1", "first").await;
        let stage = Self {
            server,
            fake: Fake::default(),
            key: KeyPair::generate().unwrap(),
        };
        let session = stage.connect(&stage.key, Some(&token)).await;
        (stage, session)
    }

    async fn connect(&self, key: &KeyPair, token: Option<&str>) -> Session {
        let connected = self.server.dial(key, token).await.unwrap();
        tokio::spawn(connected.driver);
        let fake = self.fake.clone();
        serve(&connected.session, move |request| {
            fake.clone().answer(request)
        });
        let id = "c-1".parse().unwrap();
        until(|| self.server.app.tunnels.get(&id).is_some()).await;
        connected.session
    }

    /// The agent is gone without a word to who watches, and the server knows.
    async fn lose(&self, session: &Session) {
        session.close(CloseCode::Normal, "restarted");
        let id = "c-1".parse().unwrap();
        until(|| self.server.app.tunnels.get(&id).is_none()).await;
        self.fake.0.lock().unwrap().open.clear();
    }

    async fn watch(&self, query: &str) -> Watched {
        let mut client = self.server.client("localhost").await;
        let path = format!("/k8s/clusters/c-1{PATH}?{query}");
        let request = self.server.request("GET", &path);
        let request = request.body(Full::default().boxed_unsync()).unwrap();
        let response = within(client.send_request(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Watched {
            body: response.into_body(),
            read: Vec::new(),
            _client: Box::new(client),
        }
    }

    fn resumed(&self, outcome: &str) -> u64 {
        let page = self.server.app.metrics.encode().unwrap();
        let name = format!("lariat_watches_resumed_total{{outcome=\"{outcome}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse().unwrap())
    }
}

struct Watched {
    body: Incoming,
    read: Vec<u8>,
    /// The connection lives as long as its sender.
    _client: Box<dyn std::any::Any>,
}

impl Watched {
    /// Reads until this was read, and nothing else.
    async fn reads(&mut self, wanted: &str) {
        while self.read.len() < wanted.len() {
            let frame = within(self.body.frame()).await.unwrap().unwrap();
            self.read.extend_from_slice(&frame.into_data().unwrap());
        }
        assert_eq!(std::str::from_utf8(&self.read).unwrap(), wanted);
        self.read.clear();
    }

    async fn ends(&mut self) {
        let end = within(self.body.frame()).await;
        assert!(end.is_none(), "{end:?}");
    }
}

#[tokio::test]
async fn a_watch_outlives_the_session_by_which_it_began() {
    let (stage, session) = Stage::start().await;
    let mut watch = stage
        .watch("watch=true&resourceVersion=5&labelSelector=a%3Db")
        .await;
    stage.fake.make(6);
    watch.reads(&event(6)).await;
    stage.fake.begin(7);
    stage.lose(&session).await;
    stage.fake.make(7);
    stage.connect(&stage.key, None).await;
    watch.reads(&event(7)).await;
    stage.fake.make(8);
    watch.reads(&event(8)).await;
    let asked = [
        "watch=true&resourceVersion=5&labelSelector=a%3Db",
        "watch=true&labelSelector=a%3Db&resourceVersion=6",
    ];
    assert_eq!(stage.fake.watches(), asked);
    let users = stage.fake.0.lock().unwrap().users.clone();
    let admin = stage.server.app.directory.login("admin").unwrap().0;
    assert_eq!(users, [admin.to_string(), admin.to_string()]);
    assert_eq!(stage.resumed("Resumed"), 1);
}

#[tokio::test]
async fn a_cluster_that_remembers_too_little_is_believed() {
    let (stage, session) = Stage::start().await;
    let mut watch = stage.watch("watch=true&resourceVersion=5").await;
    stage.fake.make(6);
    watch.reads(&event(6)).await;
    stage.lose(&session).await;
    stage.fake.0.lock().unwrap().refuses = Some(410);
    stage.connect(&stage.key, None).await;
    let frame = within(watch.body.frame()).await.unwrap().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&frame.into_data().unwrap()).unwrap();
    assert_eq!(
        (&told["type"], &told["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    watch.ends().await;
    assert_eq!(stage.resumed("Expired"), 1);
}

#[tokio::test]
async fn a_watch_that_is_refused_ends_in_order() {
    let (stage, session) = Stage::start().await;
    let mut watch = stage.watch("watch=true&resourceVersion=5").await;
    stage.lose(&session).await;
    stage.fake.0.lock().unwrap().refuses = Some(403);
    stage.connect(&stage.key, None).await;
    watch.ends().await;
    assert_eq!(stage.fake.watches().len(), 2);
    assert_eq!(stage.resumed("Refused"), 1);
}

/// A cluster that was built anew counts its versions from the beginning.
#[tokio::test]
async fn the_agent_of_another_cluster_is_not_asked() {
    let (stage, session) = Stage::start().await;
    let mut watch = stage.watch("watch=true&resourceVersion=5").await;
    stage.lose(&session).await;
    stage.server.allow_rebind("c-1").await;
    let token = stage.server.registration("c-1", "second").await;
    stage
        .connect(&KeyPair::generate().unwrap(), Some(&token))
        .await;
    watch.ends().await;
    assert_eq!(stage.fake.watches().len(), 1);
}

#[tokio::test]
async fn who_may_watch_no_more_is_not_watched_for() {
    let (stage, session) = Stage::start().await;
    let mut watch = stage.watch("watch=true&resourceVersion=5").await;
    stage.lose(&session).await;
    let revoked = lariat_server::tokens::revoke(&stage.server.app, &stage.server.token_name);
    revoked.await.unwrap();
    let end = within(watch.body.frame()).await;
    assert!(end.is_none_or(|frame| frame.is_err()));
    stage.connect(&stage.key, None).await;
    assert_eq!(stage.fake.watches().len(), 1);
}

#[tokio::test]
async fn a_stopping_server_ends_a_watch_that_waits() {
    let (stage, session) = Stage::start().await;
    let mut watch = stage.watch("watch=true&resourceVersion=5").await;
    stage.lose(&session).await;
    stage.server.stop();
    watch.ends().await;
}

/// The informer of kube-rs over sessions that are lost one after the other.
#[tokio::test]
async fn an_informer_lists_once() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (stage, mut session) = Stage::start().await;
    stage.fake.make(2);
    let address = format!("https://localhost:{}/k8s/clusters/c-1", stage.server.port);
    let mut config = Config::new(address.parse().unwrap());
    let ca = stage.server.app.certificates.private_authority();
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
    config.root_cert = Some(vec![ca.to_vec()]);
    config.auth_info.token = Some(stage.server.token.clone().into());
    let maps: Api<ConfigMap> = Api::namespaced(Client::try_from(config).unwrap(), "default");
    let mut events = watcher(maps, watcher::Config::default()).boxed();
    let mut next = async || loop {
        match within(events.next()).await.unwrap().unwrap() {
            watcher::Event::InitApply(map) | watcher::Event::Apply(map) => {
                return map.metadata.name.unwrap();
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
            watcher::Event::Delete(map) => panic!("deleted {map:?}"),
        }
    };
    assert_eq!(next().await, "map-2");
    // It watches as soon as somebody wants to know more.
    tokio::select! {
        name = next() => panic!("{name} was never made"),
        () = until(|| stage.fake.watches().len() == 1) => {}
    }
    for round in 0..5 {
        let version = 10 * (round + 1);
        stage.fake.make(version);
        assert_eq!(next().await, format!("map-{version}"));
        stage.fake.begin(version + 1);
        stage.lose(&session).await;
        stage.fake.make(version + 1);
        session = stage.connect(&stage.key, None).await;
        assert_eq!(next().await, format!("map-{}", version + 1));
    }
    assert_eq!(stage.fake.lists(), 1);
    assert_eq!(stage.fake.watches().len(), 6);
    assert_eq!(stage.resumed("Resumed"), 5);
}

//! What the server's controllers do in a cluster, as far as people's own requests show it. What they make
//! there is tried in real clusters by `e2e-access`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod agents;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use agents::{Answer, Running, answer, mirror, until, within};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use lariat_api::{
    AuthConfig, ClusterRoleTemplateBinding, Principal, PrincipalType, Principals, Project, Subject,
    Token, User, UserAttribute,
};
use lariat_server::tokens::{self, NewToken};
use serde_json::{Value, json};

const BOUND: &str = "openldap_group://cn=ops";
const OTHER: &str = "openldap_group://cn=others";

/// A cluster with nothing in it, which takes what it is given, and says what people ask.
async fn empty(request: Request<Incoming>) -> Answer {
    const NOTHING: &str =
        r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;
    let user = request.headers().get("impersonate-user");
    let by_controllers = user.is_some_and(|user| user == "lariat:controllers");
    if !by_controllers {
        return mirror(request).await;
    }
    if request
        .uri()
        .query()
        .is_some_and(|query| query.contains("watch=true"))
    {
        let frames = futures::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
        return http::Response::new(StreamBody::new(frames).boxed_unsync());
    }
    match *request.method() {
        Method::GET => answer(200, NOTHING),
        _ => answer(201, request.into_body().collect().await.unwrap().to_bytes()),
    }
}

/// Ann, who is in two groups of a directory; her token.
async fn ann(server: &Running) -> String {
    let user = User::new(&"u-ann".parse().unwrap(), "ann");
    let users: Api<User> = Api::all(server.app.own.clone());
    users.create(&PostParams::default(), &user).await.unwrap();
    let group = |id: &str| Principal {
        id: id.to_owned(),
        principal_type: PrincipalType::Group,
        ..Principal::default()
    };
    let items = vec![group(BOUND), group(OTHER)];
    let attribute = UserAttribute {
        metadata: ObjectMeta {
            name: Some("u-ann".to_owned()),
            ..ObjectMeta::default()
        },
        group_principals: [("openldap".to_owned(), Principals { items })].into(),
        ..UserAttribute::default()
    };
    let attributes: Api<UserAttribute> = Api::all(server.app.own.clone());
    let made = attributes.create(&PostParams::default(), &attribute).await;
    made.unwrap();
    let new = NewToken {
        user: "u-ann".into(),
        ..NewToken::default()
    };
    tokens::create(&server.app, new).await.unwrap().token
}

fn bindings(server: &Running) -> Api<ClusterRoleTemplateBinding> {
    Api::namespaced(server.app.own.clone(), "c-1")
}

/// Makes somebody a member of the cluster.
async fn bind(server: &Running, name: &str, subject: Subject) {
    let binding = ClusterRoleTemplateBinding {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        subject,
        role_template_name: "cluster-member".to_owned(),
        ..ClusterRoleTemplateBinding::default()
    };
    let params = PostParams::default();
    bindings(server).create(&params, &binding).await.unwrap();
}

async fn unbind(server: &Running, name: &str) {
    let params = DeleteParams::default();
    bindings(server).delete(name, &params).await.unwrap();
}

/// The groups of directories in whose name the cluster sees a request; `None` if it does not get there.
async fn groups(server: &Running, token: &str) -> Option<Vec<String>> {
    let request = Request::get("/k8s/clusters/c-1/api")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {token}"));
    let (parts, body) = server.ask(request, "").await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    let groups = text.lines();
    let groups = groups.filter_map(|line| line.strip_prefix("impersonate-group: "));
    let groups = groups.filter(|group| group.contains("://"));
    let groups = groups.map(ToOwned::to_owned).collect();
    parts.status.is_success().then_some(groups)
}

#[tokio::test]
async fn people_come_in_the_name_of_those_of_their_groups_that_have_a_role_in_the_cluster() {
    let server = Running::start().await;
    server.connected(empty).await;
    let token = ann(&server).await;
    assert_eq!(groups(&server, &token).await, None);
    bind(&server, "own", Subject::user("u-ann")).await;
    assert_eq!(groups(&server, &token).await, Some(Vec::new()));
    let subject = Subject {
        group_principal_name: BOUND.to_owned(),
        ..Subject::default()
    };
    bind(&server, "of-group", subject).await;
    let until = async |expected: &[&str]| {
        within(async {
            while groups(&server, &token).await.unwrap() != expected {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    // As soon as the agent can ask in its name, and never in that of the other.
    until(&[BOUND]).await;
    unbind(&server, "of-group").await;
    until(&[]).await;
}

/// A cluster with one namespace, of project `p-shop`, in which nothing ever happens.
async fn shop(request: Request<Incoming>) -> Answer {
    const SHOP: &str = r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[
        {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"field.cattle.io/projectId":"p-shop"},
        "annotations":{"field.cattle.io/projectId":"c-1:p-shop"}}}]}"#;
    let watches = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("watch=true"));
    match (request.method(), request.uri().path()) {
        _ if watches => {
            let frames = futures::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
            http::Response::new(StreamBody::new(frames).boxed_unsync())
        }
        (&Method::GET, "/api/v1/namespaces") => answer(200, SHOP),
        _ => empty(request).await,
    }
}

#[tokio::test]
async fn what_a_project_has_open_is_bounded_whoever_asks() {
    let server = Running::start_with(&["--proxy-streams-per-project", "1"]).await;
    server.connected(shop).await;
    let projects: Api<Project> = Api::namespaced(server.app.own.clone(), "c-1");
    let mut project = Project::default();
    project.metadata.name = Some("p-shop".to_owned());
    project.spec.display_name = "Shop".to_owned();
    let made = projects.create(&PostParams::default(), &project).await;
    made.unwrap();
    let open = async |namespace: &str| {
        let path = format!("/k8s/clusters/c-1/api/v1/namespaces/{namespace}/pods?watch=true");
        let mut client = server.client("localhost").await;
        let request = server.request("GET", &path);
        let request = request.body(http_body_util::Full::default().boxed_unsync());
        let answer = within(client.send_request(request.unwrap())).await.unwrap();
        (client, answer)
    };
    // What comes before the cluster has told of its namespaces is not counted.
    let refused = within(async {
        loop {
            let _first = open("shop").await;
            let (_client, second) = open("shop").await;
            if second.status() != http::StatusCode::OK {
                let (_, other) = open("other").await;
                assert_eq!(other.status(), http::StatusCode::OK);
                return second;
            }
        }
    });
    let (parts, body) = refused.await.into_parts();
    assert_eq!(parts.status, http::StatusCode::TOO_MANY_REQUESTS);
    let body = within(body.collect()).await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(
        body.contains(r#"project \"p-shop\" of cluster \"c-1\" has 1 watches"#),
        "{body}"
    );
}

/// What the cluster knows of the people of an authorized endpoint, and how often it was asked to change that.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<(BTreeSet<String>, usize)>>);

impl Known {
    /// Answers as [`empty`] does.
    async fn answer(self, request: Request<Incoming>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let Some(rest) = path.strip_prefix(KINDS) else {
            return empty(request).await;
        };
        let watches = request.uri().query().unwrap_or_default();
        match method {
            Method::GET if watches.contains("watch=true") => empty(request).await,
            Method::GET => answer(200, self.list(rest)),
            Method::DELETE => {
                let mut known = self.0.lock().unwrap();
                known.1 += 1;
                match known.0.remove(rest) {
                    true => answer(200, r#"{"kind":"Status","status":"Success"}"#),
                    false => answer(404, r#"{"kind":"Status","status":"Failure","code":404}"#),
                }
            }
            _ => {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let object: Value = serde_json::from_slice(&body).unwrap();
                let name = object["metadata"]["name"].as_str().unwrap();
                let mut known = self.0.lock().unwrap();
                // A change names its object in the path as well.
                let of = rest.split('/').next().unwrap();
                known.0.insert(format!("{of}/{name}"));
                known.1 += 1;
                answer(201, body)
            }
        }
    }

    /// Those of a kind, by name alone.
    fn list(&self, plural: &str) -> String {
        let known = self.0.lock().unwrap();
        let names = known.0.iter().filter_map(|one| one.split_once('/'));
        let names = names.filter(|(of, _)| *of == plural);
        let items = names
            .map(|(_, name)| json!({"metadata": {"name": name, "namespace": "cattle-system"}}));
        let items: Vec<_> = items.collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
            .to_string()
    }

    fn tokens(&self) -> usize {
        let known = self.0.lock().unwrap();
        let tokens = known.0.iter();
        tokens
            .filter(|name| name.starts_with("clusterauthtokens/"))
            .count()
    }

    fn changes(&self) -> usize {
        self.0.lock().unwrap().1
    }

    /// Waits until so many tokens are known, and users if there are any tokens.
    async fn has(&self, tokens: usize, users: usize) {
        until(|| {
            let all = self.0.lock().unwrap().0.len();
            self.tokens() == tokens && all == tokens + users
        })
        .await;
    }
}

const KINDS: &str = "/apis/cluster.cattle.io/v3/namespaces/cattle-system/";

/// A token of Ann's for the cluster alone, as in a kubeconfig file; its name.
async fn narrow(server: &Running, provider: &str) -> String {
    let new = NewToken {
        user: "u-ann".into(),
        cluster: "c-1".into(),
        provider: provider.into(),
        derived: true,
        kubeconfig: true,
        ..NewToken::default()
    };
    let made = tokens::create(&server.app, new).await.unwrap();
    made.metadata.name.unwrap()
}

/// A cluster with an authorized endpoint, of which Ann is a member.
async fn with_endpoint() -> (Running, Known) {
    let (server, known) = (Running::start().await, Known::default());
    let told = known.clone();
    server
        .connected(move |request| told.clone().answer(request))
        .await;
    ann(&server).await;
    bind(&server, "own", Subject::user("u-ann")).await;
    change(
        &server,
        json!({"localClusterAuthEndpoint": {"enabled": true}}),
    )
    .await;
    (server, known)
}

/// Changes what the Cluster says.
async fn change(server: &Running, spec: Value) {
    let patch = Patch::Merge(json!({"spec": spec}));
    let params = PatchParams::default();
    let clusters = server.clusters();
    clusters.patch("c-1", &params, &patch).await.unwrap();
}

#[tokio::test]
async fn a_cluster_with_an_endpoint_knows_whose_tokens_are_good_for_it_as_long_as_they_are() {
    let (server, known) = with_endpoint().await;
    let first = narrow(&server, "local").await;
    known.has(1, 1).await;
    // The cluster would not hold anybody to it.
    let reading = NewToken {
        user: "u-ann".into(),
        cluster: "c-1".into(),
        read_only: true,
        derived: true,
        ..NewToken::default()
    };
    tokens::create(&server.app, reading).await.unwrap();
    narrow(&server, "local").await;
    known.has(2, 1).await;
    // Who must be recorded goes through the server.
    let recorded = |required: bool| json!({"sessionRecording": {"required": required}});
    change(&server, recorded(true)).await;
    known.has(0, 0).await;
    change(&server, recorded(false)).await;
    known.has(2, 1).await;
    tokens::revoke(&server.app, &first).await.unwrap();
    known.has(1, 1).await;
    // Who has no role is not let in, and whom nobody lets in is nobody there.
    unbind(&server, "own").await;
    known.has(0, 0).await;
    bind(&server, "own", Subject::user("u-ann")).await;
    known.has(1, 1).await;
    let users: Api<User> = Api::all(server.app.own.clone());
    let enabled = async |enabled: bool| {
        let patch = Patch::Merge(json!({ "enabled": enabled }));
        let params = PatchParams::default();
        users.patch("u-ann", &params, &patch).await.unwrap();
    };
    enabled(false).await;
    known.has(0, 0).await;
    enabled(true).await;
    known.has(1, 1).await;
    change(
        &server,
        json!({"localClusterAuthEndpoint": {"enabled": false}}),
    )
    .await;
    known.has(0, 0).await;
}

#[tokio::test]
async fn a_cluster_that_is_deleted_knows_nobody_before_its_session_ends() {
    let (server, known) = with_endpoint().await;
    narrow(&server, "local").await;
    known.has(1, 1).await;
    let params = DeleteParams::default();
    server.clusters().delete("c-1", &params).await.unwrap();
    known.has(0, 0).await;
    until(|| server.app.tunnels.is_empty()).await;
}

#[tokio::test]
async fn who_came_by_a_provider_that_is_disabled_is_not_known_to_the_cluster() {
    let (server, known) = with_endpoint().await;
    let configs: Api<AuthConfig> = Api::all(server.app.own.clone());
    let config = json!({"apiVersion": "management.cattle.io/v3", "kind": "AuthConfig",
        "metadata": {"name": "github"}, "type": "githubConfig", "enabled": true,
        "clientId": "id", "clientSecret": "secret"});
    let config = serde_json::from_value(config).unwrap();
    let made = configs.create(&PostParams::default(), &config).await;
    made.unwrap();
    narrow(&server, "github").await;
    known.has(1, 1).await;
    let disabled = Patch::Merge(json!({"enabled": false}));
    let params = PatchParams::default();
    configs.patch("github", &params, &disabled).await.unwrap();
    known.has(0, 0).await;
}

#[tokio::test]
async fn each_of_many_tokens_is_written_once() {
    const MANY: usize = 300;
    let (server, known) = with_endpoint().await;
    let made: Vec<_> = (0..MANY).map(|_| narrow(&server, "local")).collect();
    let names = futures::future::join_all(made).await;
    known.has(MANY, 1).await;
    assert_eq!(known.changes(), MANY + 1);
    // Nor does a change that is not the cluster's business write anything.
    let users: Api<User> = Api::all(server.app.own.clone());
    let renamed = Patch::Merge(json!({"description": "somebody"}));
    let params = PatchParams::default();
    users.patch("u-ann", &params, &renamed).await.unwrap();
    let tokens: Api<Token> = Api::all(server.app.own.clone());
    tokens
        .delete(&names[0], &DeleteParams::default())
        .await
        .unwrap();
    known.has(MANY - 1, 1).await;
    assert_eq!(known.changes(), MANY + 2);
}

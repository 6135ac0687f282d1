//! What the server's controllers do in a cluster, as far as people's own requests show it. What they make
//! there is tried in real clusters by `e2e-access`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod agents;

use agents::{Answer, Running, answer, mirror, within};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use kube::api::{Api, DeleteParams, PostParams};
use kube::core::ObjectMeta;
use lariat_api::{
    ClusterRoleTemplateBinding, Principal, PrincipalType, Principals, Project, Subject, User,
    UserAttribute,
};
use lariat_server::tokens::{self, NewToken};

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
    let bindings: Api<ClusterRoleTemplateBinding> = Api::namespaced(server.app.own.clone(), "c-1");
    let bind = async |name: &str, subject: Subject| {
        let binding = ClusterRoleTemplateBinding {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            subject,
            role_template_name: "cluster-member".to_owned(),
            ..ClusterRoleTemplateBinding::default()
        };
        let made = bindings.create(&PostParams::default(), &binding).await;
        made.unwrap();
    };
    bind("own", Subject::user("u-ann")).await;
    assert_eq!(groups(&server, &token).await, Some(Vec::new()));
    let subject = Subject {
        group_principal_name: BOUND.to_owned(),
        ..Subject::default()
    };
    bind("of-group", subject).await;
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
    let deleted = bindings.delete("of-group", &DeleteParams::default()).await;
    deleted.unwrap();
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

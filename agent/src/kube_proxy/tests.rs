use super::*;
use crate::{config::Config, traces::begin};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use telemetry::Traces;
use tokio::net::{TcpListener, TcpStream};

const POLICY: &str = r#"
impersonate: {users: ["u-*"], groups: ["*"]}
access: readWrite
namespaces: ["*"]
"#;

/// Serves HTTP/1.1 on a port of its own; returns its address.
async fn serve<F, Fut, B>(each: F) -> String
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let each = each.clone();
            let service = service_fn(move |request| {
                let answer = each(request);
                async { Ok::<_, Infallible>(answer.await) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(tcp), service));
        }
    });
    address
}

/// Sends a request through the agent's proxy. The status of the answer, and what the API server saw.
async fn ask(headers: &[(&str, &str)]) -> (StatusCode, Vec<http::HeaderMap>) {
    ask_traced(headers, Traces::off()).await
}

async fn ask_traced(
    headers: &[(&str, &str)],
    traces: Traces,
) -> (StatusCode, Vec<http::HeaderMap>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let api = serve(move |request| {
        sees.lock().unwrap().push(request.headers().clone());
        async { Response::new(Empty::<Bytes>::new()) }
    })
    .await;
    let config = kube::Config::new(format!("http://{api}").parse().unwrap());
    let forwarder = Forwarder::new(&config).unwrap();
    let agent = serve(move |request| {
        let (forwarder, span) = (forwarder.clone(), begin(&traces, &request));
        async move {
            let policy = Policy::parse(POLICY, "cattle-system").unwrap();
            let tasks = TaskTracker::new();
            forwarder.forward(request, &policy, &tasks, &span).await
        }
    })
    .await;
    let tcp = TcpStream::connect(&agent).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = Request::get("/api/v1/secrets").header("host", &agent);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let status = sender.send_request(request).await.unwrap().status();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (status, seen)
}

#[tokio::test]
async fn a_connection_header_takes_no_identity_away() {
    let user = ("impersonate-user", "u-1");
    let (status, seen) = ask(&[user]).await;
    assert_eq!((status, seen.len()), (StatusCode::OK, 1));
    assert_eq!(seen[0]["impersonate-user"], "u-1");
    for named in [
        "Impersonate-User",
        "close, IMPERSONATE-USER",
        "Upgrade,impersonate-user",
    ] {
        let (status, seen) = ask(&[user, ("connection", named)]).await;
        assert_eq!((status, seen.len()), (StatusCode::FORBIDDEN, 0), "{named}");
    }
}

#[tokio::test]
async fn credentials_that_come_with_a_request_stay_here() {
    let headers = [
        ("impersonate-user", "u-1"),
        ("authorization", "Bearer other"),
        ("X-Remote-User", "system:admin"),
        ("x-remote-group", "system:masters"),
        ("X-REMOTE-EXTRA-SCOPES", "all"),
    ];
    let (status, seen) = ask(&headers).await;
    assert_eq!((status, seen.len()), (StatusCode::OK, 1));
    for name in [
        "authorization",
        "x-remote-user",
        "x-remote-group",
        "x-remote-extra-scopes",
    ] {
        assert!(!seen[0].contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn the_api_server_sees_a_part_of_the_server_s_trace() {
    let user = ("impersonate-user", "u-1");
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let came = format!("00-{trace}-{parent}-01");
    let headers = [user, ("traceparent", came.as_str()), ("tracestate", "a=1")];
    let (_, seen) = ask(&headers).await;
    assert_eq!(seen[0]["traceparent"], came.as_str(), "nothing is traced");
    // Nobody listens there, and nothing is sent.
    let args = [
        "agent",
        "--server",
        "https://a",
        "--otlp-endpoint",
        "http://127.0.0.1:1",
    ];
    let config = Config::from_args(args.map(std::ffi::OsString::from))
        .ok()
        .unwrap();
    let (traces, exporter) = Traces::start(&config.traces.unwrap()).unwrap();
    let (status, seen) = ask_traced(&headers, traces).await;
    assert_eq!((status, seen.len()), (StatusCode::OK, 1));
    let sent = seen[0]["traceparent"].to_str().unwrap();
    assert!(
        sent.starts_with(&format!("00-{trace}-")) && sent.ends_with("-01"),
        "{sent}"
    );
    assert!(!sent.contains(parent), "{sent}");
    assert_eq!(seen[0]["tracestate"], "a=1");
    drop(exporter);
}

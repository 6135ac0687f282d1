//! What a hostile client sends is answered soon, without much memory, and with the right code.

use crate::harness::{APPLY, JSON, MERGE_PATCH, TestServer, kinds, message, request, user};
use apiserver::registry::Resource;
use apiserver::serve::User;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use store::Revision;

const THINGS: &str = "/apis/example.org/v1/namespaces/default/things";
const YAML: &str = "application/yaml";
const JSON_PATCH: &str = "application/json-patch+json";

/// Longest that a processor may work on a request, in a build without optimisation.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most memory that the whole test may ever have used, in KiB.
const MEMORY: u64 = 1536 * 1024;

fn things() -> Resource {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer", "minimum": 0},
            "numbers": {"type": "array", "items": {"type": "integer"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "object", "additionalProperties": {"type": "array",
                "items": {"type": "object", "properties": {"a": {"type": "string"}}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
    }});
    kinds::kind("Thing", kinds::version(&schema))
}

impl TestServer {
    async fn make_thing(&self, name: &str) {
        self.make(THINGS, thing(name, &json!({}))).await;
    }

    /// Makes three things. Returns the list of the first of them.
    async fn page_of_three(&self) -> Value {
        for at in 0..3 {
            self.make_thing(&format!("a{at}")).await;
        }
        let path = format!("{THINGS}?limit=1");
        let (_, page) = self.ask("GET", &path, Value::Null).await;
        page
    }
}

/// Status and body of the answer, which must come soon.
async fn ask(
    server: &TestServer,
    method: &str,
    path: &str,
    kind: &str,
    body: String,
) -> (u16, Value) {
    let (code, body) = send(server, method, path, [kind, JSON], body).await;
    (code, serde_json::from_slice(&body).unwrap())
}

async fn send(
    server: &TestServer,
    method: &str,
    path: &str,
    types: [&str; 2],
    body: String,
) -> (u16, Bytes) {
    let request = request(method, path, types, body);
    let started = worked();
    let answer = server.api.answer(user("somebody", &[]), request).await;
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let took = worked() - started;
    assert!(took < PATIENCE, "{method} {path:.80} took {took:?}");
    (code, body)
}

async fn create(server: &TestServer, body: &Value) -> (u16, Value) {
    ask(server, "POST", THINGS, JSON, body.to_string()).await
}

fn thing(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec})
}

fn text(name: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion":"example.org/v1","kind":"Thing","metadata":{{"name":"{name}"}},"spec":{spec}}}"#
    )
}

fn nested(levels: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
}

/// How long a processor has worked for this thread. What else the machine does has no part in it.
fn worked() -> Duration {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = spent.split(' ').next().unwrap().parse();
    Duration::from_nanos(nanoseconds.unwrap())
}

fn assert_memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().trim_end_matches(" kB");
    let peak: u64 = peak.parse().unwrap();
    assert!(peak < MEMORY, "{peak} KiB were used");
}

/// On three quarters of the stack of the threads that do this work in the servers.
#[test]
fn what_nests_deep_is_refused_however_it_comes() {
    let asking = || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(ask_for_what_nests_deep());
    };
    let small = std::thread::Builder::new().stack_size(3 << 19);
    small.spawn(asking).unwrap().join().unwrap();
}

async fn ask_for_what_nests_deep() {
    let server = TestServer::start([things()]);
    let free = |levels: usize| format!(r#"{{"free":{}}}"#, nested(levels));
    for levels in [99, 110, 125, 130, 1000, 500_000] {
        let (code, answer) = ask(&server, "POST", THINGS, JSON, text("a", &free(levels))).await;
        assert_eq!(code, 400, "{levels}: {answer}");
        let (code, answer) = ask(&server, "POST", THINGS, YAML, text("a", &free(levels))).await;
        assert_eq!(code, 400, "{levels}: {answer}");
    }
    let (_, answer) = ask(&server, "POST", THINGS, JSON, text("a", &free(99))).await;
    let expected = "the object nests deeper than 100 levels, which is the most that is taken";
    assert_eq!(message(&answer), expected);
    // What is taken can be read, applied, and sent back with all that was recorded of it.
    let path = format!("{THINGS}/deep?fieldManager=me");
    let (code, answer) = ask(&server, "PATCH", &path, APPLY, text("deep", &free(98))).await;
    assert_eq!(code, 201, "{answer}");
    let (code, answer) = ask(&server, "PUT", &path, JSON, answer.to_string()).await;
    assert_eq!(code, 200, "{answer}");
    for wanted in [YAML, "application/json;as=Table;v=v1;g=meta.k8s.io"] {
        let (code, _) = send(&server, "GET", &path, [JSON, wanted], String::new()).await;
        assert_eq!(code, 200, "{wanted}");
    }
    // YAML proper, and not JSON in its name.
    let yaml = |levels: usize| {
        let nested = format!("{}1{}", "{a: ".repeat(levels), "}".repeat(levels));
        format!(
            "kind: Thing\napiVersion: example.org/v1\nmetadata: {{name: deep-yaml}}\nspec: {{free: {nested}}}"
        )
    };
    let (code, answer) = ask(&server, "POST", THINGS, YAML, yaml(46)).await;
    assert_eq!(code, 201, "{answer}");
    for levels in [47, 120, 500_000] {
        let (code, answer) = ask(&server, "POST", THINGS, YAML, yaml(levels)).await;
        assert_eq!(code, 400, "{answer}");
    }
    let patch = json!({"spec": {"free": serde_json::from_str::<Value>(&nested(99)).unwrap()}});
    let (code, answer) = ask(&server, "PATCH", &path, MERGE_PATCH, patch.to_string()).await;
    assert_eq!((code, message(&answer)), (400, expected));
    assert_memory();
}

#[tokio::test]
async fn copies_neither_nest_nor_double_an_object_without_end() {
    let server = TestServer::start([things()]);
    server.make_thing("a").await;
    let path = format!("{THINGS}/a");
    let patch = async |operations: Vec<Value>| {
        let patch = Value::from(operations).to_string();
        let (code, answer) = ask(&server, "PATCH", &path, JSON_PATCH, patch).await;
        (code, message(&answer).to_owned())
    };
    let first = json!({"op": "add", "path": "/spec/free", "value": {}});
    let mut deeper = vec![first.clone()];
    // Each puts all that there is below what nests deepest.
    for doubled in 1..10 {
        let place = "/free".repeat(1 << doubled);
        deeper.push(json!({"op": "copy", "from": "/spec", "path": format!("/spec{place}")}));
    }
    let expected = "the object nests deeper than 100 levels, which is the most that is taken";
    assert_eq!(patch(deeper).await, (400, expected.into()));
    let mut wider = vec![first];
    for doubled in 0..40 {
        let place = format!("/spec/free/{doubled}");
        wider.push(json!({"op": "copy", "from": "/spec", "path": place}));
    }
    let expected = "unable to copy: the copies of the patch make more than 3145728 bytes";
    assert_eq!(patch(wider).await, (422, expected.into()));
    assert_memory();
}

#[tokio::test]
async fn very_much_of_something_takes_bounded_time() {
    let server = TestServer::start([things()]);
    let labels = |prefix: &str| -> Value {
        let labels = (0..100_000).map(|at| (format!("{prefix}{at}"), Value::from("")));
        labels.collect::<serde_json::Map<_, _>>().into()
    };
    let mut many = thing("many", &json!({}));
    many["metadata"]["labels"] = labels("l");
    // More than the store takes, with what is recorded of them.
    let (code, answer) = create(&server, &many).await;
    assert_eq!(
        (code, &answer["reason"]),
        (413, &json!("RequestEntityTooLarge")),
        "{answer:.200}"
    );
    let path = format!("{THINGS}/many?fieldManager=me");
    let (code, answer) = ask(&server, "PATCH", &path, APPLY, many.to_string()).await;
    assert_eq!(code, 413, "{answer:.200}");
    many["metadata"]["labels"] = labels("-");
    let (code, answer) = create(&server, &many).await;
    assert_eq!(code, 422);
    assert!(answer["details"]["causes"].as_array().unwrap().len() <= 1000);
    let long = "n".repeat(1_000_000);
    for (spec, expected) in [
        // One error for each of very many items, below a very long name.
        (
            format!(r#"{{"map":{{"{long}":[{}1]}}}}"#, "1,".repeat(125_000)),
            422,
        ),
        (
            format!(
                r#"{{"map":{{"{long}":[{}{{}}]}}}}"#,
                "{\"b\":1},".repeat(50_000)
            ),
            413,
        ),
        (
            format!(r#"{{"numbers":[{}1]}}"#, "1.5,".repeat(175_000)),
            422,
        ),
        (
            format!(r#"{{"set":[{}"y"]}}"#, "\"x\",\"x\",".repeat(75_000)),
            422,
        ),
        (
            format!(r#"{{{}"size":1}}"#, r#""size":1,"#.repeat(50_000)),
            201,
        ),
        (
            format!(
                r#"{{{}"size":1}}"#,
                format!(r#""{}":1,"#, &long[..100]).repeat(20_000)
            ),
            201,
        ),
    ] {
        let name = format!("x{}", spec.len());
        let (code, answer) = ask(&server, "POST", THINGS, JSON, text(&name, &spec)).await;
        assert_eq!(
            code,
            expected,
            "{spec:.100}: {}",
            &answer.to_string()[..200]
        );
        let strict = format!("{THINGS}?fieldValidation=Strict&dryRun=All");
        ask(&server, "POST", &strict, JSON, text(&name, &spec)).await;
    }
    let full = text(
        "full",
        &format!(r#"{{"free":{{"a":"{}"}}}}"#, "x".repeat(3 * 1024 * 1024)),
    );
    let (code, answer) = ask(&server, "POST", THINGS, JSON, full).await;
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Request entity too large: limit is 3145728",
        "reason": "RequestEntityTooLarge", "code": 413,
    });
    assert_eq!((code, answer), (413, expected));
    assert_memory();
}

#[tokio::test]
async fn numbers_that_are_none_are_refused() {
    let server = TestServer::start([things()]);
    for (spec, expected) in [
        (r#"{"size":1e400}"#, 400),
        (r#"{"free":{"a":-1e400}}"#, 400),
        (r#"{"size":99999999999999999999}"#, 422),
        (r#"{"size":18446744073709551616}"#, 422),
        (r#"{"size":-9223372036854775809}"#, 422),
        (r#"{"size":1.5}"#, 422),
        (r#"{"size":NaN}"#, 400),
        (r#"{"size":01}"#, 400),
        (r#"{"size":9223372036854775807}"#, 201),
    ] {
        let name = format!("n{}", spec.len());
        let (code, answer) = ask(&server, "POST", THINGS, JSON, text(&name, spec)).await;
        assert_eq!(code, expected, "{spec}: {answer}");
    }
    let digits = text(
        "digits",
        &format!(r#"{{"size":{}}}"#, "9".repeat(2_000_000)),
    );
    let (code, answer) = ask(&server, "POST", THINGS, JSON, digits).await;
    assert!(code == 400 || code == 422, "{code} {answer:.200}");
    for spec in ["{size: .inf}", "{free: {a: .nan}}"] {
        let (code, answer) = ask(&server, "POST", THINGS, YAML, text("n", spec)).await;
        assert_eq!(code, 400, "{spec}: {answer}");
    }
}

#[tokio::test]
async fn selectors_and_tokens_from_elsewhere_are_refused() {
    let server = TestServer::start([things()]);
    let page = server.page_of_three().await;
    let token = page["metadata"]["continue"].as_str().unwrap();
    let other = THINGS.replace("default", "other");
    let elsewhere = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
    };
    let future =
        elsewhere(r#"{"v":"meta.k8s.io/v1","rv":9000000,"start":"example.org/things/default/a0"}"#);
    let upstream = elsewhere(r#"{"v":"meta.k8s.io/v1","rv":3,"start":"default/a0\u0000"}"#);
    let up =
        elsewhere(r#"{"v":"meta.k8s.io/v1","rv":3,"start":"example.org/things/default/../../x"}"#);
    for (path, expected) in [
        (format!("{THINGS}?limit=1&continue={token}"), 200),
        (format!("{other}?limit=1&continue={token}"), 400),
        (format!("{THINGS}?continue={future}"), 400),
        (format!("{THINGS}?continue={upstream}"), 400),
        (format!("{THINGS}?continue={up}"), 400),
        (format!("{THINGS}?continue={}", "A".repeat(60_000)), 400),
        (
            format!("{THINGS}?labelSelector={}", "a,".repeat(30_000)),
            400,
        ),
        (
            format!(
                "{THINGS}?fieldSelector={}",
                "metadata.name!=a,".repeat(3_000)
            ),
            400,
        ),
        (
            format!("{THINGS}?labelSelector=a+in+({})", "b,".repeat(20_000)),
            200,
        ),
    ] {
        let (code, answer) = ask(&server, "GET", &path, JSON, String::new()).await;
        assert_eq!(code, expected, "{path:.200}: {answer:.300}");
    }
}

#[tokio::test]
async fn an_expired_list_goes_on_with_the_token_of_the_refusal() {
    let server = TestServer::start([things()]);
    let page = server.page_of_three().await;
    let list = |page: &Value| {
        let token = page["metadata"]["continue"].as_str().unwrap();
        format!("{THINGS}?limit=1&continue={token}")
    };
    server.make_thing("a4").await;
    let (code, _) = ask(
        &server,
        "DELETE",
        &format!("{THINGS}/a1"),
        JSON,
        String::new(),
    )
    .await;
    assert_eq!(code, 200);
    let Revision(now) = server.store.revision().await.unwrap();
    server.store.compact(Revision(now)).await.unwrap();
    let (code, refused) = ask(&server, "GET", &list(&page), JSON, String::new()).await;
    assert_eq!(
        (code, &refused["reason"]),
        (410, &json!("Expired")),
        "{refused}"
    );
    let words = "The provided continue parameter is too old to display a consistent list result.";
    assert!(message(&refused).starts_with(words), "{refused}");
    assert!(message(&refused).contains("results in an inconsistent list"));
    // The rest as it is now, page by page.
    let mut names = Vec::new();
    let mut page = refused;
    while page["metadata"]["continue"] != "" {
        let (code, next) = ask(&server, "GET", &list(&page), JSON, String::new()).await;
        assert_eq!(code, 200, "{next}");
        names.push(next["items"][0]["metadata"]["name"].clone());
        page = next;
    }
    assert_eq!(names, ["a2", "a4"]);
    let exact = format!("{THINGS}?resourceVersion=1&resourceVersionMatch=Exact");
    let (code, answer) = ask(&server, "GET", &exact, JSON, String::new()).await;
    let expected = "The resourceVersion for the provided list is too old.";
    assert_eq!((code, message(&answer)), (410, expected));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_not_waited_for() {
    let server = TestServer::start([things()]);
    let endless = futures::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
    let request = Request::post(THINGS)
        .body(http_body_util::StreamBody::new(endless))
        .unwrap();
    let user = User::default();
    let answer = server.api.answer(user, request).await;
    assert_eq!(answer.status(), 408);
}

//! The oldest and the newest kubectl against a server of this library.

use crate::harness::loopback::Loopback;
use crate::harness::{OneToken, Setup, kinds, master, user};
use apiserver::rbac::Rbac;
use apiserver::review::{self, Tokens};
use apiserver::serve::Authorizer;
use jiff::Timestamp;
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use store::{Revision, Store, Txn};
use testbed::clients::Kubectl::{self, Newest, Oldest};

const BOTH: [Kubectl; 2] = [Oldest, Newest];

const WIDGET: &str = "
apiVersion: example.org/v1
kind: Widget
metadata: {name: a}
spec: {size: 3, parts: [{name: p, count: 1}], extra: {anything: 1}, maybe: null}
";

const WRONG: &str = "
apiVersion: example.org/v1
kind: Widget
metadata: {name: b}
spec: {colur: red}
";

/// Widgets and the kinds of Kubernetes, by the clock that kubectl has.
async fn serve() -> Loopback {
    let mut setup = Setup::of(kinds::all());
    setup.clock = Arc::new(Timestamp::now);
    setup.user = master();
    let server = setup.start();
    server.namespace("default", json!({})).await;
    Loopback::listen(server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_explained() {
    let server = serve().await;
    for kubectl in BOTH {
        let said = server
            .prints(kubectl, &["explain", "wd.spec.size"], "")
            .await;
        assert!(said.contains("in millimetres"), "{said}");
        let all = ["explain", "widgets", "--recursive"];
        let said = server.prints(kubectl, &all, "").await;
        for field in ["colour", "count", "ownerReferences", "ready"] {
            assert!(said.contains(field), "{field}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_named_before_anything_is_written() {
    let server = serve().await;
    for kubectl in BOTH {
        let said = server
            .complains(kubectl, &["apply", "-f", "-"], WRONG)
            .await;
        assert!(
            said.contains("unknown field") && said.contains("colur"),
            "{said}"
        );
        let quiet = ["apply", "-f", "-", "--validate=false", "--dry-run=server"];
        server.prints(kubectl, &quiet, WRONG).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_applied_and_applied_again() {
    for kubectl in BOTH {
        let server = serve().await;
        let apply = ["apply", "-f", "-"];
        let said = server.prints(kubectl, &apply, WIDGET).await;
        assert_eq!(said, "widget.example.org/a created\n");
        let said = server.prints(kubectl, &apply, WIDGET).await;
        assert_eq!(said, "widget.example.org/a unchanged\n");
        let larger = WIDGET.replace("size: 3", "size: 4, colour: red");
        let said = server.prints(kubectl, &apply, &larger).await;
        assert_eq!(said, "widget.example.org/a configured\n");
        let path = [
            "get",
            "wd",
            "a",
            "-o",
            "jsonpath={.spec.size} {.spec.colour}",
        ];
        assert_eq!(server.prints(kubectl, &path, "").await, "4 red");
        server.prints(kubectl, &apply, WIDGET).await;
        assert_eq!(server.prints(kubectl, &path, "").await, "3 ");
        let patch = [
            "patch",
            "wd",
            "a",
            "--type=merge",
            "-p",
            r#"{"spec":{"size":9}}"#,
        ];
        server.prints(kubectl, &patch, "").await;
        let said = server.prints(kubectl, &["get", "wd"], "").await;
        let row: Vec<_> = said.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(row[..2], ["a", "9"]);
        let by_server = ["apply", "--server-side", "-f", "-"];
        let said = server.complains(kubectl, &by_server, &larger).await;
        assert!(said.contains(".spec.size"), "{said}");
        let by_force = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        let said = server.prints(kubectl, &by_force, &larger).await;
        assert_eq!(said, "widget.example.org/a serverside-applied\n");
        assert_eq!(server.prints(kubectl, &path, "").await, "4 red");
        server.prints(kubectl, &["delete", "wd", "a"], "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_kubernetes_are_created_by_commands_of_their_own() {
    for kubectl in BOTH {
        let server = serve().await;
        for (command, created) in [
            ("namespace n", "namespace/n"),
            ("configmap c --from-literal=a=b", "configmap/c"),
            ("secret generic s --from-literal=a=b", "secret/s"),
            ("serviceaccount a", "serviceaccount/a"),
            (
                "role r --verb=get,list --resource=configmaps --resource-name=c",
                "role.rbac.authorization.k8s.io/r",
            ),
            (
                "rolebinding r --role=r --serviceaccount=default:a --user=u",
                "rolebinding.rbac.authorization.k8s.io/r",
            ),
            (
                "clusterrole r --verb=get --non-resource-url=/version",
                "clusterrole.rbac.authorization.k8s.io/r",
            ),
            (
                "clusterrolebinding r --clusterrole=r --group=g",
                "clusterrolebinding.rbac.authorization.k8s.io/r",
            ),
        ] {
            let arguments: Vec<_> = ["create"].into_iter().chain(command.split(' ')).collect();
            let said = server.prints(kubectl, &arguments, "").await;
            assert_eq!(said, format!("{created} created\n"));
            let said = server.complains(kubectl, &arguments, "").await;
            assert!(said.contains("already exists"), "{said}");
        }
        for (object, path, value) in [
            ("secret/s", "{.data.a} {.type}", "Yg== Opaque"),
            ("configmap/c", "{.data.a} {.binaryData}", "b "),
            (
                "role/r",
                "{.rules[0].verbs} {.rules[0].apiGroups} {.rules[0].resourceNames}",
                r#"["get","list"] [""] ["c"]"#,
            ),
            (
                "rolebinding/r",
                "{.roleRef.kind} {.roleRef.name} {.subjects[*].name}",
                "Role r u a",
            ),
        ] {
            let path = format!("jsonpath={path}");
            let get = ["get", object, "-o", &path];
            assert_eq!(server.prints(kubectl, &get, "").await, value);
        }
        let get = ["get", "cm", "c", "-o", "yaml"];
        let said = server.prints(kubectl, &get, "").await;
        let changed = said.replace("a: b", "a: e");
        server
            .prints(kubectl, &["replace", "-f", "-"], &changed)
            .await;
        let reconcile = ["auth", "reconcile", "-f", "-"];
        let said = server.prints(kubectl, &reconcile, MORE_ROLE).await;
        assert!(
            said.contains("role.rbac.authorization.k8s.io/r reconciled"),
            "{said}"
        );
        let get_role = ["get", "role", "r", "-o", "jsonpath={.rules[*].verbs}"];
        let said = server.prints(kubectl, &get_role, "").await;
        assert_eq!(said, r#"["get","list"] ["delete"]"#);
        // Nobody is anybody by the token of a service account here.
        if kubectl == Newest {
            let said = server
                .complains(kubectl, &["create", "token", "a"], "")
                .await;
            assert!(
                said.contains("could not find the requested resource"),
                "{said}"
            );
        }
        let delete = ["delete", "cm/c", "sa/a", "role/r"];
        server.prints(kubectl, &delete, "").await;
        let said = server.complains(kubectl, &get, "").await;
        assert!(said.contains("NotFound"), "{said}");
    }
}

const ACCOUNT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: a}
secrets: [{name: one}, {name: two}]
";

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: b, c: d}
";

const ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r}
rules: [{verbs: [get], nonResourceURLs: [/x]}]
";

const MORE_ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r, namespace: default}
rules: [{verbs: [delete], apiGroups: [''], resources: [secrets]}]
";

#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_kubernetes_are_applied_and_shown() {
    for kubectl in BOTH {
        let server = serve().await;
        let apply = ["apply", "-f", "-"];
        server.prints(kubectl, &apply, ACCOUNT).await;
        let other = ACCOUNT
            .replace("{name: one}, ", "")
            .replace("{name: two}", "{name: two}, {name: three}");
        let said = server.prints(kubectl, &apply, &other).await;
        assert_eq!(said, "serviceaccount/a configured\n");
        let names = ["get", "sa", "a", "-o", "jsonpath={.secrets[*].name}"];
        assert_eq!(server.prints(kubectl, &names, "").await, "two three");
        let patch = ["patch", "sa", "a", "-p", r#"{"secrets":[{"name":"four"}]}"#];
        server.prints(kubectl, &patch, "").await;
        assert_eq!(server.prints(kubectl, &names, "").await, "four two three");
        let widgets = ["patch", "wd", "a", "--type=strategic", "-p", "{}"];
        server.prints(kubectl, &apply, WIDGET).await;
        let said = server.complains(kubectl, &widgets, "").await;
        assert!(said.contains("unknown format"), "{said}");
        server.prints(kubectl, &["create", "-f", "-"], SECRET).await;
        let said = server.prints(kubectl, &["get", "secrets"], "").await;
        let row: Vec<_> = said.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(row[..3], ["s", "Opaque", "2"]);
        let said = server.complains(kubectl, &apply, ROLE).await;
        assert!(said.contains("namespaced rules cannot apply"), "{said}");
        let said = server
            .prints(kubectl, &["explain", "clusterrole.rules"], "")
            .await;
        assert!(said.contains("PolicyRule"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_changes_an_object() {
    let server = serve().await;
    server.prints(Newest, &["create", "-f", "-"], WIDGET).await;
    for (kubectl, from, to) in [(Oldest, 3, 5), (Newest, 5, 6)] {
        let mut edit = server.kubectl(kubectl, &["edit", "wd", "a"]);
        edit.env(
            "KUBE_EDITOR",
            format!("sed -i 's/size: {from}/size: {to}/'"),
        );
        let output = tokio::task::spawn_blocking(move || edit.output().unwrap());
        let output = output.await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said, "widget.example.org/a edited\n", "{output:?}");
    }
}

/// What Ann may do, as the store has it.
async fn roles_of_ann(store: &dyn Store) -> Rbac {
    let rules = json!([
        {"verbs": ["get", "list"], "apiGroups": ["example.org"], "resources": ["widgets"]},
        {"verbs": ["get"], "nonResourceURLs": ["/apis/*"]}]);
    let binding = json!({
        "roleRef": {"kind": "ClusterRole", "name": "reader"},
        "subjects": [{"kind": "User", "name": "ann"}]});
    for (plural, object) in [
        ("clusterroles", json!({"rules": rules})),
        ("clusterrolebindings", binding),
    ] {
        let key = format!("/registry/rbac.authorization.k8s.io/{plural}/reader");
        let txn = Txn::put_if(key, Revision::ZERO, object.to_string());
        store.txn(txn).await.unwrap();
    }
    Rbac::load(store).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_learn_what_they_may() {
    let mut setup = Setup::of([kinds::widgets()]);
    let roles = roles_of_ann(&*setup.store).await;
    let authorizer: Arc<dyn Authorizer> = Arc::new(roles);
    let tokens: Arc<dyn Tokens> = Arc::new(OneToken);
    setup.add(review::resources(&authorizer, &tokens));
    setup.clock = Arc::new(Timestamp::now);
    setup.user = user("ann", &[]);
    let server = Loopback::listen(setup.start()).await;
    for kubectl in BOTH {
        for (arguments, answer) in [
            ("list widgets", "yes"),
            ("get widgets/a -n default", "yes"),
            ("delete widgets", "no"),
            ("get /apis/example.org", "yes"),
            ("get /metrics", "no"),
        ] {
            let arguments = ["auth", "can-i"].into_iter().chain(arguments.split(' '));
            let arguments: Vec<_> = arguments.collect();
            let output = server.run(kubectl, &arguments, "").await;
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                said.lines().next(),
                Some(answer),
                "{arguments:?} {output:?}"
            );
        }
        let said = server
            .prints(kubectl, &["auth", "can-i", "--list"], "")
            .await;
        let rows = said
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let rows: Vec<_> = rows.map(|row| row.join(" ")).collect();
        assert!(
            rows.contains(&"widgets.example.org [] [] [get list]".into()),
            "{said}"
        );
        assert!(rows.contains(&"[/apis/*] [] [get]".into()), "{said}");
        let said = server
            .prints(kubectl, &["explain", "selfsubjectaccessreview.spec"], "")
            .await;
        assert!(said.contains("resourceAttributes"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_of_changes() {
    let server = serve().await;
    server.prints(Newest, &["create", "-f", "-"], WIDGET).await;
    for (kubectl, size) in [(Oldest, "7"), (Newest, "8")] {
        let mut watch = server.kubectl(kubectl, &["get", "wd", "--watch", "--no-headers"]);
        let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(watch.stdout.take().unwrap());
        let (lines, mut rows) = tokio::sync::mpsc::channel(16);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if lines.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        let patience = Duration::from_secs(30);
        let first = tokio::time::timeout(patience, rows.recv()).await.unwrap();
        assert!(first.unwrap().starts_with("a "));
        let patch = format!(r#"{{"spec":{{"size":{size}}}}}"#);
        let patch = ["patch", "wd", "a", "--type=merge", "-p", &patch];
        server.prints(kubectl, &patch, "").await;
        let second = tokio::time::timeout(patience, rows.recv()).await.unwrap();
        let second = second.unwrap();
        assert_eq!(second.split_whitespace().nth(1), Some(size), "{second}");
        watch.kill().unwrap();
        watch.wait().unwrap();
    }
}

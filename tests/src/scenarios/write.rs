//! Changing objects, one by one and by applying.

use crate::table::{Invocation, Scenario, kubectl};

pub(super) fn objects() -> Scenario {
    let data = "get configmap settings -o jsonpath={.data}";
    let labels = "get configmap settings -o jsonpath={.metadata.labels}";
    Scenario {
        name: "write",
        prepare: vec![Invocation::new("create configmap settings --from-literal=colour=blue")],
        steps: vec![
            kubectl("create configmap other --from-literal=a=b").effect("get configmap other -o jsonpath={.data}"),
            kubectl("create configmap other --from-literal=a=b").exits(1),
            kubectl("create secret generic word --from-literal=a=b -o yaml"),
            kubectl("create serviceaccount robot").effect("get serviceaccount robot -o name"),
            kubectl("create token robot").since(24),
            kubectl("create role reader --verb=get,list --resource=pods").effect("get role reader -o jsonpath={.rules}"),
            kubectl("create rolebinding readers --role=reader --serviceaccount={ns}:robot"),
            kubectl("create quota small --hard=configmaps=20").effect("get quota small -o jsonpath={.spec}"),
            kubectl("create deployment dry --image=lariat.test/none:1 --dry-run=client -o yaml"),
            kubectl("create deployment dry --image=lariat.test/none:1 --dry-run=server -o yaml").effect("get deployments -o name"),
            kubectl("create -f -").stdin("{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"generateName\": \"made-\"}}"),
            kubectl("create -f -").stdin("{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"No Good\"}}").exits(1),
            kubectl("create -f -").stdin("not: [yaml").exits(1),
            kubectl("patch configmap settings -p '{\"data\": {\"colour\": \"red\"}}'").effect(data),
            kubectl("patch configmap settings --type=merge -p '{\"data\": {\"shape\": \"round\"}}'").effect(data),
            kubectl("patch configmap settings --type=json -p '[{\"op\": \"remove\", \"path\": \"/data/shape\"}]'").effect(data),
            kubectl("patch configmap settings --type=json -p '[{\"op\": \"remove\", \"path\": \"/data/none\"}]'").exits(1),
            kubectl("edit configmap settings").env("KUBE_EDITOR", "sed -i s/red/green/").effect(data),
            kubectl("edit configmap settings").env("KUBE_EDITOR", "true"),
            kubectl("label configmap settings tier=one").effect(labels),
            kubectl("label configmap settings tier=two").exits(1),
            kubectl("label configmap settings tier=two --overwrite").effect(labels),
            kubectl("label configmap settings tier-").effect(labels),
            kubectl("annotate configmap settings note='a b c'").effect("get configmap settings -o jsonpath={.metadata.annotations}"),
            kubectl("replace -f -").stdin("{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"settings\"}, \"data\": {\"all\": \"new\"}}").effect(data),
            kubectl("replace -f -").stdin("{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"none\"}}").exits(1),
            kubectl("delete configmap other").effect("get configmaps -o name"),
            kubectl("delete configmap other").exits(1),
            kubectl("delete configmap other --ignore-not-found"),
            kubectl("delete secret word --dry-run=server").effect("get secret word -o name"),
            kubectl("delete role,rolebinding --all").effect("get roles,rolebindings -o name"),
        ],
    }
}

const FIRST: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied", "labels": {"v": "1"}}, "data": {"a": "1", "b": "1"}}"#;
const SECOND: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied", "labels": {"v": "2"}}, "data": {"a": "2"}}"#;
const SERVER: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "served"}, "data": {"a": "1"}}"#;
const OTHERS: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "served"}, "data": {"a": "2"}}"#;

pub(super) fn apply() -> Scenario {
    let applied = "get configmap applied -o jsonpath={.data}{.metadata.labels}";
    let served = "get configmap served -o yaml --show-managed-fields";
    Scenario {
        name: "apply",
        prepare: Vec::new(),
        steps: vec![
            kubectl("diff -f -").stdin(FIRST).exits(1),
            kubectl("apply -f -").stdin(FIRST).effect(applied),
            kubectl("apply -f -").stdin(FIRST),
            kubectl("diff -f -").stdin(FIRST),
            kubectl("apply -f - --dry-run=server -o yaml")
                .stdin(SECOND)
                .effect(applied),
            kubectl("apply -f - --dry-run=client").stdin(SECOND),
            kubectl("apply -f -").stdin(SECOND).effect(applied),
            kubectl("apply view-last-applied configmap applied"),
            kubectl("apply --server-side -f -")
                .stdin(SERVER)
                .effect(served),
            kubectl("apply --server-side --field-manager=another -f -")
                .stdin(OTHERS)
                .exits(1),
            kubectl("apply --server-side --field-manager=another --force-conflicts -f -")
                .stdin(OTHERS)
                .effect(served),
            kubectl("delete -f -")
                .stdin(SECOND)
                .effect("get configmaps -o name"),
        ],
    }
}

//! Reading objects and finding out what there is.

use super::shell_pod;
use crate::table::{Invocation, Scenario, Step, kubectl};

pub(super) fn objects() -> Scenario {
    let prepare = shell_pod().into_iter().chain([
        Invocation::new(
            "create configmap settings --from-literal=colour=blue --from-literal=size=10",
        ),
        Invocation::new("create secret generic password --from-literal=word=sesame"),
        Invocation::new("expose pod shell --port=80 --target-port=8080"),
    ]);
    Scenario {
        name: "read",
        prepare: prepare.collect(),
        steps: vec![
            kubectl("get pods"),
            kubectl("get pod shell -o wide"),
            kubectl("get pod shell -o yaml"),
            kubectl("get pod shell -o json"),
            kubectl("get pods -o name"),
            kubectl("get pods -o jsonpath='{range .items[*]}{.metadata.name}{\"\\n\"}{end}'"),
            kubectl(
                "get pods -o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[0].image",
            ),
            kubectl("get pods -o go-template='{{range .items}}{{.status.phase}}{{end}}'"),
            kubectl("get pods --show-labels"),
            kubectl("get pods --no-headers"),
            kubectl("get pods -l app=shell"),
            kubectl("get pods -l 'app in (nobody)'"),
            kubectl("get pods --field-selector=status.phase=Running"),
            kubectl("get configmaps --sort-by=.metadata.name"),
            kubectl("get configmap/settings secret/password"),
            kubectl("get configmap settings -o yaml --show-managed-fields").since(22),
            kubectl("get all"),
            kubectl("get services -o wide"),
            kubectl("get namespace {ns} -o yaml"),
            kubectl("get nodes -o name"),
            kubectl("get events -o name").sorted(),
            kubectl("get pod missing").exits(1),
            kubectl("get pod missing --ignore-not-found"),
            kubectl("get nosuchkind").exits(1),
            kubectl("get pods -o nosuchformat").exits(1),
            // Old kubectls show the data in any order.
            kubectl("describe configmap settings").sorted(),
            kubectl("describe secret password"),
            kubectl("describe service shell"),
            kubectl("describe pod shell --show-events=false").since(25),
            kubectl("describe namespace {ns}"),
            kubectl("describe pod missing").exits(1),
        ],
    }
}

pub(super) fn discovery() -> Scenario {
    let mut scenario = Scenario {
        name: "discover",
        prepare: Vec::new(),
        steps: vec![
            kubectl("api-resources").sorted(),
            kubectl("api-resources --namespaced=true --verbs=list -o name").sorted(),
            kubectl("api-resources --api-group=apps -o wide").sorted(),
            kubectl("api-versions"),
            kubectl("explain pod.spec.containers.resources"),
            kubectl("explain deployment.spec.strategy --recursive"),
            kubectl("explain nosuchkind").exits(1),
            kubectl("version"),
            kubectl("cluster-info"),
            kubectl("auth can-i create pods"),
            kubectl("auth can-i create nosuchverbs.nosuchgroup"),
            kubectl("auth can-i --list").sorted(),
            who_am_i(),
        ],
    };
    scenario.steps.extend(raw().into_iter().map(with_path));
    scenario
}

/// Old kubectls drop the path of the server's address from `--raw` (seen with 1.21, not with
/// 1.37): those are shown by server name.
pub(super) fn with_path(step: Step) -> Step {
    step.since(37)
}

/// Paths asked for as they are.
pub(super) fn raw() -> Vec<Step> {
    vec![
        kubectl("get --raw /version"),
        kubectl("get --raw /readyz?verbose").sorted(),
        kubectl("get --raw /livez"),
        kubectl("get --raw /api"),
        kubectl("get --raw /apis"),
        kubectl("get --raw /openapi/v3/apis/apps/v1"),
        kubectl("get --raw /openapi/v2"),
        kubectl("get --raw '/api/v1/namespaces?limit=1&fieldSelector=metadata.name%3Ddefault'"),
        kubectl("get --raw /api/v1/namespaces/{ns}/pods"),
        kubectl("get --raw /nosuchpath").exits(1),
        kubectl("get --raw /api/v1/namespaces/{ns}/configmaps/a%2Fb").exits(1),
    ]
}

/// Who one is differs by design; that there is an answer, and its form, does not.
fn who_am_i() -> Step {
    kubectl("auth whoami -o jsonpath={.kind}").since(28)
}

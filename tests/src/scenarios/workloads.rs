//! Deployments and jobs, and waiting for them.

use testbed::BUSYBOX;

use crate::table::{Invocation, Scenario, kubectl};

pub(super) fn deployment() -> Scenario {
    let manifest = format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "web"}},
            "spec": {{"replicas": 1, "selector": {{"matchLabels": {{"app": "web"}}}}, "template": {{
                "metadata": {{"labels": {{"app": "web"}}}},
                "spec": {{"terminationGracePeriodSeconds": 0, "containers": [{{"name": "web",
                    "image": "{BUSYBOX}", "imagePullPolicy": "Never", "command": ["sleep", "86400"]}}]}}}}}}}}"#
    );
    let job = format!("create job count --image={BUSYBOX} -- sh -c 'exit 0'");
    let replicas = "get deployment web -o jsonpath={.spec.replicas}";
    let environment = "get deployment web -o jsonpath={.spec.template.spec.containers[0].env}";
    Scenario {
        name: "work",
        prepare: Vec::<Invocation>::new(),
        steps: vec![
            kubectl("apply -f -").stdin(&manifest),
            kubectl("rollout status deployment/web --timeout=60s").last_line(),
            kubectl("wait --for=condition=Available deployment/web --timeout=60s"),
            kubectl("get deployments,replicasets"),
            kubectl("get pods -l app=web"),
            kubectl("describe deployment web --show-events=false").since(25),
            kubectl("scale deployment web --replicas=3").effect(replicas),
            kubectl("rollout status deployment/web --timeout=60s").last_line(),
            kubectl("scale deployment web --current-replicas=9 --replicas=1").exits(1),
            kubectl("scale deployment web --replicas=1").effect(replicas),
            kubectl("set env deployment/web COLOUR=blue").effect(environment),
            kubectl("rollout status deployment/web --timeout=60s").last_line(),
            kubectl("rollout history deployment/web"),
            kubectl("rollout undo deployment/web").effect(environment),
            kubectl("rollout status deployment/web --timeout=60s").last_line(),
            kubectl("rollout pause deployment/web").effect("get deployment web -o jsonpath={.spec.paused}"),
            kubectl("rollout resume deployment/web").effect("get deployment web -o jsonpath={.spec.paused}"),
            kubectl("rollout restart deployment/web"),
            kubectl("rollout status deployment/web --timeout=60s").last_line(),
            kubectl("set resources deployment web --limits=memory=64Mi").effect("get deployment web -o jsonpath={.spec.template.spec.containers[0].resources}"),
            kubectl("expose deployment web --port=80").effect("get service web -o jsonpath={.spec.selector}"),
            kubectl("create -f -").stdin("{\"apiVersion\": \"policy/v1\", \"kind\": \"PodDisruptionBudget\", \"metadata\": {\"name\": \"web\"}, \"spec\": {\"minAvailable\": 0, \"selector\": {\"matchLabels\": {\"app\": \"web\"}}}}"),
            kubectl(&job),
            kubectl("wait --for=condition=complete job/count --timeout=60s"),
            kubectl("get jobs"),
            kubectl("wait --for=condition=Ready pod/none --timeout=1s").exits(1),
            kubectl("delete deployment web"),
            kubectl("wait --for=delete pod -l app=web --timeout=60s").last_line().since(27),
            kubectl("get pods -l app=web"),
        ],
    }
}

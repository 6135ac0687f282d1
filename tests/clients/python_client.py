"""Uses a cluster through the Python client library and prints what it saw."""

import sys

from kubernetes import client, config, watch
from kubernetes.stream import stream

namespace = sys.argv[1]
config.load_kube_config()
core = client.CoreV1Api()

made = core.create_namespaced_config_map(
    namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="python"), data={"a": "1"})
)
print("made", made.metadata.name, made.data)

listed = core.list_namespaced_config_map(namespace, limit=1)
version = core.list_namespaced_config_map(namespace).metadata.resource_version
print("listed", len(listed.items))

core.patch_namespaced_config_map("python", namespace, {"data": {"b": "2"}})
core.delete_namespaced_config_map("python", namespace)
changes = watch.Watch().stream(
    core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=30
)
for change in changes:
    print("saw", change["type"], change["object"].metadata.name, change["object"].data)
    if change["type"] == "DELETED":
        break

print("logs", core.read_namespaced_pod_log("shell", namespace, tail_lines=2))

answer = stream(
    core.connect_get_namespaced_pod_exec,
    "shell",
    namespace,
    command=["sh", "-c", "echo from the pod; echo and an error >&2; exit 3"],
    stdout=True,
    stderr=True,
    _preload_content=False,
)
answer.run_forever(timeout=30)
print("exec", answer.read_stdout(), answer.read_stderr(), answer.returncode)

try:
    core.read_namespaced_config_map("none", namespace)
except client.ApiException as error:
    print("error", error.status, error.reason)

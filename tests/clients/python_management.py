"""Uses the management API through the Python client library: typed, custom and dynamic objects."""

import sys

from kubernetes import client, config, dynamic, watch

GROUP, VERSION, PLURAL = "management.cattle.io", "v3", "clusters"

config.load_kube_config()
core = client.CoreV1Api()
custom = client.CustomObjectsApi()


def expect(status, call, *arguments):
    try:
        call(*arguments)
    except client.ApiException as error:
        assert error.status == status, f"{error.status} where {status} was expected: {error.body}"
    else:
        sys.exit(f"no error where {status} was expected")


core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="python")))
body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="words"), data={"a": "1"})
made = core.create_namespaced_config_map("python", body)
expect(409, core.create_namespaced_config_map, "python", body)
core.patch_namespaced_config_map("words", "python", {"data": {"b": "2"}})
core.delete_namespaced_config_map("words", "python")
kinds = []
for change in watch.Watch().stream(
    core.list_namespaced_config_map,
    "python",
    resource_version=made.metadata.resource_version,
    timeout_seconds=30,
):
    kinds.append(change["type"])
    if change["type"] == "DELETED":
        break
assert kinds == ["MODIFIED", "DELETED"], kinds

cluster = {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "Cluster",
    "metadata": {"name": "from-python"},
    "spec": {"displayName": "from Python"},
}
custom.create_cluster_custom_object(GROUP, VERSION, PLURAL, cluster)
expect(409, custom.create_cluster_custom_object, GROUP, VERSION, PLURAL, cluster)
wrong = cluster | {"metadata": {"name": "wrong"}, "spec": {"displayName": 7}}
expect(422, custom.create_cluster_custom_object, GROUP, VERSION, PLURAL, wrong)
changed = custom.patch_cluster_custom_object(
    GROUP, VERSION, PLURAL, "from-python", {"spec": {"displayName": "changed"}}
)
assert changed["spec"]["displayName"] == "changed", changed
pages, token = [], None
while token != "":
    page = custom.list_cluster_custom_object(GROUP, VERSION, PLURAL, limit=1, _continue=token)
    pages += [item["metadata"]["name"] for item in page["items"]]
    token = page["metadata"].get("continue", "")
assert "from-python" in pages and len(pages) == len(set(pages)), pages
custom.delete_cluster_custom_object(GROUP, VERSION, PLURAL, "from-python")
expect(404, custom.get_cluster_custom_object, GROUP, VERSION, PLURAL, "from-python")

kinds = dynamic.DynamicClient(client.ApiClient())
settings = kinds.resources.get(api_version=f"{GROUP}/{VERSION}", kind="Setting")
listed = settings.get()
# What is no JSON comes as a string.
assert not isinstance(listed, str), repr(listed)
names = [item.metadata.name for item in listed.items]
applied = kinds.resources.get(api_version="v1", kind="ConfigMap").server_side_apply(
    body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": "1"}},
    name="applied",
    namespace="python",
    field_manager="python",
)
assert applied.metadata.managedFields[0].operation == "Apply", applied
core.delete_namespace("python")
print(f"config maps, {len(pages)} clusters in pages of one, {len(names)} settings, apply, errors")

# The first process of a node, in its own mount and process namespaces and its cluster's network.
# Arguments: image archives to import. Its end is the end of the node.
set -euo pipefail

mount --make-rprivate /
# Fixed paths that the kubelets of several clusters would otherwise share.
for folder in /run /var/lib/kubelet /var/lib/cni /var/log /etc/cni; do
  mkdir -p "$folder"
  mount -t tmpfs -o mode=755 tmpfs "$folder"
done
mkdir -p /run/netns /etc/cni/net.d
cp "$FOLDER/cni.conflist" /etc/cni/net.d/10-pods.conflist

# The control group under which the kubelet keeps its pods, in every hierarchy that there is.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p "/sys/fs/cgroup/$CONTROL_GROUP"
else
  for hierarchy in /sys/fs/cgroup/*/; do
    if mountpoint -q "$hierarchy"; then mkdir -p "$hierarchy$CONTROL_GROUP"; fi
  done
  for file in cpus mems; do
    cat "/sys/fs/cgroup/cpuset/cpuset.$file" > "/sys/fs/cgroup/cpuset/$CONTROL_GROUP/cpuset.$file"
  done
fi

rm -f "$SOCKET" "$SOCKET.ttrpc"
containerd --config "$FOLDER/containerd.toml" >> "$LOGS/containerd.log" 2>&1 &
for _ in $(seq 400); do
  if ctr --address "$SOCKET" version > /dev/null 2>&1; then break; fi
  sleep 0.05
done
for image in "$@"; do
  ctr --address "$SOCKET" --namespace k8s.io images import "$image"
done

"$KUBELET" --config="$FOLDER/kubelet.yaml" --kubeconfig="$KUBECONFIG" \
  --hostname-override="$NODE_NAME" --node-ip="$NODE_ADDRESS" >> "$LOGS/kubelet.log" 2>&1 &

# A node with half of its parts is no node: the end of either is the end of both.
wait -n
echo "containerd or the kubelet ended; see their logs in $LOGS"
exit 1

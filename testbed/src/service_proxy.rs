//! kube-proxy: makes the addresses of Services, the API server's among them, work for pods.

use crate::{Result, node::NODE_NAME, process::Process, site::Site};

pub(crate) fn start(site: &Site) -> Result<Process> {
    let config = site.write(
        "kube-proxy.yaml",
        &format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n\
             kind: KubeProxyConfiguration\n\
             mode: nftables\n\
             hostnameOverride: {NODE_NAME}\n\
             clusterCIDR: 10.244.0.0/16\n\
             clientConnection: {{kubeconfig: \"{}\"}}\n\
             conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}\n",
            site.pki.path("local-admin.kubeconfig").display(),
        ),
    )?;
    let mut proxy = site.program("kube-proxy")?;
    proxy.arg("--config").arg(config);
    site.start("kube-proxy", &proxy)
}

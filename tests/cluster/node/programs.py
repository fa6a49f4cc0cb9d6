"""The node's programs: their configuration files and command lines, in the order in which they start."""

import json
from pathlib import Path

from node import place

CONTAINERD = f'''version = 2
root = "{place.STATE}/ctr"
state = "{place.STATE}/ctr-run"
[grpc]
  address = "{place.CONTAINERD}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{place.STATE}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{place.PAUSE_IMAGE}"
  # Sandboxes ask for a negative oom_score_adj, which not every machine's root may set.
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{place.STATE}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
'''

CNI = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        # Hairpin: a pod reaches itself through its Service.
        {"type": "bridge", "bridge": "cni0", "isGateway": True, "isDefaultGateway": True, "hairpinMode": True,
         "ipam": {"type": "host-local", "dataDir": f"{place.STATE}/ipam", "ranges": [[{"subnet": place.PODS}]]}},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}

KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "containerRuntimeEndpoint": f"unix://{place.CONTAINERD}",
    "cgroupDriver": "cgroupfs",
    "failCgroupV1": False,
    "failSwapOn": False,
    "oomScoreAdj": 0,
    "maxOpenFiles": 20000,
    "clusterDNS": [place.DNS_IP],
    "clusterDomain": "cluster.local",
    "resolvConf": f"{place.STATE}/resolv.conf",
    "podLogsDir": f"{place.STATE}/pods",
    "volumePluginDir": f"{place.STATE}/volume-plugins",
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": f"{place.PKI}/ca.crt"},
    },
    "authorization": {"mode": "Webhook"},
    "tlsCertFile": f"{place.PKI}/kubelet-server.crt",
    "tlsPrivateKeyFile": f"{place.PKI}/kubelet-server.key",
    # The disk is shared with everything else on the machine: its filling up is not this node's business.
    "imageGCHighThresholdPercent": 100,
    "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
                     "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
    # Mounted Secrets and ConfigMaps follow their objects within seconds instead of a minute or two.
    "syncFrequency": "10s",
    "maxPods": 60,
}

# What ServiceAccounts ask for, and when roles are bound to them: the test of rights compares both.
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"], "resources": [
            {"group": "rbac.authorization.k8s.io", "resources": ["rolebindings", "clusterrolebindings"]}]},
        {"level": "None"},
    ],
}


def write_configuration() -> None:
    for directory in ("cni", "kubelet", "volume-plugins", "pods", "opt"):
        (place.STATE / directory).mkdir(exist_ok=True)
    (place.STATE / "containerd.toml").write_text(CONTAINERD)
    (place.STATE / "cni/pods.conflist").write_text(json.dumps(CNI))
    (place.STATE / "kubelet.yaml").write_text(json.dumps(KUBELET))
    (place.STATE / "audit.yaml").write_text(json.dumps(AUDIT))
    (place.STATE / "resolv.conf").write_text("")


def etcd(bin_: Path) -> list[str]:
    clients, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return [f"{bin_}/etcd", f"--data-dir={place.STATE}/etcd", "--log-level=warn",
            f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync"]


def apiserver(bin_: Path) -> list[str]:
    pki = place.PKI
    return [f"{bin_}/kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", f"--advertise-address={place.NODE_IP}",
            "--secure-port=6443", f"--service-cluster-ip-range={place.SERVICES}", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
            f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
            f"--audit-policy-file={place.STATE}/audit.yaml", f"--audit-log-path={place.STATE}/audit.log",
            "--profiling=false"]


def controller_manager(bin_: Path) -> list[str]:
    return [f"{bin_}/kube-controller-manager", f"--kubeconfig={place.PKI}/controller-manager.conf",
            f"--service-account-private-key-file={place.PKI}/sa.key", f"--root-ca-file={place.PKI}/ca.crt",
            "--use-service-account-credentials=true", f"--cluster-signing-cert-file={place.PKI}/ca.crt",
            f"--cluster-signing-key-file={place.PKI}/ca.key", "--allocate-node-cidrs=false", "--leader-elect=false",
            # A test stops the API server for a minute. The node must not be taken for dead when it comes back, before the
            # kubelet has said a word: that would take all pods out of their Services.
            "--node-monitor-grace-period=3m", "--profiling=false"]


def scheduler(bin_: Path) -> list[str]:
    return [f"{bin_}/kube-scheduler", f"--kubeconfig={place.PKI}/scheduler.conf", "--leader-elect=false",
            f"--authentication-kubeconfig={place.PKI}/scheduler.conf",
            f"--authorization-kubeconfig={place.PKI}/scheduler.conf", "--profiling=false"]


def kubelet(bin_: Path) -> list[str]:
    return [f"{bin_}/kubelet", f"--config={place.STATE}/kubelet.yaml", f"--kubeconfig={place.PKI}/kubelet.conf",
            f"--hostname-override={place.NODE_NAME}", f"--node-ip={place.NODE_IP}", f"--root-dir={place.STATE}/kubelet"]


def proxy(bin_: Path) -> list[str]:
    return [f"{bin_}/kube-proxy", f"--kubeconfig={place.PKI}/proxy.conf", f"--hostname-override={place.NODE_NAME}",
            "--proxy-mode=iptables", f"--cluster-cidr={place.PODS}", "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s", "--oom-score-adj=0"]


def containerd(_: Path) -> list[str]:
    return ["/usr/bin/containerd", f"--config={place.STATE}/containerd.toml", "--log-level=warn"]


COMMANDS = {
    "containerd": containerd,
    "etcd": etcd,
    "kube-apiserver": apiserver,
    "kube-controller-manager": controller_manager,
    "kube-scheduler": scheduler,
    "kubelet": kubelet,
    "kube-proxy": proxy,
}

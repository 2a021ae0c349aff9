"""A worker: containerd, kubelet and kube-proxy, which reach the API through the load balancer."""

from __future__ import annotations

import json

from pawl.lab.cloudinit import File, Files, Seed, kubeconfig

PAUSE = "pawl.lab/pause:1"

_CONTAINERD = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      NoNewKeyring = true
"""


def render(seed: Seed, files: Files) -> None:
    name, address = seed.machine.name, seed.address()
    pki = "/etc/kubernetes/pki"
    files[f"{pki}/ca.crt"] = File(seed.pki.ca("ca"))
    files.text("/etc/containerd/config.toml", _CONTAINERD)
    files.text("/etc/crictl.yaml", "runtime-endpoint: unix:///run/containerd/containerd.sock\n")
    files.text("/etc/cni/net.d/10-lab.conflist", json.dumps(_cni(seed), indent=1))
    node_user = f"system:node:{name}"
    files.text(
        "/etc/kubernetes/kubelet.kubeconfig",
        kubeconfig(
            seed.api,
            seed.pki.ca("ca"),
            seed.pki.pair(f"kubelet-{name}", "ca", node_user, organization="system:nodes"),
            node_user,
        ),
        0o600,
    )
    files.pair(
        f"{pki}/kubelet",
        seed.pki.pair(
            f"kubelet-serving-{name}", "ca", node_user, hosts=(name, address), client=False
        ),
    )
    files.text(
        "/etc/kubernetes/kube-proxy.kubeconfig",
        kubeconfig(
            seed.api,
            seed.pki.ca("ca"),
            seed.pki.pair("kube-proxy", "ca", "system:kube-proxy"),
            "system:kube-proxy",
        ),
        0o600,
    )
    files.text("/etc/kubernetes/kubelet.json", json.dumps(_kubelet(), indent=1))
    files.flags(
        seed,
        "kubelet",
        [
            "--config=/etc/kubernetes/kubelet.json",
            "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig",
            f"--hostname-override={name}",
            f"--node-ip={address}",
            f"--node-labels=pawl.dev/pool={seed.machine.pool}",
        ],
    )
    files.flags(
        seed,
        "kube-proxy",
        [
            "--kubeconfig=/etc/kubernetes/kube-proxy.kubeconfig",
            f"--hostname-override={name}",
            f"--cluster-cidr={seed.lab.network.pods}",
            "--proxy-mode=iptables",
            # The table of connections belongs to the host's kernel: leave its size alone.
            "--conntrack-max-per-core=0",
            "--healthz-bind-address=0.0.0.0:10256",
            f"--metrics-bind-address={address}:10249",
        ],
    )
    files.enable(
        "pawl-cgroups.service",
        "containerd.service",
        "pawl-containers.service",
        "kubelet.service",
        "kube-proxy.service",
    )


def _cni(seed: Seed) -> dict[str, object]:
    return {
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "subnet": str(seed.lab.network.node_pods(seed.machine.slot)),
                    "routes": [{"dst": "0.0.0.0/0"}],
                    # In /run, so that a power cut leaks no address.
                    "dataDir": "/run/cni",
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet() -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": "/etc/kubernetes/pki/kubelet.crt",
        "tlsPrivateKeyFile": "/etc/kubernetes/pki/kubelet.key",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "maxPods": 29,
        "resolvConf": "",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "10Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "nodeStatusUpdateFrequency": "5s",
        "shutdownGracePeriod": "0s",
    }

"""A control-plane machine: API server, controller-manager and scheduler, each its own unit.

Controller-manager and scheduler talk to the API server of their own machine only, so that a
machine is upgraded as one: they never speak to an API server older than themselves (skew policy).
"""

from __future__ import annotations

from pawl.lab.cloudinit import File, Files, Seed, kubeconfig

_PKI = "/etc/kubernetes/pki"

_AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    nonResourceURLs: ["/readyz*", "/livez*", "/healthz*"]
  - level: Metadata
"""


def render(seed: Seed, files: Files) -> None:
    _certificates(seed, files)
    _api_server(seed, files)
    own = f"https://{seed.address()}:6443"
    for component, user in (
        ("kube-controller-manager", "system:kube-controller-manager"),
        ("kube-scheduler", "system:kube-scheduler"),
    ):
        pair = seed.pki.pair(component, "ca", user)
        files.text(
            f"/etc/kubernetes/{component}.kubeconfig",
            kubeconfig(own, seed.pki.ca("ca"), pair, user),
            0o600,
        )
        files.pair(
            f"{_PKI}/{component}-serving",
            seed.pki.pair(
                f"{component}-serving-{seed.machine.name}",
                "ca",
                component,
                hosts=(seed.machine.name, seed.address(), "127.0.0.1", "localhost"),
                client=False,
            ),
        )
    _controller_manager(seed, files)
    _scheduler(seed, files)
    files.enable(
        "kube-apiserver.service", "kube-controller-manager.service", "kube-scheduler.service"
    )


def _certificates(seed: Seed, files: Files) -> None:
    pki, network = seed.pki, seed.lab.network
    for authority in ("ca", "etcd-ca", "front-proxy-ca"):
        files[f"{_PKI}/{authority}.crt"] = File(pki.ca(authority))
    # The controller-manager signs certificate requests of the cluster.
    files[f"{_PKI}/ca.key"] = File(pki.ca_key("ca"), 0o600)
    public, private = pki.service_account_key()
    files[f"{_PKI}/sa.pub"] = File(public)
    files[f"{_PKI}/sa.key"] = File(private, 0o600)
    hosts = (
        seed.machine.name,
        seed.address(),
        "lb",
        str(network.load_balancer),
        str(network.api_service),
        "127.0.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    )
    name = seed.machine.name
    files.pair(
        f"{_PKI}/apiserver",
        pki.pair(f"apiserver-{name}", "ca", "kube-apiserver", hosts=hosts, client=False),
    )
    files.pair(
        f"{_PKI}/apiserver-etcd-client",
        pki.pair("apiserver-etcd-client", "etcd-ca", "kube-apiserver-etcd-client"),
    )
    files.pair(
        f"{_PKI}/apiserver-kubelet-client",
        pki.pair("apiserver-kubelet-client", "ca", "kube-apiserver-kubelet-client"),
    )
    files.pair(
        f"{_PKI}/front-proxy-client",
        pki.pair("front-proxy-client", "front-proxy-ca", "front-proxy-client"),
    )


def _api_server(seed: Seed, files: Files) -> None:
    files.text("/etc/kubernetes/audit-policy.yaml", _AUDIT)
    if seed.lab.encryption:
        files.text("/etc/kubernetes/encryption.yaml", _encryption(seed), 0o600)
    etcd = [seed.machine] if seed.machine.stacked else seed.with_etcd()
    flags = [
        f"--advertise-address={seed.address()}",
        "--secure-port=6443",
        f"--etcd-servers={','.join(f'https://{seed.address(m)}:2379' for m in etcd)}",
        f"--etcd-cafile={_PKI}/etcd-ca.crt",
        f"--etcd-certfile={_PKI}/apiserver-etcd-client.crt",
        f"--etcd-keyfile={_PKI}/apiserver-etcd-client.key",
        f"--client-ca-file={_PKI}/ca.crt",
        f"--tls-cert-file={_PKI}/apiserver.crt",
        f"--tls-private-key-file={_PKI}/apiserver.key",
        f"--kubelet-certificate-authority={_PKI}/ca.crt",
        f"--kubelet-client-certificate={_PKI}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={_PKI}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP,Hostname",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={_PKI}/sa.pub",
        f"--service-account-signing-key-file={_PKI}/sa.key",
        f"--service-cluster-ip-range={seed.lab.network.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--requestheader-client-ca-file={_PKI}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={_PKI}/front-proxy-client.crt",
        f"--proxy-client-key-file={_PKI}/front-proxy-client.key",
        "--audit-policy-file=/etc/kubernetes/audit-policy.yaml",
        "--audit-log-path=/var/log/kubernetes/audit.log",
        "--audit-log-maxsize=32",
        "--audit-log-maxbackup=2",
        "--profiling=false",
        # Requests are still served for 5 s after SIGTERM, then watches are ended and kept
        # connections get a GOAWAY. Without the second flag a stop waits 60 s for the watches. Not
        # --shutdown-send-retry-after: its 429 makes a client on a kept connection wait for 5 s,
        # where a GOAWAY has it ask again at once, through a balancer that knows better already.
        "--shutdown-delay-duration=5s",
        "--shutdown-watch-termination-grace-period=2s",
    ]
    if seed.lab.encryption:
        flags.append("--encryption-provider-config=/etc/kubernetes/encryption.yaml")
    files.flags(seed, "kube-apiserver", flags)
    files.text("/var/log/kubernetes/.keep", "")


def _encryption(seed: Seed) -> str:
    # Secretbox key of 32 bytes, derived from the lab's service account key so that all API
    # servers of the lab agree and nothing more must be stored.
    import base64
    import hashlib

    key = hashlib.sha256(b"encryption " + seed.pki.service_account_key()[1]).digest()
    return (
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
        "  - resources: [secrets]\n    providers:\n      - secretbox:\n          keys:\n"
        f"            - name: lab\n              secret: {base64.b64encode(key).decode()}\n"
        "      - identity: {}\n"
    )


def _controller_manager(seed: Seed, files: Files) -> None:
    own = "/etc/kubernetes/kube-controller-manager.kubeconfig"
    files.flags(
        seed,
        "kube-controller-manager",
        [
            f"--kubeconfig={own}",
            f"--authentication-kubeconfig={own}",
            f"--authorization-kubeconfig={own}",
            f"--client-ca-file={_PKI}/ca.crt",
            f"--requestheader-client-ca-file={_PKI}/front-proxy-ca.crt",
            f"--tls-cert-file={_PKI}/kube-controller-manager-serving.crt",
            f"--tls-private-key-file={_PKI}/kube-controller-manager-serving.key",
            "--leader-elect=true",
            "--use-service-account-credentials=true",
            f"--root-ca-file={_PKI}/ca.crt",
            f"--service-account-private-key-file={_PKI}/sa.key",
            f"--cluster-signing-cert-file={_PKI}/ca.crt",
            f"--cluster-signing-key-file={_PKI}/ca.key",
            f"--cluster-cidr={seed.lab.network.pods}",
            f"--service-cluster-ip-range={seed.lab.network.services}",
            # Each machine knows its pod range from its slot (lab/addressing.py).
            "--allocate-node-cidrs=false",
            "--profiling=false",
        ],
    )


def _scheduler(seed: Seed, files: Files) -> None:
    own = "/etc/kubernetes/kube-scheduler.kubeconfig"
    files.flags(
        seed,
        "kube-scheduler",
        [
            f"--kubeconfig={own}",
            f"--authentication-kubeconfig={own}",
            f"--authorization-kubeconfig={own}",
            f"--client-ca-file={_PKI}/ca.crt",
            f"--requestheader-client-ca-file={_PKI}/front-proxy-ca.crt",
            f"--tls-cert-file={_PKI}/kube-scheduler-serving.crt",
            f"--tls-private-key-file={_PKI}/kube-scheduler-serving.key",
            "--leader-elect=true",
            "--profiling=false",
        ],
    )

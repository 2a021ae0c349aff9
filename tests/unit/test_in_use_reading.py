"""Texts of a host's files to facts: every flag keeps its file and line, and no secret is kept."""

from __future__ import annotations

import pytest

from pawl.adapters.manifests.trees import from_yaml
from pawl.core.inuse.documents import document, files_named, manifest, secret_document
from pawl.core.inuse.facts import FlagUse
from pawl.core.inuse.units import Unit, component_of, flags_of, merged

KUBEADM_DROP_IN = """\
# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/b.conf --kubeconfig=/etc/k.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS \\
  $KUBELET_EXTRA_ARGS
"""
KUBEADM_FLAGS = (
    'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/c.sock '
    '--pod-infra-container-image=pause:3.9"\n'
)


def told(flags: tuple[FlagUse, ...]) -> list[tuple[str, str, int]]:
    return [(f.flag, f.path, f.line) for f in flags]


def test_a_kubeadm_kubelet_is_read_from_all_its_files() -> None:
    unit = Unit("kubelet")
    unit.fragment("[Service]\nExecStart=/usr/bin/kubelet --old=1\n", "/lib/kubelet.service")
    unit.fragment(KUBEADM_DROP_IN, "/d/10-kubeadm.conf")
    unit.environment(KUBEADM_FLAGS, "/var/lib/kubelet/kubeadm-flags.env")
    unit.environment("# none yet\nKUBELET_EXTRA_ARGS=--v 4\n", "/etc/default/kubelet")
    assert told(unit.flags()) == [
        ("--bootstrap-kubeconfig=/etc/b.conf", "/d/10-kubeadm.conf", 3),
        ("--kubeconfig=/etc/k.conf", "/d/10-kubeadm.conf", 3),
        ("--config=/var/lib/kubelet/config.yaml", "/d/10-kubeadm.conf", 4),
        (
            "--container-runtime-endpoint=unix:///run/c.sock",
            "/var/lib/kubelet/kubeadm-flags.env",
            1,
        ),
        ("--pod-infra-container-image=pause:3.9", "/var/lib/kubelet/kubeadm-flags.env", 1),
        ("--v=4", "/etc/default/kubelet", 2),
    ]


def test_lines_are_those_of_the_file_also_when_a_command_goes_over_several() -> None:
    unit = Unit("kube-apiserver")
    unit.fragment(
        "[Unit]\nDescription=x\n[Service]\n; old style\nExecStart=/opt/kube-apiserver \\\n"
        "  --a=1 \\\n  # not this: --b=2 \\\n  --c='x y' \\\n  -v=2\nRestart=always\n",
        "/x.service",
    )
    assert [(f.flag, f.line) for f in unit.flags()] == [("--a=1", 6), ("--c=x y", 8), ("--v=2", 9)]


def test_a_shell_before_the_component_has_no_flags_of_it() -> None:
    unit = Unit("kube-proxy")
    unit.fragment(
        "[Service]\nExecStart=/bin/sh -c 'exec /usr/bin/kube-proxy --proxy-mode=ipvs'\n", "/x"
    )
    assert [f.flag for f in unit.flags()] == ["--proxy-mode=ipvs"]
    assert component_of(["/bin/sh", "-c", "exec /usr/bin/kube-proxy --x=1"]) == "kube-proxy"
    assert component_of(["/usr/bin/vim", "/etc/kubelet.txt"]) == ""


def test_only_variables_that_tell_and_hold_no_secret_are_kept() -> None:
    unit = Unit("kube-apiserver")
    unit.environment(
        "AWS_SECRET_ACCESS_KEY=abc\nKUBE_TOKEN=abc\n"
        "KUBE_APISERVER_SERVE_REMOVED_APIS_FOR_ONE_RELEASE=true\n",
        "/x.env",
    )
    assert [(v.name, v.value, v.line) for v in unit.variables()] == [
        ("KUBE_APISERVER_SERVE_REMOVED_APIS_FOR_ONE_RELEASE", "true", 3)
    ]


MANIFEST = b"""\
apiVersion: v1
kind: Pod
spec:
  containers:
  - command:
    - kube-apiserver
    - --feature-gates=A=true
    args: ["--v", "2"]
    env:
    - name: KUBE_APISERVER_SERVE_REMOVED_APIS_FOR_ONE_RELEASE
      value: "true"
    - {name: DB_PASSWORD, value: abc}
  - command: [sidecar, --feature-gates=B=true]
"""


def test_a_static_pod_tells_the_flags_of_its_component_alone() -> None:
    (node,) = from_yaml(MANIFEST)
    flags, variables = manifest(node, "/m.yaml")
    assert told(flags) == [("--feature-gates=A=true", "/m.yaml", 7), ("--v=2", "/m.yaml", 8)]
    assert [(v.name, v.line) for v in variables] == [
        ("KUBE_APISERVER_SERVE_REMOVED_APIS_FOR_ONE_RELEASE", 10)
    ]


def test_a_configuration_becomes_scalars_with_lines_and_no_secrets() -> None:
    (node,) = from_yaml(
        b"kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n"
        b"featureGates:\n  A: true\nstaticPodURLHeader:\n  Authorization: [abc]\n"
    )
    made = document(node, "kubelet", "config", "/c.yaml")
    assert (made.api_version, made.kind, made.line) == (
        "kubelet.config.k8s.io/v1beta1",
        "KubeletConfiguration",
        2,
    )
    assert [(s.key, s.value, s.line) for s in made.settings] == [("featureGates.A", "true", 4)]


def test_objects_inside_a_document_are_found() -> None:
    (node,) = from_yaml(
        b"apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
        b"- name: X\n  configuration:\n    apiVersion: a/v1alpha1\n    kind: K\n"
    )
    made = document(node, "kube-apiserver", "admission", "/a.yaml")
    assert list(made.objects()) == [
        ("apiserver.config.k8s.io/v1", "AdmissionConfiguration", 1),
        ("a/v1alpha1", "K", 6),
    ]


def test_a_file_with_secrets_tells_kinds_and_providers() -> None:
    made = secret_document(
        '1:apiVersion: apiserver.config.k8s.io/v1\n2:"kind":"EncryptionConfiguration"\n'
        "6:secretbox:\n9:identity:\n10:keys:\n",
        "kube-apiserver",
        "encryption",
        "/e.yaml",
    )
    assert made.kind == "EncryptionConfiguration"
    assert [(s.key, s.value, s.line) for s in made.settings] == [
        ("provider", "secretbox", 6),
        ("provider", "identity", 9),
    ]
    exec_ = secret_document(
        "1:apiVersion: v1\n2:kind: Config\n14:apiVersion: client.authentication.k8s.io/v1alpha1\n",
        "kubelet",
        "exec plugin",
        "/k",
    )
    assert (exec_.api_version, exec_.kind) == ("v1", "Config")
    assert list(exec_.objects())[1] == ("client.authentication.k8s.io/v1alpha1", "", 14)


def test_files_are_found_by_the_flags_that_name_them() -> None:
    flags = flags_of(
        "kube-apiserver",
        [
            (("--audit-policy-file=/p", 1), "/x"),
            (("--encryption-provider-config=/e", 1), "/x"),
            (("--client-ca-file=/ca", 1), "/x"),
        ],
    )
    assert list(files_named(flags)) == [
        ("kube-apiserver", "audit policy", "/p", False),
        ("kube-apiserver", "encryption", "/e", True),
    ]


@pytest.mark.parametrize("value", ["A=true", "B=true"])
def test_a_running_process_adds_only_what_no_file_explains(value: str) -> None:
    file = flags_of("kubelet", [(("--feature-gates=A=true", 1), "/f")])
    process = flags_of("kubelet", [((f"--feature-gates={value}", 0), "")])
    found = merged(file, {812: process})
    assert [f.path for f in found] == ["/f"] + ["process 812"] * (value == "B=true")

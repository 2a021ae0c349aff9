"""The binaries' own words, as kube 1.36.0/1.37.0 and etcd 3.5.33/3.6.14 printed them."""

from __future__ import annotations

import pytest

from pawl.adapters.hosts import flagcheck

E = 'E1124 00:01:53.662616   13633 run.go:72] "command failed" err="'


@pytest.mark.parametrize(
    ("component", "output"),
    [
        (
            "kube-apiserver",
            f"{E}--secure-port -1 must be between 1 and 65535, inclusive. "
            'It cannot be turned off with 0"',
        ),
        (
            "kube-scheduler",
            f"{E}[--secure-port -1 must be between 0 and 65535, inclusive. "
            '0 for turning off secure port]"',
        ),
        (
            "kubelet",
            f"{E}failed to validate kubelet configuration, error: invalid configuration: "
            "maxOpenFiles (--max-open-files) -1 must not be a negative number, "
            'path: &TypeMeta{Kind:,APIVersion:,}"',
        ),
        (
            "etcd",
            '{"level":"warn","ts":"2026-11-24T00:01:54Z","caller":"etcdmain/etcd.go:66",'
            '"msg":"failed to verify flags",'
            '"error":"unknown auto-compaction-mode \\"pawl-probe\\""}',
        ),
    ],
)
def test_only_the_provoked_error_means_accepted(component: str, output: str) -> None:
    assert flagcheck.complaints(component, ["--v=2"], 1, output) == ()


@pytest.mark.parametrize(
    ("component", "output", "complaint"),
    [
        ("kube-apiserver", "Error: unknown flag: --bogus", "unknown flag: --bogus"),
        ("kubelet", f'{E}failed to parse kubelet flag: unknown flag: --b"', "unknown flag: --b"),
        (
            "kube-controller-manager",
            f"{E}[emulation version 1.30 is not between [1.33, 1.36.0], --secure-port -1 must be "
            'between 0 and 65535, inclusive. 0 for turning off secure port]"',
            "emulation version 1.30 is not between [1.33, 1.36.0",
        ),
        (
            "kubelet",
            f"{E}failed to validate kubelet configuration, error: [invalid configuration: "
            "maxOpenFiles (--max-open-files) -1 must not be a negative number, kubelet is "
            "configured to not run on a host using cgroup v1], path: &TypeMeta{Kind:,}"
            '"',
            "kubelet is configured to not run on a host using cgroup v1",
        ),
        ("etcd", "flag provided but not defined: -enable-v2", "-enable-v2"),
        ("kube-proxy", f'{E}failed complete: unrecognized feature gate: Foo"', "gate: Foo"),
    ],
)
def test_every_other_error_is_a_complaint(component: str, output: str, complaint: str) -> None:
    found = flagcheck.complaints(component, ["--v=2"], 1, output)
    assert len(found) == 1
    assert complaint in found[0]
    assert "-1 must" not in found[0]


def test_an_odd_end_is_told_not_passed_over() -> None:
    assert "code 137" in flagcheck.complaints("etcd", [], 137, "Killed")[0]


def test_etcd_with_a_configuration_file_is_only_asked_to_parse() -> None:
    assert flagcheck.probe_of("etcd", ["--config-file=/etc/etcd.yaml"]).poison == ("--version",)

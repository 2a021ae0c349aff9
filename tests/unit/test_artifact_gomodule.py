"""The throw-away module's text, and progress from go's lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from pawl.adapters.artifacts.catalog import expand
from pawl.adapters.artifacts.gomodule import (
    KUBERNETES_MODULE,
    go_at_least,
    go_directive,
    link_flags,
    throwaway_go_mod,
    upstream_modules,
)
from pawl.adapters.artifacts.gorun import PackageCounter
from pawl.adapters.artifacts.local import parse_sums
from pawl.core.version import Version
from pawl.ports.artifacts import ArtifactProgress

UPSTREAM = """\
module k8s.io/kubernetes

go 1.26.0

godebug default=go1.26

require (
	github.com/onsi/gomega v1.39.1
	k8s.io/api v0.0.0
	k8s.io/client-go v0.0.0
	k8s.io/utils v0.0.0-20260210185600-b8788abfbbc2
	k8s.io/kube-openapi v0.0.0-20260317180543-43fb72c5454a // indirect
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/client-go => ./staging/src/k8s.io/client-go
	github.com/old/lib => github.com/new/lib v1.2.3
)
"""


def test_staging_modules_get_their_published_twin_and_others_stay() -> None:
    text = throwaway_go_mod("kubernetes", Version(1, 36, 2), {KUBERNETES_MODULE: UPSTREAM})
    assert "go 1.26.0\n" in text
    assert "godebug default=go1.26\n" in text
    assert "\tk8s.io/kubernetes v1.36.2\n" in text
    assert "\tk8s.io/api => k8s.io/api v0.36.2\n" in text
    assert "\tk8s.io/client-go => k8s.io/client-go v0.36.2\n" in text
    assert "k8s.io/utils" not in text
    assert "kube-openapi" not in text
    assert "staging" not in text
    assert "\tgithub.com/old/lib => github.com/new/lib v1.2.3\n" in text


def test_a_release_candidate_has_a_candidate_as_twin() -> None:
    text = throwaway_go_mod("kubernetes", Version(1, 37, 0, "rc.1"), {KUBERNETES_MODULE: UPSTREAM})
    assert "k8s.io/api => k8s.io/api v0.37.0-rc.1\n" in text


def test_etcd_needs_no_replacement_and_the_newest_go_of_its_modules() -> None:
    modules = upstream_modules("etcd", expand("etcd"))
    upstream = {m: f"module {m}\n\ngo 1.{24 + n}.0\n" for n, m in enumerate(modules)}
    text = throwaway_go_mod("etcd", Version(3, 6, 14), upstream)
    assert "go 1.26.0\n" in text
    assert "replace" not in text
    assert text.count(" v3.6.14\n") == 3


@pytest.mark.parametrize(
    ("have", "need", "enough"),
    [
        ("go1.26.8", "1.26.0", True),
        ("go1.26", "1.26.0", True),
        ("go1.25.9", "1.26.0", False),
        ("go1.24.1", "1.24", True),
        ("go1.9", "1.24", False),
        ("go1.27rc1", "1.26.3", True),
        ("", "1.16", False),
    ],
)
def test_go_versions_compare_as_numbers(have: str, need: str, enough: bool) -> None:
    assert go_at_least(have, need) is enough


def test_go_directive_is_read_from_go_mod() -> None:
    assert go_directive(UPSTREAM) == "1.26.0"
    assert go_directive("module m\n\ngo 1.19\n") == "1.19"
    assert go_directive("module m\n") == "1.16"


def test_kubernetes_is_stamped_with_its_version_and_etcd_is_not() -> None:
    flags = link_flags("kubernetes", Version(1, 37, 0))
    assert "-X k8s.io/component-base/version.gitVersion=v1.37.0" in flags
    assert "-X k8s.io/component-base/version.gitMinor=37" in flags
    assert link_flags("etcd", Version(3, 6, 14)) == "-s -w"


def test_sums_are_read_as_sha256sum_writes_them() -> None:
    a, b = "a" * 64, "B" * 64
    assert parse_sums(f"{a}  ./x\n{b} *y\nnonsense\n{a[:10]}  z\n") == {"x": a, "y": b.lower()}


def test_counter_gives_an_eta_once_it_can_and_says_when_it_links(tmp_path: Path) -> None:
    now, seen = [0.0], list[ArtifactProgress]()
    counter = PackageCounter("building etcd 3.6.14", seen.append, clock=lambda: now[0])
    counter.total = 40
    counter.compiled("go: downloading golang.org/x/net v0.1.0")
    counter.compiled("# some message of the compiler")
    assert len(seen) == 1
    assert seen[0].passing
    for n in range(20):
        now[0] = float(n)
        counter.compiled(f"example/p{n}")
    assert seen[1].eta is None
    assert seen[-1].text == "building etcd 3.6.14: 20 of 40 packages"
    assert seen[-1].eta == pytest.approx(19.0)
    for n in range(60):
        counter.compiled(f"example/q{n}")
    assert seen[-1].done == 40


def test_kube_state_metrics_is_one_module_that_is_stamped_with_its_version() -> None:
    parts = expand("kube-state-metrics")
    (module,) = upstream_modules("kube-state-metrics", parts)
    version = Version(2, 15, 0)
    text = throwaway_go_mod("kube-state-metrics", version, {module: "module x\n\ngo 1.23.0\n"})
    assert "\tk8s.io/kube-state-metrics/v2 v2.15.0\n" in text
    assert "replace" not in text
    assert link_flags("kube-state-metrics", version).endswith("version.Version=v2.15.0")

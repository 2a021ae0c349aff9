"""Charts as helm 3.22 was seen to treat them: a stand-in prints what it printed."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path

import pytest

from pawl.adapters.manifests.linting import Linter
from pawl.core.knowledge.store import shipped
from pawl.core.lint.judge import Judge

CRONJOB = "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: nightly}\n"
RENDERED = f"---\n# Source: shop/templates/cron.yaml\n{CRONJOB}"
ABOUT = "apiVersion: v2\nname: shop\nversion: 1.0.0\n"


def helm(tmp_path: Path, out: str = "", said: str = "", code: int = 0) -> str:
    """Notes its arguments, prints `out`, says `said`."""
    program = tmp_path / "helm"
    (tmp_path / "out").write_text(out)
    (tmp_path / "said").write_text(said)
    program.write_text(
        f'#!/bin/sh\nfor a in "$@"; do echo "$a"; done > {tmp_path}/args\n'
        f"cat {tmp_path}/out\ncat {tmp_path}/said >&2\nexit {code}\n"
    )
    program.chmod(0o755)
    return str(program)


def chart(tmp_path: Path, **templates: str) -> str:
    directory = tmp_path / "shop"
    (directory / "templates").mkdir(parents=True)
    (directory / "Chart.yaml").write_text(ABOUT)
    for name, text in templates.items():
        (directory / "templates" / f"{name}.yaml").write_text(text)
    return str(directory)


def linted(path: str, program: str) -> Linter:
    linter = Linter(Judge(shipped(), "1.37"), helm=program)
    linter.path(path)
    return linter


def test_without_helm_it_is_not_read(tmp_path: Path) -> None:
    (unread,) = linted(chart(tmp_path), "no-such-helm").not_read
    assert "helm is not installed" in unread.why


def test_it_is_rendered_for_the_target(tmp_path: Path) -> None:
    path = chart(tmp_path)
    (finding,) = linted(path, helm(tmp_path, RENDERED)).findings
    assert finding.path == f"{path}/templates/cron.yaml"
    assert not finding.fixable
    args = (tmp_path / "args").read_text().splitlines()
    assert args[args.index("--kube-version") + 1] == "1.37.0"


def test_helm_is_told_which_kinds_the_target_serves(tmp_path: Path) -> None:
    """It knows no kinds by itself: `Has "networking.k8s.io/v1/Ingress"` was false, and the chart
    fell back to v1beta1."""
    linted(chart(tmp_path), helm(tmp_path, RENDERED))
    args = (tmp_path / "args").read_text().splitlines()
    told = {b for a, b in itertools.pairwise(args) if a == "--api-versions"}
    assert {"networking.k8s.io/v1", "networking.k8s.io/v1/Ingress", "v1/Pod"} <= told
    assert not told & {"batch/v1beta1", "networking.k8s.io/v1beta1/Ingress"}
    assert not [t for t in told if "alpha" in t], "not served by default"


def test_a_version_that_the_chart_asks_for_may_be_another_in_the_cluster(tmp_path: Path) -> None:
    """helm's own list of versions holds removed ones, and nothing takes them out."""
    asks = '{{- if .Capabilities.APIVersions.Has "batch/v1beta1/CronJob" }}\n'
    (finding,) = linted(chart(tmp_path, cron=asks), helm(tmp_path, RENDERED)).findings
    assert "helm alone says yes to removed ones" in finding.note


@pytest.mark.parametrize("asks", ["", '{{- if .Capabilities.APIVersions.Has "batch/v1" }}\n'])
def test_a_version_that_it_does_not_ask_for_is_what_it_says(tmp_path: Path, asks: str) -> None:
    (finding,) = linted(chart(tmp_path, cron=asks), helm(tmp_path, RENDERED)).findings
    assert "helm alone" not in finding.note


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            "Error: execution error at (shop/templates/a.yaml:4:11): A name is required: set "
            ".Values.name\n\nUse --debug flag to render out invalid YAML\n",
            "execution error at (shop/templates/a.yaml:4:11): A name is required: set .Values.name",
        ),
        (
            "Error: An error occurred while checking for chart dependencies. You may need to run "
            "`helm dependency build` to fetch missing dependencies: found in Chart.yaml, but "
            "missing in charts/ directory: redis\n",
            "`helm dependency build` to fetch missing dependencies: found in Chart.yaml, but "
            "missing in charts/ directory: redis",
        ),
        (
            "Error: values don't meet the specifications of the schema(s) in the following "
            "chart(s):\nshop:\n- at '': missing properties 'name', 'size'\n\n",
            "chart(s): shop: - at '': missing properties 'name', 'size'",
        ),
        (
            "WARNING: Kubernetes configuration file is group-readable.\nError: chart requires "
            "kubeVersion: <1.30.0-0 which is incompatible with Kubernetes v1.37.0\n\nUse --debug "
            "flag to render out invalid YAML\n",
            "failed: chart requires kubeVersion: <1.30.0-0 which is incompatible with Kubernetes "
            "v1.37.0",
        ),
        ("", "no reason"),
    ],
)
def test_why_helm_makes_nothing_of_it(tmp_path: Path, said: str, why: str) -> None:
    linter = linted(chart(tmp_path), helm(tmp_path, said=said, code=1))
    (unread,) = linter.not_read
    assert unread.why.endswith(why)
    assert not linter.findings


def test_a_library_renders_to_nothing_and_is_not_tried(tmp_path: Path) -> None:
    """helm says "library charts are not installable"."""
    path = chart(tmp_path)
    Path(path, "Chart.yaml").write_text(ABOUT + "type: library\n")
    linter = linted(path, helm(tmp_path, said="Error: library charts are not installable", code=1))
    assert not linter.not_read
    assert not (tmp_path / "args").exists()


def test_a_packed_chart_is_a_chart_and_another_archive_is_not(tmp_path: Path) -> None:
    """It was passed over as clean."""
    path = Path(chart(tmp_path))
    place = tmp_path / "packed"
    place.mkdir()
    with tarfile.open(place / "shop-1.0.0.tgz", "w:gz") as packed:
        packed.add(path / "Chart.yaml", "shop/Chart.yaml")
    with tarfile.open(place / "data.tgz", "w:gz") as packed:
        packed.add(path / "Chart.yaml", "data.yaml")
    (place / "broken.tgz").write_bytes(b"\x1f\x8b no archive")
    for given in (place, place / "shop-1.0.0.tgz"):
        linter = linted(str(given), helm(tmp_path, RENDERED))
        (finding,) = linter.findings
        assert finding.path == f"{place}/shop-1.0.0.tgz/templates/cron.yaml"
        assert not linter.not_read
    for name in ("data.tgz", "broken.tgz"):
        (unread,) = linted(str(place / name), helm(tmp_path, RENDERED)).not_read
        assert unread.why == "is no packed chart that can be read"


def test_what_kustomize_writes_is_read_from_the_pipe() -> None:
    """Of version 5.8: generated names, keys sorted, documents after ---."""
    linter = Linter(Judge(shipped(), "1.37"), helm="no-such-helm")
    linter.standard_input(
        b"apiVersion: v1\ndata:\n  a: b\nkind: ConfigMap\nmetadata:\n"
        b"  name: prod-app-4h2mbtbbt6\n  namespace: shop\n---\napiVersion: batch/v1beta1\n"
        b"kind: CronJob\nmetadata:\n  name: prod-nightly\n  namespace: shop\nspec:\n"
        b"  schedule: 0 3 * * *\n"
    )
    (finding,) = linter.findings
    assert (finding.line, finding.namespace, finding.name) == (9, "shop", "prod-nightly")
    assert linter.objects == 2

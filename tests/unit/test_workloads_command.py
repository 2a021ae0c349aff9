"""`pawl workloads` over manifests: exit codes, every output, and a page that needs nothing else."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pawl.core.errors import ConfigError
from pawl.interfaces.cli.workloads import workloads

CASES = Path(__file__).parents[1] / "cases" / "workloads"
SHOP = """
{apiVersion: v1, kind: Service, metadata: {name: redis, namespace: shop},
 spec: {selector: {app: redis}, ports: [{port: 6379}]}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: redis, namespace: shop},
 spec: {replicas: 1, template: {metadata: {labels: {app: redis}},
  spec: {containers: [{name: r, image: x, readinessProbe: {}}]}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: backend, namespace: shop},
 spec: {replicas: 2, template: {metadata: {labels: {app: backend}},
  spec: {containers: [{name: b, image: x, readinessProbe: {},
   env: [{name: REDIS, value: "redis:6379"}]}]}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: "<b>&web", namespace: shop,
  annotations: {pawl.dev/depends-on: backend}},
 spec: {replicas: 2, template: {metadata: {labels: {app: web}},
  spec: {containers: [{name: w, image: x, readinessProbe: {}}]}}}}
"""


@pytest.fixture
def shop(tmp_path: Path) -> str:
    path = tmp_path / "shop.yaml"
    path.write_text(SHOP)
    return str(path)


@pytest.mark.parametrize(
    ("case", "code"),
    [("plain", 0), ("budget-one-of-one", 1), ("pod-bare", 2), ("pod-no-probe", 0)],
)
def test_exit_codes(case: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert workloads(from_=(str(CASES / f"{case}.yaml"),)) == code
    said = capsys.readouterr().out
    assert "What blocks for ever" in said
    assert "PAWL-W119" in said or case != "pod-no-probe"


def test_what_is_not_read_is_never_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text("a: [")
    (tmp_path / "odd.yaml").write_text(
        "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: 7}}"
    )
    (tmp_path / "good.yaml").write_text((CASES / "plain.yaml").read_text())
    assert workloads(from_=(str(tmp_path),)) == 3
    said = capsys.readouterr().out
    assert "bad.yaml: is not YAML" in said
    assert "odd.yaml: Service s" in said
    (tmp_path / "worse.yaml").write_text((CASES / "pod-bare.yaml").read_text())
    assert workloads(from_=(str(tmp_path),)) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: words\n",
            "x.yaml: Deployment: has no name",
        ),
        ("kind: PodList\nitems: [{metadata: words}]\n", "x.yaml: Pod: has no name"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n", "x.yaml: Deployment: has no name"),
        ("day: 2026-99-99\n", "is not YAML"),
        ("kind: [a]\n", ""),
    ],
)
def test_an_object_that_is_none_is_named(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    (tmp_path / "good.yaml").write_text((CASES / "plain.yaml").read_text())
    assert workloads(from_=(str(tmp_path),)) == (3 if said else 0)
    assert said in " ".join(capsys.readouterr().out.split())


def test_a_place_without_an_object_is_not_clean(
    tmp_path: Path, shop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipeline that names the wrong directory must not pass for ever."""
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    assert workloads(from_=(shop, str(wrong))) == 3
    assert f"{wrong}: holds no Kubernetes object" in capsys.readouterr().out
    (wrong / "values.yaml").write_text("replicas: 3\n")
    assert workloads(from_=(str(wrong),)) == 3


def test_usage_mistakes_are_named(shop: str) -> None:
    with pytest.raises(ConfigError, match="there is no node worker-9"):
        workloads(from_=(shop,), node=("worker-9",))
    with pytest.raises(ConfigError, match="neither a number of nodes nor `all`"):
        workloads(from_=(shop,), surge="-1")
    with pytest.raises(ConfigError, match="no such file"):
        workloads(from_=("/nowhere",))


def test_a_minor_is_its_newest_release_as_for_a_plan(
    shop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    workloads(from_=(shop,), to="1.36", output="json")
    nodes = {move["target"] for move in json.loads(capsys.readouterr().out)["moves"]}
    assert any("v136" in node for node in nodes), nodes


def test_json_holds_the_whole_plan(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert workloads(from_=(shop,), output="json", surge="1") == 1
    made = json.loads(capsys.readouterr().out)
    tiers = {w["key"].rpartition("/")[2]: w["tier"] for w in made["workloads"]}
    assert tiers == {"redis": 0, "backend": 1, "<b>&web": 2}
    assert [e["evidence"][0]["source"] for e in made["dependencies"]] == ["annotation", "address"]
    assert len(made["waves"]) == 3
    assert len({m["pod"] for m in made["moves"]}) == len(made["moves"]) == 5
    assert made["complete"]
    assert 0 < made["least"] <= made["seconds"]


def test_only_named_nodes_are_replaced(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    workloads(from_=(shop,), output="json", node=("worker-1",))
    moves = json.loads(capsys.readouterr().out)["moves"]
    assert moves
    assert {m["source"] for m in moves} == {"worker-1"}


def test_dot_names_edges_and_quotes(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    workloads(from_=(shop,), output="dot")
    said = capsys.readouterr().out
    assert '"shop/Deployment/backend" -> "shop/StatefulSet/redis"' in said
    assert said.count("{") == said.count("}")


def test_the_page_needs_nothing_else(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    workloads(from_=(shop,), output="html")
    page = capsys.readouterr().out
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=", page)
    assert "<b>&web" not in page
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 2
    graph = ET.fromstring(pictures[0])
    assert len(graph.findall("g")) == 3
    paths = [p for p in graph.findall("path") if p.get("class", "").startswith("e ")]
    assert [p.get("class") for p in paths] == ["e strong", "e strong"]
    x = {
        g.find("text").text: float(g.find("rect").get("x"))  # type: ignore[union-attr, arg-type]
        for g in graph.findall("g")
    }
    assert x["shop/redis"] < x["shop/backend"] < x["shop/<b>&web"]

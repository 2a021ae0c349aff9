"""Watches: a list, its changes, and going on after whatever ends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support_kube import Asked, fake_api

from pawl.adapters.kube import ApiKube, KubeClient
from pawl.adapters.kube import watch as watching
from pawl.ports.kube import Pod
from pawl.ports.watch import Blind, Change, Gone, Listed, NodeNow, Put

pytestmark = pytest.mark.anyio
PODS = "/api/v1/pods"
EMPTY = (200, {"items": [], "metadata": {"resourceVersion": "1"}})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LAST_WAIT", watching.FIRST_WAIT)


def pod(name: str, version: str, **meta: object) -> dict[str, object]:
    own = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": version}
    return {"metadata": {**own, **meta}, "spec": {"nodeName": "n1"}, "status": {}}


def event(kind: str, o: dict[str, object]) -> bytes:
    return json.dumps({"type": kind, "object": o}).encode() + b"\n"


def bookmark(version: str) -> bytes:
    return event("BOOKMARK", {"metadata": {"resourceVersion": version}})


def expired() -> bytes:
    return event("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})


def quiet(asked: Asked) -> tuple[int, object]:
    """Kinds that nothing happens to."""
    return (200, None) if "watch" in asked.query else EMPTY


class Script:
    """What the API says of pods, answer by answer: lists and watches in the order of asking."""

    def __init__(self, lists: list[object], watches: list[tuple[int, object]]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[dict[str, str]] = []

    def __call__(self, asked: Asked) -> tuple[int, object]:
        if "watch" not in asked.query:
            return 200, self.lists.pop(0)
        self.asked.append(asked.query)
        return self.watches.pop(0) if self.watches else (200, None)


def listing(version: str, *pods: dict[str, object]) -> dict[str, object]:
    return {"items": list(pods), "metadata": {"resourceVersion": version}}


@asynccontextmanager
async def told(
    directory: Path, script: Callable[[Asked], tuple[int, object]]
) -> AsyncIterator[list[Change]]:
    """All changes of pods so far; the watch lasts as long as the block."""
    others = ("/api/v1/nodes", "/apis/policy/v1/poddisruptionbudgets",
              "/apis/storage.k8s.io/v1/volumeattachments")  # fmt: skip
    async with fake_api(directory, {PODS: script, **dict.fromkeys(others, quiet)}) as (_, path):
        client = KubeClient(path, "", 30.0)
        seen: list[Change] = []
        task = asyncio.create_task(
            ApiKube(client).watch(lambda c: seen.append(c) if c.what == "pods" else None)
        )
        try:
            yield seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.aclose()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.02)


async def test_a_watch_goes_on_from_the_last_version_and_bookmarks_move_it(tmp_path: Path) -> None:
    script = Script(
        [listing("5", pod("a", "3"))],
        [
            (200, event("ADDED", pod("b", "6")) + bookmark("9")),
            (200, event("DELETED", pod("a", "11"))),
        ],
    )
    async with told(tmp_path, script) as seen:
        await until(lambda: len(script.asked) == 3)
        first, second, third = seen
        assert isinstance(first, Listed)
        assert [p.name for p in first.items] == ["a"]
        assert isinstance(second, Put)
        assert isinstance(second.item, Pod)
        assert (second.item.name, second.item.node) == ("b", "n1")
        assert isinstance(third, Gone)
        assert third.item.name == "a"
    assert [q["resourceVersion"] for q in script.asked] == ["5", "9", "11"]
    assert {q["allowWatchBookmarks"] for q in script.asked} == {"true"}


@pytest.mark.parametrize(
    "gone", [(200, expired()), (410, {"kind": "Status", "code": 410, "message": "gone"})]
)
async def test_after_410_all_is_listed_again_and_replaces_what_was_known(
    tmp_path: Path, gone: tuple[int, object]
) -> None:
    script = Script([listing("5", pod("a", "3")), listing("50", pod("z", "40"))], [gone])
    async with told(tmp_path, script) as seen:
        await until(lambda: len(script.asked) == 2)
        assert [[p.name for p in c.items] for c in seen if isinstance(c, Listed)] == [["a"], ["z"]]
        assert not [c for c in seen if isinstance(c, Blind)]
    assert [q["resourceVersion"] for q in script.asked] == ["5", "50"]


async def test_an_api_that_refuses_makes_it_blind_until_it_answers_again(tmp_path: Path) -> None:
    broken = (500, {"kind": "Status", "code": 500, "message": "etcdserver: no leader"})
    script = Script([listing("5")], [broken, broken, (200, event("ADDED", pod("b", "6")))])
    async with told(tmp_path, script) as seen:
        await until(lambda: any(isinstance(c, Put) for c in seen))
        assert [type(c) for c in seen] == [Listed, Blind, Blind, Put]
        assert isinstance(seen[1], Blind)
        assert "no leader" in seen[1].why
    assert [q["resourceVersion"] for q in script.asked][:3] == ["5", "5", "5"], "nothing is missed"


async def test_a_line_that_is_no_event_is_not_taken_for_one(tmp_path: Path) -> None:
    script = Script([listing("5")], [(200, b"<html>502</html>\n")])
    async with told(tmp_path, script) as seen:
        await until(lambda: len(script.asked) == 2)
        assert [type(c) for c in seen] == [Listed, Blind], seen


async def test_what_a_pod_asks_for_is_what_the_scheduler_counts(tmp_path: Path) -> None:
    def asks(cpu: str, memory: str = "0", **more: str) -> dict[str, object]:
        return {"resources": {"requests": {"cpu": cpu, "memory": memory}}, **more}

    made = pod("a", "3")
    made["spec"] = {
        "nodeName": "n1",
        "containers": [asks("250m", "64Mi"), {"resources": {"limits": {"cpu": "1"}}}, {}],
        "initContainers": [asks("2", "1Mi"), asks("100m", restartPolicy="Always")],
        "overhead": {"memory": "16Mi"},
    }
    script = Script([listing("5", made)], [])
    async with told(tmp_path, script) as seen:
        await until(lambda: bool(seen))
    (listed,) = [c for c in seen if isinstance(c, Listed)]
    (found,) = listed.items
    assert isinstance(found, Pod)
    assert (found.cpu, found.memory) == (2000, 80 << 20)


async def test_what_is_seen_of_a_node(tmp_path: Path) -> None:
    meta = {"name": "n1", "annotations": {"pawl.dev/cordoned-by": "pawl:r1"}}
    spec = {"unschedulable": True, "taints": [{"key": "pawl/closed", "effect": "NoSchedule"}]}
    status = {
        "conditions": [{"type": "Ready", "status": "Unknown"}],
        "allocatable": {"cpu": "3920m", "memory": "2Gi", "pods": "110", "hugepages-2Mi": "0"},
    }
    node = {"metadata": meta, "spec": spec, "status": status}

    def nodes(asked: Asked) -> tuple[int, object]:
        return (200, None) if "watch" in asked.query else (200, listing("5", node))

    others = (PODS, "/apis/policy/v1/poddisruptionbudgets",
              "/apis/storage.k8s.io/v1/volumeattachments")  # fmt: skip
    routes = {"/api/v1/nodes": nodes, **dict.fromkeys(others, quiet)}
    async with fake_api(tmp_path, routes) as (_, path):
        client = KubeClient(path, "", 30.0)
        seen: list[Change] = []
        task = asyncio.create_task(ApiKube(client).watch(seen.append))
        await until(lambda: any(c.what == "nodes" for c in seen))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.aclose()
    (found,) = [c.items for c in seen if isinstance(c, Listed) and c.what == "nodes"]
    assert found == (
        NodeNow(
            name="n1",
            ready=False,
            unschedulable=True,
            cordoned_by="pawl:r1",
            closed=True,
            cpu=3920,
            memory=2 << 30,
            pods=110,
        ),
    )


async def test_the_load_of_pods_where_somebody_measures_it(tmp_path: Path) -> None:
    def limited(name: str, *limits: str) -> dict[str, object]:
        containers = [{"resources": {"limits": {"cpu": c}} if c else {}} for c in limits]
        return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": containers}}

    def used(name: str, *cpu: str) -> dict[str, object]:
        return {"metadata": {"name": name}, "containers": [{"usage": {"cpu": c}} for c in cpu]}

    measured = {"items": [used("redis-0", "170m", "10000000n"), used("free-1", "3")]}
    pods = {"items": [limited("redis-0", "100m", "0.1"), limited("free-1", "1", "")]}
    routes = {
        "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods": (200, measured),
        "/api/v1/namespaces/shop/pods": (200, pods),
    }
    async with fake_api(tmp_path, routes) as (_, path):
        client = KubeClient(path, "", 30.0)
        kube = ApiKube(client)
        assert await kube.loads("shop") == {"redis-0": pytest.approx(0.9)}
        assert await kube.loads("elsewhere") == {}
        await client.aclose()

"""The lab's own workloads, seen and planned on real machines."""

from __future__ import annotations

from typing import Any

import httpx
from pawl_process import SETTLES, Pawl

from pawl.lab.cluster import Lab
from pawl.lab.probe import NotReady, wait
from pawl.lab.roles.load_balancer import NODE_PORTS


def test_the_labs_workloads_are_classified_and_their_edge_is_found(small_lab: Lab) -> None:
    pawl = Pawl(small_lab.dir.config)
    address = small_lab.spec.network.load_balancer
    made: dict[str, Any] = {}

    def seen() -> bool:
        """All of it, with a connection that a backend has just made to redis."""
        for _ in range(6):  # a request at each backend
            try:
                httpx.get(f"http://{address}:{NODE_PORTS['backend']}/", timeout=30)
            except httpx.HTTPError as error:
                raise NotReady(str(error)) from error
        made.update(pawl.json("workloads", "--surge", "all", ok=(0, 1, 3)))
        if not made["complete"]:
            raise NotReady(str(made["unread"]))
        return "connection" in {e["source"] for d in made["dependencies"] for e in d["evidence"]}

    wait("the backend's connection to redis to be seen on its node", seen, SETTLES)
    found = {w["key"].partition("/")[2]: w for w in made["workloads"]}
    assert {k: (w["kind"], w["method"]) for k, w in found.items()} == {
        "Deployment/web": ("Deployment", "surge"),
        "Deployment/backend": ("Deployment", "surge"),
        "StatefulSet/redis": ("StatefulSet", "evict"),
    }
    assert found["Deployment/web"]["budgets"] == ["pawl-lab/web"]
    (edge,) = made["dependencies"]
    assert (edge["consumer"].rpartition("/")[2], edge["provider"].rpartition("/")[2]) == (
        "backend",
        "redis",
    )
    sources = {e["source"] for e in edge["evidence"]}
    assert "address" in sources
    assert "connection" in sources
    assert found["StatefulSet/redis"]["tier"] < found["Deployment/backend"]["tier"]
    moved = [m["pod"] for m in made["moves"]]
    assert len(moved) == len(set(moved)) == sum(w["moving"] for w in found.values())
    told = {o["code"] for o in made["obstacles"]}
    assert "W106" in told, "redis keeps its data in an emptyDir"
    page = pawl("workloads", "-o", "html", ok=(0, 1))
    assert "pawl-lab/redis" in page

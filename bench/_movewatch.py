"""Measures a stretch of a lab's life from outside: pods by watches, users by requests.

`Measurement` runs on a thread of its own with its own connections; nothing of it asks pawl.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from _movement import Movement, Pod
from _traffic import Lane, Redis, http, websocket

from pawl.lab import workloads
from pawl.lab.cluster import Lab
from pawl.lab.probe import SERVES, NotReady, wait
from pawl.lab.roles.load_balancer import NODE_PORTS

NAMESPACE = workloads.NAMESPACE
SOLO, ECHO, REDIS = 30090, 30091, 30092
"""NodePorts of what is added for the measurement."""
RATE = 8.0
"""Requests a second of each lane: the lab shares its cores with them."""
SOCKETS = 3
BEAT, STILL = 0.1, 1.0
"""Seconds between two beats of the measurement's own heart, and how late one is that shows that
nobody ran: other tenants have the cores."""
AFTERMATH = 5.0
"""Seconds in which what was late then is found out: three readiness probes, 1 s apart."""
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def fixtures() -> list[workloads.Object]:
    """One application of a single replica whose budget never allows an eviction, and doors for the
    users that come without the lab's balancer."""
    solo = workloads._deployment("solo", 1, {})
    solo["spec"]["template"]["spec"]["containers"][0]["image"] = "pawl.lab/web:1"
    budget = workloads._budget("solo")
    budget["spec"] = {"minAvailable": 1, "selector": {"matchLabels": {"app": "solo"}}}
    return [
        budget,
        _door("solo", "solo", SOLO, 8080),
        _door("echo", "web", ECHO, 8080),
        _door("redis-door", "redis", REDIS, 6379),
        solo,
    ]


def _door(name: str, app: str, port: int, target: int) -> workloads.Object:
    service = workloads._service(name, target, port)
    service["spec"]["externalTrafficPolicy"] = "Local"
    service["spec"]["selector"] = {"app": app}
    return service


class Api:
    """The lab's API with its administrator's certificate, blocking. It is asked again while the one
    API server has no answer, or its balancer takes it for down."""

    def __init__(self, lab: Lab) -> None:
        pki: Path = lab.pki.directory
        self.context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self.context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self.url = f"https://{lab.spec.network.load_balancer}:6443"
        self._client = httpx.Client(verify=self.context, trust_env=False, timeout=15)

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        asked = f"{path}?fieldManager=bench&force=true" if method == "PATCH" else path
        found: list[Any] = []

        def answered() -> bool:
            try:
                answer = self._client.request(
                    method, self.url + asked, json=body, headers={"content-type": kind}
                )
                found.append(answer.raise_for_status().json())
            except httpx.HTTPError as error:
                raise NotReady(str(error)) from error
            return True

        wait(f"{method} {path}", answered)
        return found[0]

    def apply(self, items: Sequence[workloads.Object]) -> None:
        for item in items:
            self("PATCH", workloads.place(item), item)

    def settled(self, seconds: float = SERVES) -> None:
        """Until every Deployment and StatefulSet of the namespace has all its pods Ready."""
        end = time.monotonic() + seconds
        while True:
            found = [
                item
                for kind in ("deployments", "statefulsets")
                for item in self("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/{kind}")["items"]
            ]
            waiting = [i["metadata"]["name"] for i in found if not _rolled(i)]
            if not waiting:
                return
            assert time.monotonic() < end, f"not Ready: {waiting}"
            time.sleep(0.3)

    def doors_open(self, seconds: float = SERVES) -> None:
        """Until each pod is reached at its node's door. A node is Ready, and its pods
        too, a moment before its kube-proxy knows them: what is refused then is no move's doing."""
        end = time.monotonic() + seconds
        for app, port in (("solo", SOLO), ("web", ECHO), ("redis", REDIS)):
            for pod in self("GET", f"{PODS}?labelSelector=app={app}")["items"]:
                door = (pod["status"]["hostIP"], port)
                while not _taken(door):
                    assert time.monotonic() < end, f"{app}: nobody answers at {door}"
                    time.sleep(0.1)


def _taken(door: tuple[str, int]) -> bool:
    try:
        socket.create_connection(door, timeout=1).close()
    except OSError:
        return False
    return True


def _rolled(item: dict[str, Any]) -> bool:
    status, wanted = item.get("status", {}), item["spec"]["replicas"]
    return (
        status.get("observedGeneration", 0) >= item["metadata"]["generation"]
        and status.get("readyReplicas", 0) == status.get("replicas", 0) == wanted
        and status.get("updatedReplicas", wanted) == wanted
    )


class Measurement:
    """Between `start` and `stop` everything is watched; then `movement`, `lanes` and `redis` hold
    what was seen."""

    def __init__(self, lab: Lab, api: Api, old: Sequence[str], surging: Sequence[str]) -> None:
        self._lab, self._api = lab, api
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._over = asyncio.Event()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self.nodes: dict[str, str] = {}
        """node -> address."""
        self.joined: dict[str, float] = {}
        """node -> when it was Ready first, by the wall clock."""
        self.lanes = {n: Lane(n) for n in ("web", "backend", "solo", "websocket")}
        self.redis = Redis()
        self.placed: list[tuple[str, str]] = []
        """(node, app) of each pod when it began."""
        self.holes = 0
        """Times that a watch ended and had to go on; nothing is missed by that."""
        self.still: list[tuple[float, float]] = []
        """(from, until): this machine stood still, and with it all that it measures."""
        items = [
            i
            for kind in ("deployments", "statefulsets")
            for i in api("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/{kind}")["items"]
        ]
        desired = {i["metadata"]["name"]: int(i["spec"]["replicas"]) for i in items}
        budgets = {}
        for b in api("GET", f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets")[
            "items"
        ]:
            app, spec = b["spec"]["selector"]["matchLabels"]["app"], b["spec"]
            if "minAvailable" in spec:
                budgets[app] = int(spec["minAvailable"])
            else:
                budgets[app] = desired[app] - int(spec["maxUnavailable"])
        self.movement = Movement(
            old=frozenset(old),
            desired=desired,
            budgets=budgets,
            surging=frozenset(surging),
            began=time.monotonic(),
        )

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(30) or self._error is not None:
            raise RuntimeError("the measurement did not begin") from self._error

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)
        self.movement.until(time.monotonic())
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._watch())
        except BaseException as error:  # told by `stop`, on the caller's thread
            self._error = error
        finally:
            self._ready.set()

    async def _watch(self) -> None:
        async with httpx.AsyncClient(
            verify=self._api.context,
            trust_env=False,
            base_url=self._api.url,
            timeout=httpx.Timeout(10, read=None),
        ) as client:
            listed = (await client.get(PODS)).json()
            self.movement.began = time.monotonic()
            self.movement.first(listed["items"])
            self.placed = [(p.node, p.app) for p in self.movement.pods.values()]
            nodes = (await client.get("/api/v1/nodes")).json()
            for n in nodes["items"]:
                self._node("ADDED", n)
            tasks = [
                self._events(client, PODS, listed, self._pod),
                self._events(client, "/api/v1/nodes", nodes, self._node),
                http(self.lanes["web"], self._balanced("web"), RATE),
                http(self.lanes["backend"], self._balanced("backend"), RATE),
                http(self.lanes["solo"], self._door("solo", SOLO), RATE),
                *(
                    websocket(self.lanes["websocket"], self._door("web", ECHO, i), 2.0)
                    for i in range(SOCKETS)
                ),
                self.redis.watch(self._door("redis", REDIS)),
                self._beat(),
            ]
            running = [asyncio.create_task(t) for t in tasks]
            self._ready.set()
            over = asyncio.create_task(self._over.wait())
            done, _ = await asyncio.wait([over, *running], return_when=asyncio.FIRST_COMPLETED)
            for task in (over, *running):
                task.cancel()
            await asyncio.gather(over, *running, return_exceptions=True)
            for task in done - {over}:
                task.result()

    async def _beat(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(BEAT)
            now = time.monotonic()
            if now - last - BEAT > STILL:
                self.still.append((last, now))
            last = now

    def stood_still(self, began: float, ended: float) -> bool:
        """Whether what happened then proves nothing: this machine stood still, or had just."""
        return any(began < to + AFTERMATH and ended > at for at, to in self.still)

    async def _events(
        self,
        client: httpx.AsyncClient,
        path: str,
        listed: dict[str, Any],
        take: Callable[[str, dict[str, Any]], None],
    ) -> None:
        version = listed["metadata"]["resourceVersion"]
        while True:
            asked = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
            try:
                async with client.stream("GET", path, params=asked) as stream:
                    stream.raise_for_status()
                    async for line in stream.aiter_lines():
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise RuntimeError(f"the watch of {path} was lost: {event['object']}")
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            take(event["type"], event["object"])
            except httpx.HTTPError:
                await asyncio.sleep(0.1)
            self.holes += 1

    def _pod(self, kind: str, item: dict[str, Any]) -> None:
        self.movement.event(time.monotonic(), kind, item)

    def _node(self, kind: str, item: dict[str, Any]) -> None:
        if kind == "DELETED":
            self.nodes.pop(item["metadata"]["name"], None)
            return
        conditions = item["status"].get("conditions") or ()
        if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            self.joined.setdefault(item["metadata"]["name"], time.time())
        for a in item["status"].get("addresses", ()):
            if a["type"] == "InternalIP":
                self.nodes[item["metadata"]["name"]] = a["address"]

    def _balanced(self, name: str) -> Callable[[], Sequence[tuple[str, int]]]:
        address = str(self._lab.spec.network.load_balancer)
        return lambda: [(address, NODE_PORTS[name])]

    def _door(self, app: str, port: int, cut: int = 0) -> Callable[[], Sequence[tuple[str, int]]]:
        """Nodes with a pod that serves; with one that is leaving where none does."""

        def targets() -> Sequence[tuple[str, int]]:
            pods = [p for p in self.movement.pods.values() if p.app == app and p.ready]
            found = self._places([p for p in pods if not p.leaving]) or self._places(pods)
            turn = cut % len(found) if found else 0
            return [(a, port) for a in [*found[turn:], *found[:turn]]]

        return targets

    def _places(self, pods: Sequence[Pod]) -> list[str]:
        names = dict.fromkeys(p.node for p in pods)
        return [self.nodes[n] for n in names if n in self.nodes]

"""An API server that tells its version and readiness, but hangs on its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pawl.adapters.kube.apiserver import read_api_server
from pawl.adapters.kube.objects import VersionInfo
from pawl.core.config import HostConfig
from pawl.testing.virtual import run_virtual

HOST = HostConfig(name="cp-1", address="198.18.0.51", roles=("control-plane",))


class Hanging:
    """What is used of KubeClient, as a server answers whose etcd lacks a member."""

    async def get(self, path: str, kind: type, params: Any = None, base: str = "") -> VersionInfo:
        return VersionInfo(git_version="v1.36.0")

    async def text(self, path: str, base: str) -> tuple[int, str]:
        return 200, "[+]ping ok\n[+]etcd ok\n"

    async def lines(self, path: str, base: str) -> AsyncIterator[str]:
        await asyncio.sleep(20.0)
        yield "apiserver_current_inflight_requests 3"


def test_hanging_metrics_neither_delay_nor_spoil_an_observation() -> None:
    async def read() -> tuple[Any, Any, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        server, unread = await read_api_server(Hanging(), HOST, 6443, load=True)  # type: ignore[arg-type]
        return server, unread, loop.time() - began

    server, unread, took = run_virtual(read())
    assert (server.version, server.ready, server.inflight) == ("1.36.0", True, None)
    assert unread == ()
    assert took < 5.0

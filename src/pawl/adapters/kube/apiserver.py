"""One API server at its own address: never through the load balancer, which would hide it."""

from __future__ import annotations

import asyncio
import re

import msgspec

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.objects import VersionInfo
from pawl.core.config import HostConfig
from pawl.core.errors import PawlError, Unreachable
from pawl.core.model import ApiServer, HealthCheck, Unread

_CHECK = re.compile(r"^\[([+-])\](\S+)")
_GAUGE = "apiserver_current_inflight_requests"
METRICS_SECONDS = 2.0
"""A healthy server answers within some 10 ms. While one etcd member is down it did not within 15 s
(1.36.0): before the first byte it asks every member for its size (etcd3/metrics, Monitor)."""


def own_url(host: HostConfig, port: int) -> str:
    address = f"[{host.address}]" if ":" in host.address else host.address
    return f"https://{address}:{port}"


async def read_api_server(
    client: KubeClient, host: HostConfig, port: int, *, load: bool
) -> tuple[ApiServer, tuple[Unread, ...]]:
    """`load`: read the requests in flight too. That costs the server a whole metrics body, so it
    is asked of servers that are being drained, not of all at every look."""
    url = own_url(host, port)
    source = f"kube-apiserver on {host.name}"
    version, readiness, inflight = await asyncio.gather(
        client.get("/version", VersionInfo, base=url),
        client.text("/readyz?verbose", url),
        _inflight(client, url) if load else _nothing(),
        return_exceptions=True,
    )
    unread: dict[str, Unread] = {}
    for result, what in ((version, ""), (readiness, " readyz"), (inflight, "")):
        if isinstance(result, PawlError):
            unread.setdefault(str(result), Unread(source=source + what, why=str(result)))
        elif isinstance(result, BaseException):
            raise result
    server = ApiServer(host=host.name, url=url)
    facts: dict[str, object] = {}
    if isinstance(version, VersionInfo):
        facts |= {
            "version": version.git_version.removeprefix("v") or None,
            "emulation_version": _minor(version.emulation_major, version.emulation_minor),
            "min_compatibility_version": _minor(
                version.min_compatibility_major, version.min_compatibility_minor
            ),
        }
    if isinstance(readiness, tuple):
        status, body = readiness
        facts |= {"ready": status == 200, "checks": checks_in(body)}
    if isinstance(inflight, int):
        facts["inflight"] = inflight
    return msgspec.structs.replace(server, **facts), tuple(unread.values())


def checks_in(body: str) -> tuple[HealthCheck, ...]:
    """ "[+]etcd ok" and "[-]etcd failed: reason withheld" lines."""
    found = (_CHECK.match(line) for line in body.splitlines())
    return tuple(HealthCheck(name=m[2], ok=m[1] == "+") for m in found if m)


def _minor(major: str, minor: str) -> str | None:
    return f"{major}.{minor}" if major and minor else None


async def _inflight(client: KubeClient, url: str) -> int | None:
    """The gauge stands early in the sorted body; reading stops behind it. None when it is not told
    in time, which is no gap in an observation: no decision but the length of a wait rests on it."""
    total: float | None = None
    try:
        async with asyncio.timeout(METRICS_SECONDS):
            lines = client.lines("/metrics", url)
            async for line in lines:
                if line.startswith(_GAUGE):
                    total = (total or 0.0) + float(line.rsplit(" ", 1)[1])
                elif total is not None and not line.startswith("#"):
                    await lines.aclose()
                    break
    except (KubeRefused, Unreachable, TimeoutError):
        return None
    return None if total is None else int(total)


async def _nothing() -> None:
    return None

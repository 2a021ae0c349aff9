"""Which host a member runs on: by the address in its URLs, else by its name."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from pawl.adapters.etcd.gateway import Listed
from pawl.core.config import HostConfig


def client_url(host: HostConfig, port: int) -> str:
    address = f"[{host.address}]" if ":" in host.address else host.address
    return f"https://{address}:{port}"


def host_of(member: Listed, hosts: Iterable[HostConfig]) -> HostConfig | None:
    addresses = {urlsplit(u).hostname for u in (*member.client_urls, *member.peer_urls)}
    hosts = tuple(hosts)
    for host in hosts:
        if host.address in addresses or host.name in addresses:
            return host
    return next((h for h in hosts if h.name == member.name), None)

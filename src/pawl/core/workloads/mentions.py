"""Services that a text names: environment values, arguments, values of ConfigMaps.

Only what a template says is read, never a container's environment: Kubernetes puts the address of
every Service of the namespace in there, so it would tie everything to everything.

From strong to weak: an *address* (a qualified name, a URL, host and port of a real Service, its
cluster IP, or `$(NAME_SERVICE_HOST)`), a *host* (the bare name under a key that speaks of an
address), a *word* (the bare name under any other key, which may be a driver's name as well).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from pawl.core.workloads.facts import Mention, Service

LONGEST = 1 << 20
"""Characters of one value that are looked at; a ConfigMap holds 1 MiB at most."""
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_HOST = re.compile(rf"(?<![\w.-])({_LABEL}(?:\.{_LABEL})*)(?::(\d{{1,5}}))?(?![\w.-])")
_LINK = re.compile(r"\$[({]([A-Z][A-Z0-9_]*)_SERVICE_(?:HOST|PORT)")
_ADDRESS_KEY = re.compile(
    r"HOST|ADDR|URL|URI|SERVER|ENDPOINT|SERVICE|BROKER|UPSTREAM|DSN|BACKEND|TARGET|NODES", re.I
)
_ORDINAL = re.compile(r"-\d+$")


class Services:
    """The cluster's Services, by the ways in which a text can name them."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._named: dict[tuple[str, str], Service] = {}
        self._linked: dict[tuple[str, str], Service] = {}
        self._address: dict[str, Service] = {}
        self.in_namespace: dict[str, list[Service]] = defaultdict(list)
        for service in services:
            self._named[service.namespace, service.name] = service
            link = service.name.upper().replace("-", "_")
            self._linked[service.namespace, link] = service
            self.in_namespace[service.namespace].append(service)
            for ip in service.ips:
                self._address[ip] = service

    def get(self, namespace: str, name: str) -> Service | None:
        return self._named.get((namespace, name))

    def at(self, address: str) -> Service | None:
        return self._address.get(address)

    def named(
        self, text: str, namespace: str, key: str = "", *, loose: bool = False
    ) -> Iterator[Mention]:
        """What `text`, found under `key` in an object of `namespace`, names; each Service once,
        by its strongest mention. `loose`: a bare name anywhere counts as a host, as in the
        command of an init container that waits (`nc -z redis 6379`)."""
        best: dict[str, Mention] = {}
        order = ("address", "host", "word")
        for found in self._all(text[:LONGEST], namespace, key, loose):
            before = best.get(found.service)
            if before is None or order.index(found.how) < order.index(before.how):
                best[found.service] = found
        yield from best.values()

    def _all(self, text: str, namespace: str, key: str, loose: bool) -> Iterator[Mention]:
        for link in _LINK.finditer(text):
            service = self._linked.get((namespace, link[1]))
            if service is not None:
                yield Mention(service=service.key, how="address", text=f"{link[0]})")
        stripped = text.strip()
        for found in _HOST.finditer(text):
            host, port = found[1], found[2]
            if "." in host:
                service = self._address.get(host) or self._qualified(host, namespace)
                if service is not None:
                    yield Mention(service=service.key, how="address", text=found[0])
                continue
            service = self._named.get((namespace, host))
            if service is None:
                continue
            before = text[max(0, found.start() - 3) : found.start()]
            known = port is not None and int(port) in service.ports
            if known or before.endswith("://") or before.endswith("@"):
                yield Mention(service=service.key, how="address", text=found[0])
            elif port is not None or loose:
                yield Mention(service=service.key, how="host", text=found[0])
            elif stripped == host:
                how = "host" if _ADDRESS_KEY.search(key) else "word"
                yield Mention(service=service.key, how=how, text=host)  # type: ignore[arg-type]

    def _qualified(self, host: str, namespace: str) -> Service | None:
        """name.ns, name.ns.svc…, and a pod's own name before either or before a bare name."""
        parts = host.split(".")
        for skip in (0, 1):
            rest = parts[skip:]
            if skip and not _ORDINAL.search(parts[0]):
                break
            if len(rest) == 2 or (len(rest) > 2 and rest[2] == "svc"):
                service = self._named.get((rest[1], rest[0]))
                if service is not None:
                    return service
            if skip and len(rest) == 1:
                return self._named.get((namespace, rest[0]))
        return None

"""What a well-formed pawl.yaml may still get wrong: names, roles, addresses, files, endpoints.

Works on the raw mapping, so that these mistakes are told together with the structural ones; a
part that is malformed is passed over here, for the other walk has named it already.
"""

from __future__ import annotations

import ipaddress
import socket
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pawl.adapters.config.structure import nearest
from pawl.core.predict import SECONDS

FILES: tuple[tuple[str, str, bool], ...] = (
    # section, key, whether it holds a secret (then only its owner may read it)
    ("ssh", "key", True),
    ("ssh", "known_hosts", False),
    ("etcd", "ca", False),
    ("etcd", "cert", False),
    ("etcd", "key", True),
    ("api", "kubeconfig", True),
    ("metrics", "ca", False),
    ("metrics", "cert", False),
    ("metrics", "key", True),
    ("metrics", "token_file", True),
    ("metrics", "gates_file", False),
)
PLAIN_FILES: tuple[tuple[str, str], ...] = (
    # named by themselves or in a list; they hold no secrets
    ("policy", "packs"),
    ("findings", "corrections"),
    ("findings", "addons"),
    ("watch", "owners"),
    ("watch", "waivers"),
    ("metrics", "rules"),
)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def resolved(base: Path, given: str) -> Path:
    """`given` as an absolute path: "~" is the user's home, relative is beside the file."""
    return Path(base, Path(given).expanduser())


def problems_of(data: Mapping[str, Any], base: Path) -> list[str]:
    """Every semantic mistake, as sentences."""
    hosts = [h for h in _list(data.get("hosts")) if isinstance(h, Mapping)]
    return [
        *_hosts(hosts),
        *_files(data, base),
        *_plain_files(data, base),
        *_api(_section(data, "api")),
        *_balancer(data, hosts),
        *_layout(_section(data, "layout")),
        *_machines(_section(data, "machines")),
        *_durations(_section(_section(data, "policy"), "durations")),
        *_watch(_section(data, "watch")),
        *_metrics(_section(data, "metrics")),
    ]


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _hosts(hosts: list[Mapping[str, Any]]) -> Iterator[str]:
    if not hosts:
        yield "hosts: names no host; list at least one, with `name`, `address` and `roles`"
        return
    for key, mend in (
        ("name", "give each host its own name"),
        ("address", "two hosts cannot share an address; correct one"),
    ):
        counted = Counter(str(h[key]) for h in hosts if h.get(key))
        for value, times in counted.items():
            if times > 1:
                places = [i for i, h in enumerate(hosts) if str(h.get(key)) == value]
                where = " and ".join(f"hosts[{i}]" for i in places)
                yield f"{where}: have the same {key} `{value}`; {mend}"
    nodes = Counter(str(h.get("node") or h.get("name")) for h in hosts if h.get("name"))
    for value, times in nodes.items():
        if times > 1 and any(h.get("node") == value for h in hosts):
            yield f"hosts: {times} hosts have the node name `{value}`; each needs its own `node`"
    roles = {role for h in hosts for role in _list(h.get("roles")) if isinstance(role, str)}
    for role in ("etcd", "control-plane"):
        if role not in roles:
            yield f"hosts: no host has the role `{role}`; add it to the `roles` of its hosts"
    for index, host in enumerate(hosts):
        if host.get("roles") == []:
            yield f"hosts[{index}].roles: is empty; a host without a role is never touched"
        address = host.get("address")
        if isinstance(address, str) and not _resolvable(address):
            yield (
                f"hosts[{index}].address: `{address}` is neither an address nor a name that "
                "resolves here; write the machine's IP address"
            )


def _resolvable(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        pass
    try:
        socket.getaddrinfo(name, None)
        return True
    except OSError:
        return False


def _files(data: Mapping[str, Any], base: Path) -> Iterator[str]:
    for section, key, secret in FILES:
        given = _section(data, section).get(key)
        if not isinstance(given, str) or not given:
            continue
        path = resolved(base, given)
        where = f"{section}.{key}"
        try:
            mode = path.stat().st_mode
        except OSError:
            yield f"{where}: no file at {path}; correct the path (relative to pawl.yaml)"
            continue
        if not stat.S_ISREG(mode):
            yield f"{where}: {path} is not a file; name the file itself"
        elif secret and mode & _OTHERS:
            yield (
                f"{where}: {path} holds a secret but others may read it (mode "
                f"{stat.S_IMODE(mode):04o}); run `chmod 600 {path}`"
            )


def _plain_files(data: Mapping[str, Any], base: Path) -> Iterator[str]:
    for section, key in PLAIN_FILES:
        given = _section(data, section).get(key)
        named = [("", given)] if isinstance(given, str) and given else []
        named += [(f"[{index}]", each) for index, each in enumerate(_list(given))]
        for place, each in named:
            if isinstance(each, str) and not resolved(base, each).is_file():
                path = resolved(base, each)
                yield f"{section}.{key}{place}: no file at {path}; correct the path"


def _api(api: Mapping[str, Any]) -> Iterator[str]:
    endpoint = api.get("endpoint")
    if not isinstance(endpoint, str):
        return
    try:
        url = urlsplit(endpoint)
        host, port = url.hostname, url.port
    except ValueError as error:
        yield f"api.endpoint: `{endpoint}` is not a URL ({error}); write https://HOST:6443"
        return
    if url.scheme != "https":
        yield (
            f"api.endpoint: `{endpoint}` is not https; pawl speaks only TLS to the API, "
            f"write https://{host or 'HOST'}:{port or 6443}"
        )
    elif not host:
        yield f"api.endpoint: `{endpoint}` names no host; write https://HOST:6443"
    elif not _resolvable(host):
        yield f"api.endpoint: `{host}` does not resolve here; correct it or use an address"


def _balancer(data: Mapping[str, Any], hosts: list[Mapping[str, Any]]) -> Iterator[str]:
    balancer = _section(data, "load_balancer")
    name = balancer.get("host")
    if not isinstance(name, str):
        return
    names = [str(h.get("name")) for h in hosts]
    if name not in names:
        yield f"load_balancer.host: no host is named `{name}`; {nearest(name, names)}"


def _layout(layout: Mapping[str, Any]) -> Iterator[str]:
    for key in ("flags", "unit"):
        given = layout.get(key)
        if isinstance(given, str) and "{component}" not in given:
            yield (
                f"layout.{key}: `{given}` is the same for all components; "
                "put `{component}` where the component's name stands"
            )
    for key in ("root", "flags", "etcd_flags", "epoch"):
        given = layout.get(key)
        if isinstance(given, str) and not given.startswith("/"):
            yield f"layout.{key}: `{given}` is a path on the hosts and must start with /"


def _watch(watch: Mapping[str, Any]) -> Iterator[str]:
    deadline = watch.get("deadline")
    if isinstance(deadline, str) and deadline and not _is_day(deadline):
        yield f"watch.deadline: `{deadline}` is no day; write it as 2027-01-31, in quotes"
    listen = watch.get("listen")
    if isinstance(listen, str) and listen and not _is_endpoint(listen):
        yield f"watch.listen: `{listen}` is no address and port; write 127.0.0.1:9464"
    named = [n for n in _list(watch.get("notifiers")) if isinstance(n, Mapping)]
    counted = Counter(str(n.get("name")) for n in named if n.get("name"))
    for name, times in counted.items():
        if times > 1:
            yield f"watch.notifiers: {times} are named `{name}`; give each its own name"
        if " " in name:
            yield f"watch.notifiers: the name `{name}` has a blank; take it out"


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return bool(parts.hostname) and parts.port is not None
    except ValueError:
        return False


def _machines(machines: Mapping[str, Any]) -> Iterator[str]:
    if machines.get("provider") == "lab" and not machines.get("lab"):
        yield "machines.lab: is missing; with `provider: lab` name the lab (`pawl lab list`)"


def _durations(durations: Mapping[str, Any]) -> Iterator[str]:
    for kind in durations:
        if kind not in SECONDS:
            yield f"policy.durations.{kind}: no step is of this kind; {nearest(kind, SECONDS)}"


def _metrics(metrics: Mapping[str, Any]) -> Iterator[str]:
    for key in ("url", "alertmanager"):
        given = metrics.get(key)
        if not isinstance(given, str) or not given:
            continue
        try:
            url = urlsplit(given)
            _ = url.port
        except ValueError as error:
            yield f"metrics.{key}: `{given}` is not a URL ({error}); write https://HOST:PORT"
            continue
        if url.scheme not in ("http", "https") or not url.hostname:
            yield f"metrics.{key}: `{given}` is not a URL; write https://HOST:PORT"
        elif url.username or url.password:
            yield f"metrics.{key}: holds a password; put a token into a file and name it"
        elif metrics.get("token_file") and url.scheme != "https" and not is_loopback(url.hostname):
            yield (
                f"metrics.{key}: `{given}` is not https, so everybody on the way could read the "
                "token; use https, or leave out `token_file`"
            )
    if bool(metrics.get("cert")) != bool(metrics.get("key")):
        yield "metrics.cert: a client certificate needs both `cert` and `key`"


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this very machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

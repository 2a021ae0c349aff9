"""What hosts have in use, read by two or three remote commands each.

First the places that do not depend on anything (units and their files, static pods, processes);
then the files that the flags found there name; then files that those name. A component that runs in
a container is read through its own process's root, so a path means what it means to the component.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterable, Sequence
from importlib import resources

from pawl.adapters.hosts.connection import Connections
from pawl.adapters.hosts.reader import components_of
from pawl.adapters.manifests.trees import Unparsable, from_yaml
from pawl.core.config import HostConfig, LayoutConfig
from pawl.core.errors import Unreachable
from pawl.core.inuse import documents as docs
from pawl.core.inuse.facts import Document, FlagUse, HostUse, SELinux, Variable
from pawl.core.inuse.units import Unit, flags_of, merged
from pawl.core.lint.node import Node
from pawl.core.model import Unread
from pawl.ports.inuse import Reading

SCRIPT = resources.files("pawl.adapters.hosts").joinpath("inuse.sh").read_text()
AT_ONCE = 16
"""Hosts read at the same time: each costs this machine two SSH channels and some parsing."""
_ROLES = ("control-plane", "worker")
_MAY_BE_ABSENT = ("bootstrap-kubeconfig",)
_NOT_READ_HERE = ("etcd", "kubectl")
"""etcd's flags are judged by its own checks (PAWL-E012); kubectl has none."""


class UseReader:
    """`InUse` over SSH connections that the other readers share."""

    def __init__(self, connections: Connections, layout: LayoutConfig, timeout: float) -> None:
        self._connections = connections
        self._layout = layout
        self._timeout = timeout

    async def read(self, hosts: Sequence[HostConfig]) -> tuple[Reading, ...]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(host: HostConfig) -> Reading:
            async with slots:
                try:
                    return await self._host(host)
                except Unreachable as error:
                    unread = Unread(source="configuration", why=str(error))
                    return Reading(use=HostUse(host=host.name, unread=(unread,)))

        wanted = [h for h in hosts if any(r in _ROLES for r in h.roles)]
        return tuple(await asyncio.gather(*(one(h) for h in wanted)))

    async def _host(self, host: HostConfig) -> Reading:
        arguments: list[str] = []
        for component in components_of(host.roles):
            if component not in _NOT_READ_HERE:
                arguments += [
                    component,
                    self._layout.unit_of(component),
                    self._layout.flags_file(component),
                ]
        gathered = Gathered(host.name, self._layout.flags_variable)
        gathered.first(await self._run(host.name, "first", arguments))
        wanted = gathered.wanted()
        while wanted:
            asked = [word for w in wanted for word in (w.mode, str(w.pid), w.path)]
            gathered.files(wanted, await self._run(host.name, "files", asked))
            wanted = gathered.further()
        return gathered.reading()

    async def _run(self, host: str, what: str, arguments: Sequence[str]) -> str:
        argv = [*self._connections.prefix, "/bin/sh", "-s", "--", what, *arguments]
        ran = await self._connections.run(host, argv, timeout=self._timeout, stdin=SCRIPT)
        if not f"\n{ran.out}".rstrip().endswith("\nend"):
            raise Unreachable(
                f"{host} did not finish telling what it has in use (code {ran.code}): "
                f"{ran.err.strip()[-300:]}"
            )
        return ran.out


class Wanted:
    """A file that a flag or another file names. `pid`: whose file system it lies in, 0: the
    host's."""

    __slots__ = ("component", "mode", "named_by", "path", "pid", "role")

    def __init__(
        self, component: str, role: str, path: str, mode: str, pid: int, named_by: str
    ) -> None:
        self.component, self.role, self.path = component, role, path
        self.mode, self.pid, self.named_by = mode, pid, named_by


class Gathered:
    """Lines of the script become facts, whatever their order."""

    def __init__(self, host: str, variable: str) -> None:
        self._host, self._variable = host, variable
        self._units: dict[str, Unit] = {}
        self._flags: list[FlagUse] = []
        self._running: dict[int, tuple[FlagUse, ...]] = {}
        self._variables: list[Variable] = []
        self._documents: list[Document] = []
        self._contents: dict[str, bytes] = {}
        self._unread: list[Unread] = []
        self._runtime = ""
        self._selinux: SELinux = ""
        self._asked: set[tuple[str, str]] = set()
        self._environments: set[str] = set()

    def first(self, out: str) -> None:
        for line in out.splitlines():
            key, *values = line.split("\t")
            match key, values:
                case "file", [kind, component, path, data]:
                    self._file(kind, component, path, base64.b64decode(data))
                case "process", [component, pid, data]:
                    words = base64.b64decode(data).decode("utf-8", "replace").split("\0")
                    self._running[int(pid)] = flags_of(
                        component, [((w, 0), f"process {pid}") for w in words if w]
                    )
                case "variable", [component, pid, data]:
                    name, _, value = (
                        base64.b64decode(data).decode("utf-8", "replace").partition("=")
                    )
                    self._variables.append(
                        Variable(component=component, name=name, value=value, path=f"process {pid}")
                    )
                case "runtime", [name, words]:
                    if found := re.search(r"\bv?(\d+\.\d+\.\d+\S*)", words):
                        self._runtime = f"{name} {found[1]}"
                case "selinux", ["disabled" | "permissive" | "enforcing" as state]:
                    self._selinux = state
                case "unread", [path, why]:
                    self._unread.append(Unread(source=path, why=why))
        for unit in self._units.values():
            self._flags += unit.flags()
            self._variables += unit.variables()
        self._flags = merged(self._flags, self._running)
        told = {(v.component, v.name, v.value) for v in self._variables if v.line}
        self._variables = [
            v for v in self._variables if v.line or (v.component, v.name, v.value) not in told
        ]

    def _file(self, kind: str, component: str, path: str, data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        if kind == "manifest":
            for node in self._trees(path, data):
                flags, variables = docs.manifest(node, path)
                self._flags += flags
                self._variables += variables
            return
        unit = self._units.setdefault(component, Unit(component))
        if kind == "fragment":
            unit.fragment(text, path)
        elif path not in self._environments:
            # The layout's flags file is mostly one that the unit names too.
            self._environments.add(path)
            if kind == "flags" and not unit.flags():
                # A unit that was not found, or starts the component by another way: the file that
                # pawl itself would write is what counts.
                unit.fragment(f"[Service]\nExecStart={component} ${self._variable}\n", path)
            unit.environment(text, path)

    def wanted(self) -> list[Wanted]:
        """The files that flags name."""
        out: list[Wanted] = []
        for component, role, path, secret in docs.files_named(self._flags):
            out.append(self._want(component, role, path, "secret" if secret else "plain", ""))
        for flag in self._flags:
            if flag.component == "kubelet" and flag.name == "config-dir":
                out.append(self._want("kubelet", "config", flag.value, "directory", ""))
            if flag.name in _MAY_BE_ABSENT:
                for wanted in out:
                    if wanted.path == flag.value:
                        wanted.named_by = flag.name
        return out

    def _want(self, component: str, role: str, path: str, mode: str, named_by: str) -> Wanted:
        self._asked.add((component, path))
        return Wanted(component, role, path, mode, self._whose(component, path), named_by)

    def _whose(self, component: str, path: str) -> int:
        """The process of the component that names this path too, 0 for none: another process of
        the same name may be somebody else's (a test cluster in containers)."""
        for pid, flags in self._running.items():
            if any(f.component == component and path in f.value for f in flags):
                return pid
        return 0

    def further(self) -> list[Wanted]:
        """Files that configuration files name: of admission plugins, and another place for static
        pods is not looked into (its components are seen as processes)."""
        out: list[Wanted] = []
        for document in self._documents:
            if document.role != "admission":
                continue
            for setting in document.settings:
                path = setting.value
                if not re.fullmatch(r"plugins\[\d+\]\.path", setting.key):
                    continue
                if not path.startswith("/"):
                    path = f"{document.path.rsplit('/', 1)[0]}/{path}"
                if (document.component, path) not in self._asked:
                    out.append(
                        self._want(document.component, "admission plugin", path, "plain", "")
                    )
        return out

    def files(self, wanted: Sequence[Wanted], out: str) -> None:
        for line in out.splitlines():
            key, *values = line.split("\t")
            match key, values:
                case "got", [number, data]:
                    ask = wanted[int(number)]
                    self._document(ask, ask.path, base64.b64decode(data))
                case "member", [number, path, data]:
                    self._document(wanted[int(number)], path, base64.b64decode(data))
                case "hits", [number, data]:
                    ask = wanted[int(number)]
                    text = base64.b64decode(data).decode("utf-8", "replace")
                    self._documents.append(
                        docs.secret_document(text, ask.component, ask.role, ask.path)
                    )
                case "missing", [number, why]:
                    ask = wanted[int(number)]
                    if ask.named_by not in _MAY_BE_ABSENT:
                        self._unread.append(
                            Unread(source=f"{ask.path} ({ask.role} of {ask.component})", why=why)
                        )
                case "unread", [path, why]:
                    self._unread.append(Unread(source=path, why=why))

    def _document(self, ask: Wanted, path: str, data: bytes) -> None:
        self._contents[path] = data
        for node in self._trees(path, data):
            self._documents.append(docs.document(node, ask.component, ask.role, path))

    def _trees(self, path: str, data: bytes) -> Iterable[Node]:
        try:
            return list(from_yaml(data))
        except Unparsable as error:
            self._unread.append(Unread(source=path, why=f"line {error.line}: {error}"))
            return ()

    def reading(self) -> Reading:
        use = HostUse(
            host=self._host,
            flags=tuple(self._flags),
            documents=tuple(self._documents),
            variables=tuple(self._variables),
            runtime=self._runtime,
            selinux=self._selinux,
            unread=tuple(dict.fromkeys(self._unread)),
        )
        return Reading(use=use, contents=self._contents)

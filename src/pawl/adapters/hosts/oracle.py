"""Asking a target's binary that lies in the cache of this machine about another host's flags.

The question is that of `flagcheck`: a binary with the flags in use and one more that its validation
always refuses, so that it stops before it listens, connects or writes. Here, beside that:

  the configuration files in use are copied into a directory of our own (0700, files 0600), their
  flags point there, and it is removed afterwards, whatever happens;
  a throw-away key stands in for the service account's signing key, which never leaves its host;
  `--cert-dir` points into that directory too, because a server without a certificate makes one;
  what depends on the machine that is asked (its cgroups, files that only the host has) is no
  complaint: facts of the host are judged by the checks.

Hosts whose flags and files differ only in their own name and address are asked for once.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from pawl.adapters.hosts import flagcheck
from pawl.core.checks import FlagComplaint
from pawl.core.config import HostConfig
from pawl.core.errors import ArtifactError, Unreachable
from pawl.core.inuse.blame import blame
from pawl.core.inuse.documents import FILES
from pawl.core.version import Version
from pawl.ports.artifacts import Artifacts
from pawl.ports.inuse import Reading

SECONDS = 60.0
"""A probe takes 0.2 s on an idle core."""
SIGNING_KEY = "service-account-signing-key-file"
_SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_NOWHERE = "pawl-no-kubeconfig"

_OF_THIS_MACHINE = re.compile(
    r"(?:invalid configuration: )?kubelet is configured to not run on a host using cgroup v1"
    r"(?:\. cgroup v1 support is unsupported and will be removed in a future release)?"
    r"|[^,\[\]]*\b(?:no such file or directory|could not find file)[^,\[\]]*"
)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A command line and the files that it needs, by the name that stands for them in it."""

    component: str
    flags: tuple[str, ...]
    files: dict[str, bytes] = {}


class CachedOracle:
    """`Oracle` over the artefact cache. `directory` is where its own directories are made (the
    system's place for temporary files by default)."""

    def __init__(
        self, artifacts: Artifacts, hosts: Sequence[HostConfig], directory: Path | None = None
    ) -> None:
        self._artifacts = artifacts
        self._directory = directory
        self._address = {h.name: h.address for h in hosts}
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)

    async def ask(
        self, readings: Sequence[Reading], component: str, version: str
    ) -> tuple[FlagComplaint, ...] | None:
        wanted = Version.parse(version)
        if wanted not in await self._artifacts.held(component):
            return None
        try:
            artifact = await self._artifacts.fetch(component, wanted)
        except ArtifactError:
            return None
        binary = artifact.file(component).path
        alike: dict[str, list[Reading]] = {}
        for reading in readings:
            question = question_of(reading, component)
            if question.flags:
                host = reading.use.host
                key = likeness(question, host, self._address.get(host, ""))
                alike.setdefault(key, []).append(reading)
        answers = await asyncio.gather(
            *(self._answer(binary, question_of(group[0], component)) for group in alike.values())
        )
        return tuple(
            FlagComplaint(
                reading.use.host,
                component,
                version,
                complaint,
                blame(reading.use, component, complaint),
            )
            for group, said in zip(alike.values(), answers, strict=True)
            for reading in group
            for complaint in said
        )

    async def _answer(self, binary: Path, question: Question) -> tuple[str, ...]:
        async with self._slots:
            with tempfile.TemporaryDirectory(prefix="pawl-ask-", dir=self._directory) as place:
                flags = await asyncio.to_thread(laid_out, question, Path(place))
                said = await _probe(binary, question.component, flags, None, place)
                if not said and question.component == "kube-scheduler" and question.files:
                    said = await _probe(
                        binary, question.component, flags, flagcheck.SCHEDULER_CONFIG, place
                    )
                return tuple(s.replace(f"{place}/", "") for s in said)


def likeness(question: Question, name: str, address: str) -> str:
    """The same text for hosts whose questions differ in their own name and address alone."""
    text = msgspec.json.encode(question).decode()
    for own, word in ((address, "{address}"), (name, "{name}")):
        text = re.sub(rf"(?<![\w.-]){re.escape(own)}(?![\w.-])", word, text) if own else text
    return text


def question_of(reading: Reading, component: str) -> Question:
    """The component's flags on this host and the configuration files that they name."""
    flags = tuple(f.flag for f in reading.use.of(component))
    roots = [
        value
        for flag in reading.use.of(component)
        if flag.name in FILES or flag.name == "config-dir"
        for value in [flag.value.strip("\"'")]
    ]
    files = {
        path: data
        for path, data in reading.contents.items()
        if any(path == root or path.startswith(f"{root.rstrip('/')}/") for root in roots)
    }
    return Question(component=component, flags=flags, files=files)


def laid_out(question: Question, place: Path) -> list[str]:
    """Write the files below `place` and return the flags that point to them."""
    place.chmod(0o700)
    for path, data in question.files.items():
        target = place / "files" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.touch(mode=0o600)
        target.write_bytes(_blind(data, place) if question.component == "kube-scheduler" else data)
    flags: list[str] = []
    for flag in question.flags:
        name, _, value = flag.partition("=")
        bare = name.lstrip("-").replace("_", "-")
        value = value.strip("\"'")
        if bare == SIGNING_KEY:
            key = place / "signing.key"
            key.touch(mode=0o600)
            key.write_bytes(_throw_away_key())
            flag = f"{name}={key}"
        elif bare in FILES or bare == "config-dir":
            copy = place / "files" / value.lstrip("/")
            flag = f"{name}={copy}" if copy.exists() else flag
        elif bare == "cert-dir":
            continue
        flags.append(flag)
    if question.component in _SERVERS:
        flags.append(f"--cert-dir={place}/made")
    if question.component == "kube-apiserver" and not any(
        f.startswith("--advertise-address=") for f in flags
    ):
        # It would look for an address of this machine, which may have none to offer.
        flags.append("--advertise-address=198.18.0.1")
    return flags


def _blind(data: bytes, place: Path) -> bytes:
    """A scheduler's configuration whose kubeconfig is not there: it cannot reach anybody."""
    try:
        document = yaml.safe_load(data)
    except yaml.YAMLError:
        return data
    if not isinstance(document, dict):
        return data
    connection = document.get("clientConnection")
    connection = dict(connection) if isinstance(connection, dict) else {}
    document["clientConnection"] = {**connection, "kubeconfig": str(place / _NOWHERE)}
    return msgspec.json.encode(document)


def _throw_away_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


async def _probe(
    binary: Path,
    component: str,
    flags: Sequence[str],
    probe: flagcheck.Probe | None,
    place: str,
) -> tuple[str, ...]:
    poison = (probe or flagcheck.probe_of(component, flags)).poison
    process = await asyncio.create_subprocess_exec(
        str(binary),
        *flags,
        *poison,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"},
        cwd=place,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, _ = await process.communicate()
    except TimeoutError:
        raise Unreachable(f"it gave no answer within {SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = flagcheck.complaints(
        component, flags, process.returncode or 0, out.decode("utf-8", "replace"), probe
    )
    return tuple(rest for s in said if (rest := of_the_host(s)))


def of_the_host(complaint: str) -> str:
    """The complaint without what is about the machine that was asked; "" when nothing is left."""
    parts = _OF_THIS_MACHINE.sub("", complaint)
    rest = re.sub(r"(?:\s*,\s*)+", ", ", parts).strip(" ,[]")
    return rest if re.search(r"\w", rest) else ""

"""The versions in which objects lie in etcd, read from etcd itself.

Only resources of which an old version may lie there are read, none of them secret, page by page by
serializable ranges (the member's own data, no quorum asked), and of each value its first bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pawl.adapters.etcd.gateway import Gateway, Values
from pawl.core.errors import PawlError, Unreachable
from pawl.core.flags import value_of
from pawl.core.scan.encoded import Suspect
from pawl.core.scan.facts import Counted, Encoded, Missed, ScanFact

PAGE = 200
EXAMPLES = 3
PROTOBUF, ENCRYPTED = b"k8s\x00", b"k8s:enc:"
"""What values begin with: apimachinery's runtime/serializer/protobuf, apiserver's
storage/value/encrypt. JSON, of custom resources and of etcd's first years, begins with "{"."""
PREFIX = "/registry"


class NotSeen(Exception):
    """A value whose version cannot be told; the text says why."""


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """Where an API server keeps its objects: etcd's prefix, and the resources ("group/resource")
    that it keeps in another etcd."""

    prefix: str = PREFIX
    elsewhere: tuple[str, ...] = ()


def of_flags(flags: Sequence[str]) -> Store:
    """As an API server's own flags say."""
    overrides = value_of(flags, "--etcd-servers-overrides") or ""
    return Store(
        prefix="/" + (value_of(flags, "--etcd-prefix") or PREFIX).strip("/"),
        elsewhere=tuple(o.partition("#")[0].strip("/") for o in overrides.split(",") if o),
    )


async def read(
    gateway: Gateway,
    urls: Sequence[str],
    store: Store,
    suspects: Sequence[Suspect],
    limit: int = PAGE,
) -> tuple[ScanFact, ...]:
    """What lies in a version that the target cannot read. Of etcd's members the first that answers
    is asked, for `limit` objects at a time; each resource fails for itself."""
    facts: list[ScanFact] = []
    unseen: dict[str, list[str]] = {}
    for suspect in suspects:
        if f"{suspect.group}/{suspect.resource}" in store.elsewhere:
            unseen.setdefault("lies in an etcd of its own (--etcd-servers-overrides)", []).append(
                suspect.name
            )
            continue
        try:
            found, why = await _resource(gateway, urls, store, suspect, limit)
        except PawlError as error:
            facts.append(Missed(where=f"etcd/{suspect.name}", why=str(error)))
            if isinstance(error, Unreachable):
                break  # no member answers: the rest would say the same
            continue
        facts += found
        if why:
            unseen.setdefault(why, []).append(suspect.name)
    facts += [
        Missed(where="etcd", why=f"in which version {', '.join(names)} lie is not seen: {why}")
        for why, names in unseen.items()
    ]
    return tuple(facts)


async def _resource(
    gateway: Gateway, urls: Sequence[str], store: Store, suspect: Suspect, limit: int
) -> tuple[list[ScanFact], str]:
    root = f"{store.prefix}/{suspect.resource}/".encode()
    start, end = root, root[:-1] + bytes([root[-1] + 1])
    counts: dict[str, int] = {}
    examples: dict[str, list[str]] = {}
    total, unseen = 0, ""
    while True:
        page = await _page(gateway, urls, start, end, limit)
        for pair in page.kvs:
            total += 1
            try:
                version = api_version(pair.value)
            except NotSeen as error:
                unseen = str(error)
                continue
            if version in suspect.versions:
                counts[version] = counts.get(version, 0) + 1
                if len(named := examples.setdefault(version, [])) < EXAMPLES:
                    named.append(pair.key[len(root) :].decode(errors="replace"))
        if not page.more or not page.kvs:
            break
        start = page.kvs[-1].key + b"\0"
    facts: list[ScanFact] = [Counted(what="values in etcd", objects=total)] if total else []
    facts += [
        Encoded(
            resource=suspect.resource,
            kind=suspect.kind,
            api_version=version,
            count=count,
            examples=tuple(examples[version]),
        )
        for version, count in sorted(counts.items())
    ]
    return facts, unseen


async def _page(
    gateway: Gateway, urls: Sequence[str], start: bytes, end: bytes, limit: int
) -> Values:
    error = Unreachable("no etcd member is known")
    for url in urls:
        try:
            return await gateway.page(url, start, end, limit)
        except Unreachable as failed:
            error = failed
    raise error


def api_version(value: bytes) -> str:
    """The apiVersion that a stored value names. Raises NotSeen."""
    if value.startswith(PROTOBUF):
        # runtime.Unknown: field 1 is its TypeMeta, of which field 1 is the apiVersion.
        try:
            return _field(_field(value[len(PROTOBUF) :])).decode()
        except (IndexError, ValueError) as error:
            raise NotSeen("it is no protobuf that pawl can read") from error
    if value.startswith(b"{"):
        try:
            return msgspec.json.decode(value, type=_TypeMeta).api_version
        except msgspec.DecodeError as error:
            raise NotSeen("it is no JSON that pawl can read") from error
    if value.startswith(ENCRYPTED):
        raise NotSeen("it is encrypted at rest")
    raise NotSeen("it is written in a way that pawl cannot read")


class _TypeMeta(msgspec.Struct, rename="camel"):
    api_version: str = ""


def _field(message: bytes) -> bytes:
    """Field 1 of a protobuf message, which must come first and be length-delimited."""
    if message[0] != 0x0A:
        raise ValueError("field 1 does not come first")
    length, at = _varint(message, 1)
    if at + length > len(message):
        raise IndexError("cut off")
    return message[at : at + length]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at

"""What a release's own OpenAPI document says: kinds, how they are served, and their fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]
Schema = dict[str, dict[str, str]]
"""definition -> field -> type; a "!" at the end of the type marks a required field."""

_RESOURCE = re.compile(
    r"^/(?:api/(?P<core>v[^/]+)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))/"
    r"(?:namespaces/\{namespace\}/)?(?P<resource>[a-z]+)(?P<rest>/.*)?$"
)


def load(kubernetes: Path) -> Document:
    document: Document = json.loads((kubernetes / "api/openapi-spec/swagger.json").read_bytes())
    return document


def gvk(entry: dict[str, str]) -> str:
    return f"{entry['group']}/{entry['version']}/{entry['kind']}"


def kinds(document: Document) -> dict[str, dict[str, Any]]:
    """ "group/version/Kind" -> resource and what it is: an object, a review or a subresource.

    A review is created and never stored (POST alone); a subresource type appears only below
    another resource, also of another group (policy/v1 Eviction stands below v1 pods).
    """
    found: dict[str, dict[str, Any]] = {}
    for path, operations in document["paths"].items():
        match = _RESOURCE.match(path)
        if not match or "/watch/" in path:
            continue
        group, version = match["group"] or "", match["version"] or match["core"]
        rest = [p for p in (match["rest"] or "").split("/") if p and not p.startswith("{")]
        for verb, operation in operations.items():
            if not isinstance(operation, dict):
                continue
            entry = operation.get("x-kubernetes-group-version-kind")
            own = entry and (entry["group"], entry["version"]) == (group, version)
            if not entry or not (own or rest):
                continue
            row = found.setdefault(gvk(entry), {"resource": match["resource"], "verbs": set()})
            if rest:
                row["verbs"].add("sub")
            else:
                row["verbs"].add(f"{verb}:{operation.get('x-kubernetes-action', '')}")
                row["resource"] = match["resource"]
    out: dict[str, dict[str, Any]] = {}
    for name, row in sorted(found.items()):
        verbs = row["verbs"]
        if verbs == {"sub"}:
            what = "subresource"
        elif verbs - {"sub"} == {"post:post"}:
            what = "review"
        else:
            what = "object"
        out[name] = {"resource": row["resource"], "what": what}
    return out


def definitions(document: Document) -> dict[str, str]:
    """ "group/version/Kind" -> definition name."""
    found = {}
    for name, definition in document["definitions"].items():
        entries = definition.get("x-kubernetes-group-version-kind", ())
        if len(entries) == 1:  # DeleteOptions and WatchEvent name every group
            found[gvk(entries[0])] = name
    return found


def schema(document: Document) -> Schema:
    """Every definition's fields. A type is "string", "[]string", "{}string" or "#definition"."""
    out: Schema = {}
    for name, definition in document["definitions"].items():
        required = set(definition.get("required", ()))
        out[short(name)] = {
            field: _type(node) + ("!" if field in required else "")
            for field, node in sorted(definition.get("properties", {}).items())
        }
    return out


def short(definition: str) -> str:
    """Definition names without the part that all of them share."""
    return definition.removeprefix("io.k8s.").removeprefix("api.")


def _type(node: dict[str, Any]) -> str:
    if "$ref" in node:
        return "#" + short(node["$ref"].rsplit("/", 1)[1])
    if node.get("type") == "array":
        return "[]" + _type(node["items"])
    if isinstance(extra := node.get("additionalProperties"), dict):
        return "{}" + _type(extra)
    return str(node.get("type", "any"))


def target(kind: str) -> str | None:
    """The definition that a type leads to, through lists and maps; None for a plain type."""
    bare = kind.rstrip("!")
    while bare.startswith(("[]", "{}")):
        bare = bare[2:]
    return bare[1:] if bare.startswith("#") else None


def paths_to(schema: Schema, root: str, field: tuple[str, str]) -> Iterator[str]:
    """Every path below `root` that leads to `field` of a definition; recursion is cut."""

    def walk(definition: str, prefix: str, seen: tuple[str, ...]) -> Iterator[str]:
        for name, kind in schema.get(definition, {}).items():
            here = f"{prefix}.{name}" if prefix else name
            if (definition, name) == field:
                yield here
            below = target(kind)
            if below and below not in seen:
                mark = "[]" if kind.startswith("[]") else "{}" if kind.startswith("{}") else ""
                yield from walk(below, here + mark, (*seen, below))

    yield from walk(root, "", (root,))


def differences(schema: Schema, old: str, later: Schema, new: str, limit: int = 40) -> list[str]:
    """What a manifest of `old` may hold that `new` refuses: fields gone, of another type, or newly
    required. `schema` holds `old`, `later` holds `new`. Status is the
    controller's and is left out. Sorted; [] means the version is enough."""
    out: list[str] = []

    def walk(a: str, b: str, prefix: str, seen: frozenset[tuple[str, str]]) -> None:
        mine, theirs = schema.get(a, {}), later.get(b, {})
        for name, kind in mine.items():
            here = f"{prefix}.{name}" if prefix else name
            if here == "status":
                continue
            if name not in theirs:
                out.append(f"{here} is gone")
                continue
            other = theirs[name]
            if other.endswith("!") and not kind.endswith("!"):
                out.append(f"{here} is required")
            below, below2 = target(kind), target(other)
            if _shape(kind) != _shape(other) or (below is None) != (below2 is None):
                out.append(f"{here} has another type")
            elif below and below2 and below != below2 and (below, below2) not in seen:
                walk(below, below2, here, seen | {(below, below2)})
        for name, other in theirs.items():
            if name not in mine and other.endswith("!"):
                out.append(f"{f'{prefix}.{name}' if prefix else name} is required")

    walk(old, new, "", frozenset({(old, new)}))
    return sorted(out)[:limit]


def _shape(kind: str) -> str:
    bare = kind.rstrip("!")
    return bare.split("#")[0] + "#" if "#" in bare else bare

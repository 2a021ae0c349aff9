"""Static pod manifests and configuration files as facts, from trees that know their lines.

Which files a component reads is told by its own flags (`FILES`): only those are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pawl.core.inuse.facts import Document, FlagUse, Setting, Variable
from pawl.core.inuse.units import Token, component_of, flags_of, tells
from pawl.core.lint.node import Node

FILES: dict[str, str] = {
    "config": "config",
    "audit-policy-file": "audit policy",
    "admission-control-config-file": "admission",
    "authentication-config": "authentication",
    "authorization-config": "authorization",
    "tracing-config-file": "tracing",
    "egress-selector-config-file": "egress",
    "image-credential-provider-config": "credential provider",
    "leader-migration-config": "leader migration",
}
"""Flags that name a file of component configuration, and what it is for."""

SECRET_FILES: dict[str, str] = {
    "encryption-provider-config": "encryption",
    "kubeconfig": "exec plugin",
    "authentication-kubeconfig": "exec plugin",
    "authorization-kubeconfig": "exec plugin",
    "bootstrap-kubeconfig": "exec plugin",
    "authentication-token-webhook-config-file": "exec plugin",
    "authorization-webhook-config-file": "exec plugin",
    "audit-webhook-config-file": "exec plugin",
}
"""Flags that name a file with secrets: only kinds, versions and provider names leave the host."""

PROVIDERS = ("identity", "aescbc", "aesgcm", "secretbox", "kms")
LONGEST = 2000
"""Settings kept of one document; a real component configuration has below 200."""

_SECRET_KEY = re.compile(r"token|secret|password|header|certificate-authority-data", re.I)
_ETCD_CONFIG = "etcd"


def files_named(flags: Iterable[FlagUse]) -> Iterator[tuple[str, str, str, bool]]:
    """(component, role, path, secret) of every file that the flags name."""
    seen: set[tuple[str, str, str]] = set()
    for flag in flags:
        role, secret = FILES.get(flag.name, ""), False
        if not role and flag.name in SECRET_FILES:
            role, secret = SECRET_FILES[flag.name], True
        path = flag.value.strip("\"'")
        key = (flag.component, role, path)
        if role and path.startswith("/") and flag.component != _ETCD_CONFIG and key not in seen:
            seen.add(key)
            yield flag.component, role, path, secret


def document(node: Node, component: str, role: str, path: str) -> Document:
    """A parsed configuration file, with its scalars but for what looks like a secret."""
    settings: list[Setting] = []
    for key, scalar in _flat(node, ""):
        if len(settings) == LONGEST:
            break
        if key not in ("apiVersion", "kind") and not _SECRET_KEY.search(key):
            settings.append(Setting(key=key, value=str(scalar.value), line=scalar.line))
    head = node.get("apiVersion") or node.get("kind")
    return Document(
        component=component,
        role=role,
        path=path,
        api_version=node.text("apiVersion"),
        kind=node.text("kind"),
        line=head.line if head else node.line,
        settings=tuple(settings),
    )


def _flat(node: Node, above: str) -> Iterator[tuple[str, Node]]:
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _flat(child, f"{above}.{key}" if above else key)
    elif isinstance(node.value, list):
        for number, child in enumerate(node.value):
            yield from _flat(child, f"{above}[{number}]")
    elif node.value is not None:
        yield above, node


def manifest(node: Node, path: str) -> tuple[tuple[FlagUse, ...], tuple[Variable, ...]]:
    """The flags and variables of a static pod that runs a control-plane component."""
    flags: list[FlagUse] = []
    variables: list[Variable] = []
    containers = node.get("spec", "containers")
    for container in containers.items() if containers else []:
        words: list[Token] = []
        for part in ("command", "args"):
            for item in (container.get(part) or Node(None, 0)).items():
                if isinstance(item.value, str):
                    words.append((item.value, item.line))
        component = component_of([w for w, _ in words])
        if not component:
            continue
        flags += flags_of(component, [(w, path) for w in words])
        for item in (container.get("env") or Node(None, 0)).items():
            if tells(name := item.text("name")):
                variables.append(
                    Variable(
                        component=component,
                        name=name,
                        value=item.text("value"),
                        path=path,
                        line=item.line,
                    )
                )
    return tuple(flags), tuple(variables)


_HIT = re.compile(
    r"""^(?P<line>\d+):\s*["']?(?:(?P<key>apiVersion|kind)["']?\s*:\s*["']?(?P<value>[\w./-]+)"""
    r"""|(?P<provider>[a-z]+)["']?\s*:)"""
)


def secret_document(hits: str, component: str, role: str, path: str) -> Document:
    """A file with secrets, from the lines `NUMBER:MATCH` that were let out of the host."""
    api = kind = ""
    first = 1
    settings: list[Setting] = []
    for hit in hits.splitlines():
        match = _HIT.match(hit)
        if match is None:
            continue
        line = int(match["line"])
        if match["provider"]:
            if match["provider"] in PROVIDERS:
                settings.append(Setting(key="provider", value=match["provider"], line=line))
        elif match["key"] == "kind" and not kind:
            kind = match["value"]
        elif match["key"] == "apiVersion":
            if "client.authentication.k8s.io" in match["value"]:
                settings.append(Setting(key="exec.apiVersion", value=match["value"], line=line))
            elif not api:
                api, first = match["value"], line
    return Document(
        component=component,
        role=role,
        path=path,
        api_version=api,
        kind=kind,
        line=first,
        settings=tuple(settings),
    )

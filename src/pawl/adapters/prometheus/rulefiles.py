"""Alerting rules out of files: Prometheus rule files, and the PrometheusRule objects in which
kubernetes-mixin is often kept. Recording rules are the server's business and are passed over."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from pawl.core.errors import ConfigError
from pawl.core.verify.rules import Rule

_DURATION = re.compile(r"(\d+)(ms|[smhdwy])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


def load_rules(paths: Sequence[str], expected: Collection[str] = ()) -> tuple[Rule, ...]:
    """All alerting rules but the `expected` ones. Raises ConfigError with every mistake."""
    rules: list[Rule] = []
    problems: list[str] = []
    for path in paths:
        try:
            documents = list(yaml.safe_load_all(Path(path).read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"{path}: cannot be read: {' '.join(str(error).split())}")
            continue
        found = False
        for document in documents:
            for group in _groups(document):
                found = True
                for rule in group.get("rules") or ():
                    if isinstance(rule, dict) and rule.get("alert"):
                        made = _rule(rule, Path(path).name, problems)
                        if made is not None and made.name not in expected:
                            rules.append(made)
        if not found:
            problems.append(f"{path}: holds no `groups`, so it is no file of Prometheus rules")
    if problems:
        raise ConfigError("metrics.rules", problems)
    return tuple(rules)


def _groups(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        return
    if isinstance(document.get("items"), list):  # a List of PrometheusRules
        for item in document["items"]:
            yield from _groups(item)
    spec = document.get("spec") if document.get("kind") == "PrometheusRule" else document
    groups = spec.get("groups") if isinstance(spec, dict) else None
    for group in groups if isinstance(groups, list) else ():
        if isinstance(group, dict):
            yield group


def _rule(rule: dict[str, Any], source: str, problems: list[str]) -> Rule | None:
    name, expr = str(rule["alert"]), rule.get("expr")
    if not isinstance(expr, str) or not expr.strip():
        problems.append(f"{source}: the rule {name} has no `expr`")
        return None
    notes = rule.get("annotations") or {}
    summary = str(notes.get("summary") or notes.get("description") or notes.get("message") or "")
    return Rule(
        name=name,
        expr=expr,
        hold=seconds(str(rule.get("for") or "0s")),
        labels={str(k): str(v) for k, v in (rule.get("labels") or {}).items()},
        summary="" if "{{" in summary else " ".join(summary.split()).rstrip("."),
        source=source,
    )


def seconds(text: str) -> float:
    """A duration of Prometheus ("15m", "1h30m") in seconds."""
    return sum(int(n) * _SECONDS[unit] for n, unit in _DURATION.findall(text))

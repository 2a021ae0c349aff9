"""The numbers of a watch in Prometheus' text format (version 0.0.4).

prometheus.io/docs/instrumenting/exposition_formats: label values escape backslash, quote and line
feed. Findings are counted, not listed: a name for each would be a series for each.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from pawl.core.watch.letters import NOBODY
from pawl.core.watch.state import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(state: State, *, version: str, cluster: str, deadline: str = "") -> str:
    out: list[str] = []

    def family(name: str, kind: str, text: str) -> None:
        out.append(f"# HELP {name} {text}")
        out.append(f"# TYPE {name} {kind}")

    def sample(name: str, value: float, **labels: str) -> None:
        inside = ",".join(f'{k}="{_escape(v)}"' for k, v in {"cluster": cluster, **labels}.items())
        out.append(
            f"{name}{{{inside}}} {value:g}" if value < 1e6 else f"{name}{{{inside}}} {value}"
        )

    family("pawl_build_info", "gauge", "The pawl that watches.")
    sample("pawl_build_info", 1, version=version)
    family("pawl_watch_findings", "gauge", "Findings that stand now.")
    counted = Counter(
        (str(o.sighting.severity), o.sighting.code, o.sighting.owner or NOBODY, o.sighting.minor)
        for o in state.open.values()
    )
    for (severity, code, owner, minor), count in sorted(counted.items()):
        sample("pawl_watch_findings", count, severity=severity, code=code, owner=owner, minor=minor)
    family("pawl_watch_untold_findings", "gauge", "Findings that no owner has been told of yet.")
    sample("pawl_watch_untold_findings", sum(not o.told for o in state.open.values()))
    family("pawl_watch_rounds_total", "counter", "Looks at the cluster, by how they ended.")
    for outcome in ("complete", "incomplete", "failed"):
        sample("pawl_watch_rounds_total", state.rounds.get(outcome, 0), outcome=outcome)
    if state.last:
        family("pawl_watch_last_round_timestamp_seconds", "gauge", "When the last look ended.")
        sample("pawl_watch_last_round_timestamp_seconds", state.last.at)
        family("pawl_watch_last_round_seconds", "gauge", "How long the last look took.")
        sample("pawl_watch_last_round_seconds", state.last.seconds)
        family("pawl_watch_unread_sources", "gauge", "Sources the last look could not read.")
        sample("pawl_watch_unread_sources", len(state.last.unread))
    family("pawl_watch_letters_total", "counter", "Letters to owners, by notifier and outcome.")
    for outcome, letters in (("delivered", state.delivered), ("failed", state.failed)):
        for notifier, count in sorted(letters.items()):
            sample("pawl_watch_letters_total", count, notifier=notifier, outcome=outcome)
    if deadline:
        day = datetime.fromisoformat(deadline).replace(tzinfo=UTC)
        family("pawl_watch_deadline_timestamp_seconds", "gauge", "Day of the planned upgrade.")
        sample("pawl_watch_deadline_timestamp_seconds", day.timestamp())
    return "\n".join(out) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

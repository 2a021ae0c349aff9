"""Clean rolls as the lab's Prometheus recorded them, served again by a real Prometheus: the judge
finds them clean, though something in each looks like trouble, and finds real trouble in them.

A recording (pawl demo, 1.36.0 to 1.37.0, a reading each 5 s) holds the points at which a series
began, changed, or ended, in seconds from its start.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_prometheus import ask, binary, prometheus

from pawl.core.config import MetricsConfig
from pawl.core.verify.catalog import CATALOG
from pawl.core.verify.judge import judge
from pawl.core.verify.reading import Reading
from pawl.engine.measuring import Measurer, Situation

RECORDED = Path(__file__).parents[1] / "fixtures" / "series"
STEP = 5
GATES = {g.name: g for g in CATALOG}


class Roll:
    """A recording: `series` are (name, labels, {second: value}), from 0 to `length`."""

    def __init__(self, name: str) -> None:
        data = json.loads((RECORDED / f"{name}.json").read_text())
        self.length: int = data["length"]
        self.new: frozenset[str] = frozenset(data["new"])
        self.series: list[tuple[str, dict[str, str], dict[int, float]]] = [
            (s["name"], s["labels"], _whole(s["points"])) for s in data["series"]
        ]

    @contextmanager
    def served(self, directory: Path) -> Iterator[tuple[str, float]]:
        """A Prometheus that holds it, and when it ended."""
        end = int(time.time()) // STEP * STEP
        lines = [
            f"{name}{{{','.join(f'{k}={json.dumps(v)}' for k, v in labels.items())}}} {value} "
            f"{end - self.length + at}"
            for name, labels, points in self.series
            for at, value in points.items()
        ]
        (directory / "roll.txt").write_text("\n".join([*lines, "# EOF\n"]))
        subprocess.run(
            [
                *(binary("promtool"), "tsdb", "create-blocks-from", "--quiet", "openmetrics"),
                *(str(directory / "roll.txt"), str(directory / "data")),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for url in prometheus(directory, {"scrape_configs": []}):
            yield url, float(end)


def _whole(points: Sequence[tuple[int, float | None]]) -> dict[int, float]:
    """Each reading from the changes alone; None is where the series ended."""
    made: dict[int, float] = {}
    for (at, value), (until, _) in pairwise(points):
        if value is not None:
            made |= dict.fromkeys(range(at, until, STEP), value)
    return made


def found(roll: Roll, gate: str, misled: str, directory: Path) -> tuple[Reading, float]:
    """What the judge says, and the highest value of an expression that was misled."""
    with roll.served(directory) as (url, end):
        since = end - roll.length
        situation = Situation(new=roll.new, old=frozenset(), since=since, begun=since, now=end)
        config = MetricsConfig(url=url, step=STEP, rate_window=60)
        made = ask(url, lambda m: Measurer(m, config, [GATES[gate]]).measure(situation))
        series: Any = ask(url, lambda m: m.range(misled, since, end, STEP))
    assert made.errors == ()
    (reading,) = judge(made.sides)
    return reading, max(v for s in series for v in s.values)


ALL_REQUESTS = (
    'sum(rate(apiserver_request_total{code=~"5.."}[60s])) / sum(rate(apiserver_request_total[60s]))'
)
SLI = (
    "histogram_quantile(0.99, sum by (node, le) "
    "(rate(kubelet_pod_start_sli_duration_seconds_bucket[5m])))"
)


def test_what_a_draining_api_server_says_to_its_balancer_is_no_error(tmp_path: Path) -> None:
    reading, misled = found(Roll("api-servers-swapped"), "api-errors", ALL_REQUESTS, tmp_path)
    assert misled > 4 * GATES["api-errors"].limit
    assert reading.verdict == "pass", reading.why
    assert "at worst 0 %" in reading.why


def test_errors_of_those_who_ask_for_something_fail_in_the_same_roll(tmp_path: Path) -> None:
    roll = Roll("api-servers-swapped")
    name, labels, points = roll.series[0]
    errors = {at: float(at) for at in points}  # one a second, of some 25 requests
    roll.series.append((name, {**labels, "code": "503"}, errors))
    reading, _ = found(roll, "api-errors", ALL_REQUESTS, tmp_path)
    assert reading.verdict == "fail", reading.why


def test_a_pod_whose_start_the_kubelet_noted_late_did_not_start_slowly(tmp_path: Path) -> None:
    reading, misled = found(Roll("pod-noted-late"), "pod-start", SLI, tmp_path)
    assert misled == pytest.approx(119.4)
    assert reading.verdict == "pass", reading.why


def test_a_pod_that_starts_slowly_by_both_clocks_fails(tmp_path: Path) -> None:
    roll = Roll("pod-noted-late")
    for name, labels, points in roll.series:
        if "_sli_" not in name and labels.get("le", "+Inf") in ("120", "+Inf"):
            points |= {at: value + 1 for at, value in points.items() if at >= 75}
    reading, _ = found(roll, "pod-start", SLI, tmp_path)
    assert reading.verdict == "fail", reading.why
    assert "on worker-3" in reading.why

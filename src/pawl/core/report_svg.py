"""The report's pictures: inline SVG on one shared time axis, made by pure functions.

Everything stands under everything else at the same instant: steps, versions, lanes, etcd. Colours
are CSS classes, so that the page's light and dark themes apply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from pawl.core.evidence import STALL_MS
from pawl.core.evidence_summary import Bucket
from pawl.core.report import Report
from pawl.core.report_tables import clock

LEFT, RIGHT, WIDTH = 190.0, 30.0, 1100.0
ROW, LANE = 18.0, 54.0
FLOOR_MS, CEILING_MS = 1.0, 10_000.0


class Canvas:
    """Rows are added from top to bottom; `x` maps time to the shared axis."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, max(end, start + 1e-3)
        self.y = 22.0
        self.parts: list[str] = []

    def x(self, at: float) -> float:
        share = (at - self.start) / (self.end - self.start)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def label(self, text: str, height: float) -> None:
        self.parts.append(
            f'<text class="l" x="{LEFT - 8:.0f}" y="{self.y + height / 2 + 4:.1f}">'
            f"{escape(text)}</text>"
        )

    def bar(self, a: float, b: float, y: float, height: float, css: str, title: str) -> None:
        x = self.x(a)
        self.parts.append(
            f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{max(self.x(b) - x, 1.5):.1f}" '
            f'height="{height:.1f}" rx="2"><title>{escape(title)}</title></rect>'
        )

    def title(self, text: str) -> None:
        self.y += 14
        self.parts.append(f'<text class="h" x="0" y="{self.y:.1f}">{escape(text)}</text>')
        self.y += 8


def level(ms: float) -> float:
    """0 at 1 ms, 1 at 10 s, logarithmic."""
    clipped = min(max(ms, FLOOR_MS), CEILING_MS)
    return math.log(clipped / FLOOR_MS) / math.log(CEILING_MS / FLOOR_MS)


def timeline(r: Report) -> str:
    c = Canvas(r.start, r.end)
    c.title("Steps")
    groups: dict[tuple[str, str], list[int]] = {}
    for i, s in enumerate(r.steps):
        if s.start is not None:
            groups.setdefault((s.phase, s.kind), []).append(i)
    for (phase, kind), indexes in groups.items():
        c.label(f"{kind}" + (f" ×{len(indexes)}" if len(indexes) > 1 else ""), ROW)
        for i in indexes:
            s = r.steps[i]
            end = s.end or r.end
            css = "bad" if s.state == "failed" else f"p-{phase}"
            c.bar(s.start or r.start, end, c.y + 3, ROW - 6, css, f"{s.id}: {s.state}. {s.why}")
            for w in s.waits:
                c.bar(w.start, w.end, c.y + 7, ROW - 14, "wait", f"{s.id} waits: {w.why}")
        c.y += ROW
    for a in r.approvals:
        if a.at >= r.start:
            c.parts.append(
                f'<path class="ap" d="M{c.x(a.at):.1f} 30v{c.y - 30:.1f}">'
                f"<title>{escape(f'{a.name} approved by {a.by}')}</title></path>"
            )
    if r.tracks:
        c.title("Versions")
        old = {t.changes[0].version for t in r.tracks}
        for t in sorted(r.tracks, key=lambda t: (t.component, t.host)):
            c.label(f"{t.component} {t.host}", ROW)
            for i, change in enumerate(t.changes):
                if change.version == "gone":
                    continue
                end = t.changes[i + 1].at if i + 1 < len(t.changes) else r.end
                css = (
                    "v0" if change.version in old else ("v1" if " as " in change.version else "v2")
                )
                c.bar(change.at, end, c.y + 3, ROW - 6, css, f"{t.component} {change.version}")
                if c.x(end) - c.x(change.at) > 60:
                    c.parts.append(
                        f'<text class="v" x="{c.x(change.at) + 4:.1f}" y="{c.y + 13:.1f}">'
                        f"{escape(change.version)}</text>"
                    )
            c.y += ROW
    if r.measured:
        c.title("Slowest request at each instant, 1 ms to 10 s; the line is 100 ms; red failed")
        for lane in r.measured.lanes:
            _lane(c, lane.name, lane.buckets)
        _lane(c, "control (the prober)", r.measured.control_buckets)
        if e := r.measured.etcd:
            c.title("etcd from outside")
            c.label("write gaps", LANE)
            for gap in e.gaps:
                height = level(gap.ms) * (LANE - 8)
                css = "slow" if gap.ms > STALL_MS else "ok"
                end = gap.at + gap.ms / 1000
                c.bar(gap.at, end, c.y + LANE - 4 - height, height, css, f"{gap.ms:.0f} ms")
            c.y += LANE
            c.label("leader", ROW)
            for i, leader in enumerate(e.leaders):
                end = e.leaders[i + 1].at if i + 1 < len(e.leaders) else r.end
                name = f"{leader.host or leader.member_id}, term {leader.term}"
                c.bar(leader.at, end, c.y + 3, ROW - 6, "v1" if i % 2 else "v0", name)
                if c.x(end) - c.x(leader.at) > 90:
                    c.parts.append(
                        f'<text class="v" x="{c.x(leader.at) + 4:.1f}" y="{c.y + 13:.1f}">'
                        f"{escape(name)}</text>"
                    )
            c.y += ROW
            for host in sorted({*e.ids_before, *e.ids_after}):
                c.label(f"{host} down", ROW)
                for d in e.down:
                    if d.host == host:
                        said = f"{host} down for {d.seconds:.2f} s"
                        c.bar(d.at, d.at + d.seconds, c.y + 3, ROW - 6, "bad", said)
                c.y += ROW
        for hole in r.measured.holes:
            said = "not measured: the prober was silent"
            c.bar(hole.start, hole.end, 30, c.y - 30, "hole", said)
    return _framed(c)


def _lane(c: Canvas, name: str, buckets: Sequence[Bucket]) -> None:
    c.label(name if buckets else f"{name}: not measured", LANE)
    base = c.y + LANE - 4
    line = base - level(STALL_MS) * (LANE - 8)
    c.parts.append(f'<path class="ref" d="M{LEFT} {line:.1f}H{WIDTH - RIGHT}"/>')
    width = max((WIDTH - LEFT - RIGHT) / 240 - 0.6, 1.0)
    for b in buckets:
        height = max(level(b.worst_ms) * (LANE - 8), 1.0)
        css = "bad" if b.failed else ("slow" if b.worst_ms > STALL_MS else "ok")
        said = f"{clock(b.at)} {name}: {b.requests} requests, slowest {b.worst_ms:.0f} ms, " + (
            f"{b.failed} failed" if b.failed else "none failed"
        )
        c.parts.append(
            f'<rect class="{css}" x="{c.x(b.at):.1f}" y="{base - height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}"><title>{escape(said)}</title></rect>'
        )
    c.y += LANE


def _framed(c: Canvas) -> str:
    grid: list[str] = []
    for i in range(7):
        at = c.start + (c.end - c.start) * i / 6
        grid.append(
            f'<path class="g" d="M{c.x(at):.1f} 22V{c.y:.1f}"/><text class="t" '
            f'x="{c.x(at):.1f}" y="14">{clock(at)}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {c.y + 8:.0f}" role="img" '
        f'aria-label="Timeline of the run">{"".join(grid + c.parts)}</svg>'
    )

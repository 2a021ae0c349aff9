"""A plan as text for a person: pure strings, of which the command line colours some.

Three depths: `summary` (a few lines), `table` (one line for each step), `text` (everything that
should be read before an approval: why, risk, time, disruption, the exit that is open).
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import asdict

from pawl.core import predict
from pawl.core.actions import PointOfNoReturn, StageBinaries
from pawl.core.findings import Finding
from pawl.core.knowledge.rows import key
from pawl.core.pace import Pace
from pawl.core.plan import Phase, Plan, Step
from pawl.core.workloads.obstacles import RESOLUTIONS

PHASES: dict[Phase, str] = {
    "preflight": "Preflight",
    "etcd": "etcd",
    "control-plane": "Control plane",
    "nodes": "Nodes",
    "add-ons": "kube-proxy and add-ons",
    "landed": "Landed",
}


LOOSENED = {
    "scale": RESOLUTIONS["scale"],
    "restart": "its own rolling update, once",
    "always-allow": RESOLUTIONS["always-allow"],
}


def duration(seconds: float) -> str:
    """90 -> "1 min 30 s", 7200 -> "2 h"; below ten seconds with one decimal."""
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else ""]
    parts.append(f"{left} s" if left and not hours else "")
    return " ".join(p for p in parts if p)


def what(plan: Plan) -> str:
    """ "Kubernetes 1.36.0 -> 1.37.0, etcd 3.5.33 -> 3.6.14 (in place)"."""
    t = plan.target
    parts = []
    if t.kubernetes:
        now = ", ".join(plan.source.versions.get("kube-apiserver", ())) or "unknown"
        parts.append(f"Kubernetes {now} -> {t.kubernetes}")
    if t.etcd:
        now = ", ".join(plan.source.versions.get("etcd", ())) or "unknown"
        parts.append(f"etcd {now} -> {t.etcd} ({t.etcd_strategy})")
    if t.only:
        parts.append(f"only {', '.join(t.only)}")
    if t.pool:
        parts.append(f"pool {t.pool}")
    return ", ".join(parts) or "nothing asked for"


def summary(plan: Plan) -> list[str]:
    """What it does, how long it takes, who must approve what."""
    soaks = sum(s.seconds for s in plan.steps if s.action.__class__.__name__ == "Soak")
    wall = predict.wall_seconds(plan.steps)
    lines = [
        f"Plan {plan.digest[:12]} for {plan.cluster}: {what(plan)}",
        f"{len(plan.steps)} steps, about {duration(wall)}"
        + (f", of which {duration(soaks)} is soaking." if soaks else "."),
    ]
    gates = [s.action for s in plan.steps if isinstance(s.action, PointOfNoReturn)]
    lines.extend(f"Point of no return {g.approval}: {g.loses}" for g in gates)
    return lines


def _in_phases(steps: Iterable[Step]) -> dict[Phase, list[Step]]:
    phases: dict[Phase, list[Step]] = {}
    for step in steps:
        phases.setdefault(step.phase, []).append(step)
    return phases


def findings(found: Iterable[Finding]) -> list[str]:
    """One line for each finding, then its place, remedy and waiver; what is about now first, then
    hop by hop."""
    lines: list[str] = []
    ordered = sorted(found, key=lambda f: key(f.minor) if f.minor else (0, 0))
    for f in ordered:
        at = f"at {f.minor}: " if f.minor else ""
        word = "waived" if f.waived else f.severity.value
        lines.append(f"{word:<8} {f.code}  {at}{f.subject}: {f.message}")
        if f.where and f.where not in f.subject:
            lines.append(f"{'':<8} see {f.where}")
        lines.append(f"{'':<8} {f.waived or f.remedy}")
    return lines


def notes(plan: Plan) -> list[str]:
    """Every urgent release note on the way: its verdict, the evidence, who acknowledged it."""
    lines: list[str] = []
    for j in plan.notes:
        first = j.item.text.splitlines()[0]
        text = first if len(first) <= 150 else f"{first[:147]}…"
        said = f"acknowledged by {j.acknowledged}" if j.acknowledged else j.verdict
        lines.append(f"{j.item.version} {j.item.id}  {text}")
        lines.append(f"  {said}: {'; '.join(j.evidence)}" if j.evidence else f"  {said}")
    return lines


def columns(plan: Plan) -> list[tuple[str, str, str, str, str]]:
    """(number, step, predicted time, exit open afterwards, approval) of each step."""
    return [
        (
            str(number),
            step.id,
            duration(step.seconds) if step.seconds else "",
            "" if step.exit.name == "none" else step.exit.name,
            step.approval,
        )
        for number, step in enumerate(plan.steps, 1)
    ]


def table(plan: Plan) -> str:
    """One line for each step, in columns."""
    head = ("#", "STEP", "TIME", "WAY BACK", "APPROVAL")
    rows = [head, *columns(plan)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _step_lines(number: int, step: Step, shown: dict[str, str]) -> list[str]:
    time = f"  [{duration(step.seconds)}]" if step.seconds else ""
    lines = [f"{number:>4}. {step.id}{time}"]
    if isinstance(step.action, PointOfNoReturn):
        lines.append(f"      {'!':<11}{step.action.loses}")
    if step.approval:
        lines.append(f"      {'approval':<11}{step.approval}")
    for name, value in (
        ("why", step.why),
        ("risk", step.risk),
        ("disruption", "" if step.disruption == "none" else step.disruption),
    ):
        if value and shown.get(name) != value:
            lines.append(f"      {name:<11}{value}")
        shown[name] = value
    exit_text = f"{step.exit.name}: {step.exit.how}"
    if step.exit.name != "none" and shown.get("exit") != exit_text:
        lines.append(f"      {'way back':<11}{exit_text}")
    shown["exit"] = exit_text
    return lines


def text(plan: Plan) -> str:
    """The whole plan to be read. What repeats from one step to the next is said once."""
    lines = summary(plan)
    if plan.findings:
        lines += ["", "Findings", *(f"  {line}" for line in findings(plan.findings))]
    if plan.loosens:
        lines += ["", "Loosened while pods move, and given back"]
        lines += [f"  {x.workload}: {LOOSENED[x.what]}" for x in plan.loosens]
    if own := {k: v for k, v in asdict(plan.pace).items() if v != getattr(Pace(), k)}:
        told = ", ".join(f"{name} {value:g}" for name, value in own.items())
        lines += ["", f"Pods move at a pace of your own: {told} (policy.pace)"]
    if plan.notes:
        lines += ["", "Urgent release notes", *(f"  {line}" for line in notes(plan))]
    if plan.asked:
        lines += ["", f"Asked whether they take what is in use: {', '.join(plan.asked)}"]
    for left in plan.left_out:
        lines += ["", f"Not looked at: {left.what} ({left.why})"]
    number, shown, when = 0, {"exit": ""}, predict.schedule(plan.steps)
    for phase, steps in _in_phases(plan.steps).items():
        total = duration(predict.busy_seconds(when[s.id] for s in steps))
        lines += ["", f"{PHASES[phase]}  ({len(steps)} steps, {total})"]
        shown = {"exit": shown["exit"]}
        staged: list[StageBinaries] = []
        for step in steps:
            number += 1
            if isinstance(step.action, StageBinaries):
                staged.append(step.action)
                if staged[1:]:
                    lines.append(f"{number:>4}. {step.id}")
                    continue
            lines += _step_lines(number, step, shown)
    lines += ["", f"Digest {plan.digest}", f"Approve it with: pawl approve {plan.digest[:12]}"]
    return "\n".join(lines)

"""The inventory as rows, CSV, Markdown and one self-contained page. JSON is the struct itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from html import escape

from pawl.core.findings import Finding
from pawl.core.inventory.report import Caller, Client, Inventory

COLUMNS = ("workload", "owner", "version", "chart", "client_go", "seen", "verdict", "next_move")
CSV_COLUMNS = (
    "namespace", "kind", "name", "service_account", "owner", "owner_by", "seen", "addon", "version",
    "images", "release", "chart", "kube_version", "go", "client_go", "access", "bindings", "token",
    "crds", "callers", "verdicts", "moves", "notes",
)  # fmt: skip


def row(client: Client) -> dict[str, str]:
    """One line of the table for people."""
    return {
        "workload": client.ref,
        "owner": client.owner or "?",
        "version": " ".join(p for p in (client.addon, client.version) if p) or "-",
        "chart": client.chart or "-",
        "client_go": client.client_minor or "-",
        "seen": "+".join(client.seen),
        "verdict": verdicts(client) or "-",
        "next_move": moves(client) or "-",
    }


def verdicts(client: Client) -> str:
    """ "1.36 supported, 1.37 untested"."""
    return ", ".join(f"{hop.minor} {hop.verdict}" for hop in client.hops)


def moves(client: Client) -> str:
    """ "1.21 before 1.36"."""
    return ", ".join(f"{h.move_to} {h.when} {h.minor}" for h in client.hops if h.move_to)


def summary(inventory: Inventory) -> str:
    found = inventory.clients
    addons = sum(bool(c.addon) for c in found)
    nobody = sum(not c.owner for c in found)
    hops = " -> ".join(inventory.path)
    return (
        f"{len(found)} clients of the API ({addons} known add-ons, {nobody} without an owner), "
        f"{len(inventory.outside)} callers from outside; hops {hops}; "
        f"{len(inventory.findings)} findings, {len(inventory.questions)} questions"
    )


def as_csv(inventory: Inventory) -> str:
    """One line for each client; lists are joined by "; "."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for c in inventory.clients:
        token = "" if c.token is None else "yes" if c.token else "no"
        writer.writerow(
            {key: _safe(value) for key, value in {
                "namespace": c.namespace, "kind": c.kind, "name": c.name,
                "service_account": c.service_account, "owner": c.owner, "owner_by": c.owner_by,
                "seen": "; ".join(c.seen), "addon": c.addon, "version": c.version,
                "images": "; ".join(c.images), "release": c.release, "chart": c.chart,
                "kube_version": c.kube_version, "go": c.go, "client_go": c.client_go,
                "access": c.access, "bindings": "; ".join(c.bindings), "token": token,
                "crds": "; ".join(c.crds),
                "callers": "; ".join(f"{a.agent} ({a.count})" for a in c.callers),
                "verdicts": verdicts(c), "moves": moves(c), "notes": "; ".join(c.notes),
            }.items()}
        )  # fmt: skip
    return out.getvalue()


def _safe(value: str) -> str:
    """A spreadsheet takes a cell that begins so for a formula: user agents come from clients."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


Section = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""A title, column heads, and rows of plain text."""


def sections(inventory: Inventory) -> list[Section]:
    """The parts of the page, in order; empty ones are left out."""
    parts: list[Section] = [
        (
            "Findings",
            ("Severity", "Code", "What", "Why", "Do"),
            [_finding(f) for f in inventory.findings],
        ),
        ("Questions to owners", ("Question",), [(q,) for q in inventory.questions]),
        (
            "Clients",
            ("Workload", "Owner", "Version", "Chart", "client-go", "Seen", "May", "Hops", "Move",
             "CRDs"),
            [_client(c) for c in inventory.clients],
        ),
        (
            "Hops of known add-ons",
            ("Workload", "Hop", "Runs", "Verdict", "Why", "Source"),
            [
                (c.ref, f"{h.start} to {h.minor}", h.version or "?", h.verdict, h.why,
                 f"{h.source}, {h.as_of}" if h.source else "-")
                for c in inventory.clients
                for h in c.hops
            ],
        ),
        (
            "Callers from outside",
            ("User", "Agent", "Calls", "Last", "Deprecated APIs"),
            [_caller(c) for c in inventory.outside],
        ),
        ("CRDs that nobody here owns", ("CRD",), [(name,) for name in inventory.orphans]),
        ("Not read", ("Source", "Why"), [(u.source, u.why) for u in inventory.unread]),
        ("Notes", ("Note",), [(note,) for note in inventory.notes]),
    ]  # fmt: skip
    return [part for part in parts if part[2]]


def _finding(f: Finding) -> tuple[str, ...]:
    do = f"{f.remedy} ({f.waived})" if f.waived else f.remedy
    return (str(f.severity), f.code, f.subject, f.message, do)


def _client(c: Client) -> tuple[str, ...]:
    return (
        c.ref,
        f"{c.owner} (by {c.owner_by})" if c.owner else "?",
        " ".join(p for p in (c.addon, c.version) if p) or "-",
        c.chart or "-",
        c.client_go or "-",
        ", ".join(c.seen),
        c.access or "-",
        verdicts(c) or "-",
        moves(c) or "-",
        ", ".join(c.crds) or "-",
    )


def _caller(c: Caller) -> tuple[str, ...]:
    apis = ", ".join(f"{api} (gone in {removed})" for api, removed in c.deprecated)
    return (c.user, c.agent, str(c.count), c.last or "-", apis or "-")


def markdown(inventory: Inventory) -> str:
    out = ["# What depends on the Kubernetes API", "", summary(inventory) + ".", ""]
    for title, heads, rows in sections(inventory):
        out += [f"## {title}", "", _line(heads), "|" + "---|" * len(heads)]
        out += [_line(cells) for cells in rows]
        out.append("")
    return "\n".join(out)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


STYLE = """
:root{color-scheme:light dark;--bg:#f7f8fa;--card:#fff;--ink:#1b2230;--dim:#667085;--line:#e4e7ec}
@media (prefers-color-scheme:dark){:root{--bg:#10141b;--card:#181e28;--ink:#e6eaf2;--dim:#8d99ae;
--line:#2a3240}}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1280px;margin:auto;padding:24px 16px 64px}p{color:var(--dim)}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:12px 18px;
margin:16px 0;overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13.5px}
h1{font-size:24px}h2{font-size:17px}th{text-align:left;color:var(--dim)}
td,th{padding:5px 12px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
.blocker,.breaks{color:#d1344b;font-weight:600}.warning,.unsupported,.untested{color:#b7791f}
.supported{color:#12805c}
"""
_WORDS = {"blocker", "warning", "breaks", "unsupported", "untested", "supported"}


def page(inventory: Inventory) -> str:
    """No script, nothing fetched, light and dark."""
    parts = []
    for title, heads, rows in sections(inventory):
        body = "".join(f"<tr>{''.join(_cell(c) for c in cells)}</tr>" for cells in rows)
        head = "".join(f"<th>{escape(h)}</th>" for h in heads)
        parts.append(
            f"<section><h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table></section>"
        )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>What depends on the Kubernetes API</title><style>{STYLE}</style><main>"
        f"<h1>What depends on the Kubernetes API</h1><p>{escape(summary(inventory))}.</p>"
        f"{''.join(parts)}</main></html>\n"
    )


def _cell(text: str) -> str:
    css = f" class={text}" if text in _WORDS else ""
    return f"<td{css}>{escape(text)}</td>"

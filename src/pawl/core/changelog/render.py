"""The checklist as Markdown and as one self-contained HTML page."""

from __future__ import annotations

import html

from pawl.core.changelog.item import Checklist, Judged, Verdict

_ORDER: tuple[tuple[Verdict, str], ...] = (
    ("applies", "Applies to this cluster"),
    ("needs a person", "Needs a person"),
    ("does not apply", "Does not apply"),
)


def summary(checklist: Checklist) -> str:
    counts = {v: sum(j.verdict == v for j in checklist.judged) for v, _ in _ORDER}
    words = ", ".join(f"{n} {v}" for v, n in counts.items())
    return f"{len(checklist.judged)} notes: {words}; {len(checklist.open)} block until acknowledged"


def markdown(checklist: Checklist) -> str:
    out = [
        f"# Kubernetes {checklist.source} to {checklist.target}",
        "",
        summary(checklist) + ".",
        "",
    ]
    for name in checklist.unread:
        out += [f"**Not read:** {name}", ""]
    for verdict, title in _ORDER:
        chosen = [j for j in checklist.judged if j.verdict == verdict]
        if chosen:
            out += [f"## {title} ({len(chosen)})", ""]
            out += [_entry(j) for j in chosen] + [""]
    return "\n".join(out) + "\n"


def _entry(j: Judged) -> str:
    item = j.item
    done = "x" if j.acknowledged or j.verdict == "does not apply" else " "
    first, *more = item.text.splitlines()
    lines = [
        f"- [{done}] **{item.category}** {first}",
        *(f"      {m.strip()}" for m in more if m.strip()),
    ]
    links = ", ".join(f"[#{pr}]({link})" for pr, link in zip(item.prs, item.links, strict=True))
    where = [f"`{item.id}`", f"v{item.version}", item.section]
    if item.also:
        where.append("also in " + ", ".join(f"v{v}" for v in item.also))
    where += [links] * bool(links) + [f"SIG {', '.join(item.sigs)}"] * bool(item.sigs)
    lines.append(f"  <br>{' · '.join(where)}")
    lines += [f"  <br>→ {e}" for e in j.evidence]
    if j.acknowledged:
        lines.append(f"  <br>acknowledged by {j.acknowledged}")
    return "\n".join(lines)


def page(checklist: Checklist) -> str:
    rows = []
    for verdict, title in _ORDER:
        chosen = [j for j in checklist.judged if j.verdict == verdict]
        if not chosen:
            continue
        rows.append(f"<h2>{title} ({len(chosen)})</h2>")
        for j in chosen:
            item = j.item
            links = " ".join(
                f'<a href="{link}">#{pr}</a>' for pr, link in zip(item.prs, item.links, strict=True)
            )
            checked = " checked" if j.acknowledged or verdict == "does not apply" else ""
            facts = "".join(f"<li>{html.escape(e)}</li>" for e in j.evidence)
            ack = f"<p>acknowledged by {html.escape(j.acknowledged)}</p>" if j.acknowledged else ""
            rows.append(
                f'<section class="{item.category.split()[0]}">'
                f'<label><input type="checkbox"{checked}>'
                f" <b>{item.category}</b> {html.escape(item.text)}</label>"
                f"<p><code>{item.id}</code> v{item.version} · {html.escape(item.section)} {links} "
                f"{html.escape(', '.join(item.sigs))}</p><ul>{facts}</ul>{ack}</section>"
            )
    unread = "".join(f"<p class=urgent>Not read: {html.escape(u)}</p>" for u in checklist.unread)
    title = f"Kubernetes {checklist.source} to {checklist.target}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>"
        "body{font:16px/1.45 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}"
        "section{border-left:4px solid #bbb;padding:.2rem 1rem;margin:1rem 0}"
        "label{white-space:pre-line}"
        ".urgent,.action,.security{border-color:#c0392b}"
        "p,ul{color:#555;font-size:.9rem;margin:.2rem 0}"
        "</style>"
        f"<h1>{title}</h1><p>{summary(checklist)}</p>{unread}{''.join(rows)}</html>\n"
    )

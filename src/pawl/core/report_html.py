"""The report as one self-contained page: no script, nothing fetched, light and dark, any width."""

from __future__ import annotations

from html import escape

from pawl.core.report import Report
from pawl.core.report_svg import timeline
from pawl.core.report_tables import duration, notes, tables
from pawl.core.verify import picture

STYLE = """
:root{color-scheme:light dark;--bg:#f7f8fa;--card:#fff;--ink:#1b2230;--dim:#667085;--line:#e4e7ec;
--ok:#8fb8d8;--good:#12805c;--slow:#d99a1c;--bad:#d1344b;--v0:#c3cad6;--v1:#8aa7e8;--v2:#3fae8a;
--etcd:#4f7cd8;--cp:#8a63d2;--nodes:#2f9e8f}
@media (prefers-color-scheme:dark){:root{--bg:#10141b;--card:#181e28;--ink:#e6eaf2;--dim:#8d99ae;
--line:#2a3240;--ok:#3d6c8f;--good:#3ecf9a;--slow:#e0ad3d;--bad:#f0586e;--v0:#475063;--v1:#4c6bb8;
--v2:#23795f;--etcd:#5b8def;--cp:#a47cf0;--nodes:#3cb9a8}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}main{max-width:1180px;margin:auto;padding:24px 16px 64px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:17px;margin:0 0 10px}.meta{color:var(--dim);margin:0}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px;
margin:16px 0;overflow-x:auto}.verdict{border-left:6px solid var(--slow);font-size:18px}
.verdict.good{border-left-color:var(--good)}.verdict.bad{border-left-color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:10px}
.tile{background:var(--card);border:1px solid var(--line);border-top:3px solid var(--slow);
border-radius:10px;padding:10px 12px}.tile.good{border-top-color:var(--good)}
.tile.bad{border-top-color:var(--bad)}.tile b{display:block;font-size:19px;line-height:1.25}
.tile span{color:var(--dim);font-size:12.5px}table{border-collapse:collapse;width:100%;
font-size:13.5px}th{text-align:left;color:var(--dim);font-weight:600}
td,th{padding:5px 12px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
svg{display:block;min-width:760px;width:100%;height:auto}svg text{font:11px system-ui,sans-serif;
fill:var(--dim)}svg .l{text-anchor:end}svg .t{text-anchor:middle}svg .h{font-weight:700;
font-size:12px;fill:var(--ink)}svg .v{fill:var(--ink)}.g{stroke:var(--line)}
.ref{stroke:var(--slow);stroke-dasharray:3 3;opacity:.6}.ap{stroke:var(--good);stroke-width:1.5}
.ok{fill:var(--ok)}.slow{fill:var(--slow)}.bad{fill:var(--bad)}.v0{fill:var(--v0)}.v1{fill:var(--v1)}
.v2{fill:var(--v2)}svg.gate{min-width:0;max-width:320px}.gate polyline{fill:none;stroke-width:1.5}
.gate .new{stroke:var(--cp)}.gate .old{stroke:var(--dim)}.gate .bound{stroke:var(--bad);
stroke-dasharray:3 3}.pics{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));
gap:14px}.pics figure{margin:0}.pics figcaption{font-size:12.5px;color:var(--dim)}
.wait{fill:var(--slow)}.hole{fill:var(--bad);opacity:.15}
rect[class^=p-]{fill:var(--v1)}.p-etcd{fill:var(--etcd)!important}
.p-control-plane{fill:var(--cp)!important}.p-nodes{fill:var(--nodes)!important}
"""


def _tone(good: bool | None) -> str:
    return {True: "good", False: "bad", None: "open"}[good]


PICTURES = 24


def _pictures(r: Report) -> str:
    """New nodes' lines over the control's, what failed first."""
    if r.gates is None:
        return ""
    order = {"fail": 0, "inconclusive": 1, "pass": 2, "absent": 3}
    drawn = [x for x in r.gates.readings if x.new and (x.verdict != "absent" or x.known)]
    drawn.sort(key=lambda x: (order[x.verdict], not x.known, x.gate))
    figures = "".join(
        f"<figure>{picture.svg(x)}<figcaption>{escape(x.verdict)}: {escape(x.why)}</figcaption>"
        "</figure>"
        for x in drawn[:PICTURES]
    )
    return (
        f'<section class="card"><h2>Gates: {escape(r.gates.verdict)}, new nodes over control</h2>'
        f'<p class="meta">{escape(r.gates.why)}</p><div class="pics">{figures}</div></section>'
    )


def svg(r: Report) -> str:
    """The timeline as a picture of its own, for a pull request or a page of somebody else's."""
    opening, _, rest = timeline(r).partition(">")
    namespaced = opening.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    ground = '<rect width="100%" height="100%" fill="var(--card)"/>'
    return f"{namespaced}><style>{escape(STYLE)}</style>{ground}{rest}\n"


def render(r: Report) -> str:
    style = STYLE
    tiles = "".join(
        f'<div class="tile {_tone(f.ok)}"><b>{escape(f.value)}</b>{escape(f.name)}<br>'
        f"<span>target {escape(f.target)}</span></div>"
        for f in r.figures
    )
    drawn = "".join(
        f'<section class="card"><h2>{escape(title)}</h2><table><tr>'
        + "".join(f"<th>{escape(h)}</th>" for h in head)
        + "</tr>"
        + "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
        + "</table></section>"
        for title, head, rows in tables(r)
        if title != "Figures"
    )
    said = "".join(f"<li>{escape(n)}</li>" for n in notes(r))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(r.cluster)}: {escape(r.goal)}</title><style>{style}</style></head>"
        f"<body><main><h1>{escape(r.cluster)}: {escape(r.goal)}</h1>"
        f'<p class="meta">Run {escape(r.run)} · plan {escape(r.plan[:12])} · '
        f"{escape(r.operator)} · {duration(r.seconds)} · {r.effects} effects · "
        f"resumed {r.resumed} times</p>"
        f'<div class="card verdict {_tone(r.verdict.good)}">{escape(r.verdict.sentence)}</div>'
        f'<div class="tiles">{tiles}</div>'
        f'<section class="card"><h2>The run in one picture</h2>{timeline(r)}</section>'
        f'{_pictures(r)}{drawn}<section class="card"><h2>Notes</h2><ul>{said}</ul></section>'
        "</main></body></html>\n"
    )

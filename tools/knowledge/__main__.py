"""python -m tools.knowledge extract 1.36 1.37 | schemas | scheme | second | releases | notes |
etcd | build | check.

Everything but `build` and `check` reads sources from the Go module cache (set GOMODCACHE to keep
them apart; some 200 MB a minor) or, for `second`, two Python packages. `build` needs only the
committed extracts. `check 1.37` derives a minor again and compares bytes.
"""

from __future__ import annotations

import sys

from . import extract, history, notes, openapi, releases, scheme, second, sources, tables


def main(argv: list[str]) -> int:
    match argv:
        case ["extract", *minors] if minors:
            extract.EXTRACTS.mkdir(exist_ok=True)
            for text in minors:
                number = int(text.split(".")[1])
                extract.path(number).write_bytes(extract.encode(extract.minor(number)))
                print(f"1.{number}: {extract.path(number).stat().st_size} bytes")
        case ["schemas"]:
            found = {
                n: openapi.schema(openapi.load(sources.kubernetes(n)["k8s.io/kubernetes"][1]))
                for n in tables.MINORS
            }
            history.FILE.write_bytes(extract.encode(history.merge(found)))
        case ["scheme"]:
            read = {n: scheme.kinds(sources.directories(n)) for n in tables.MINORS}
            scheme.FILE.write_bytes(extract.encode(scheme.merge(read)))
        case ["second"]:
            (extract.EXTRACTS / "validate.json").write_bytes(extract.encode(second.kinds()))
        case ["releases"]:
            (extract.EXTRACTS / "releases.json").write_bytes(extract.encode(releases.table()))
        case ["notes"]:
            (extract.EXTRACTS / "notes.json").write_bytes(extract.encode(notes.table()))
        case ["etcd"]:
            for line in sources.ETCD:
                place = extract.EXTRACTS / f"etcd-{line}.json"
                place.write_bytes(extract.encode(extract.etcd_flags(line)))
        case ["build"]:
            tables.DATA.mkdir(exist_ok=True)
            for name, data in built().items():
                (tables.DATA / name).write_bytes(data)
                rows = data.count(b"\n") - 2
                print(f"{name}: {rows} rows, {len(data)} bytes")
        case ["check", *minors] if minors:
            return check([int(text.split(".")[1]) for text in minors])
        case _:
            print(__doc__)
            return 4
    return 0


def built() -> dict[str, bytes]:
    """File name -> bytes of every shipped table, from the committed extracts alone."""
    builder = tables.Builder()
    out = {f"{name}.json": tables.encode(rows) for name, rows in builder.build().items()}
    out["sources.json"] = tables.encode(
        [{"minor": f"1.{n}", "read": builder.facts[n]["sources"]} for n in tables.MINORS]
        + [{"as_of": builder.releases["as_of"]}, {"notes": builder.notes["until"]}]
    )
    return dict(sorted(out.items()))


def check(minors: list[int]) -> int:
    """0 when the minors derive again to the committed bytes, and the tables build to theirs."""
    problems = []
    for n in minors:
        if extract.encode(extract.minor(n)) != extract.path(n).read_bytes():
            problems.append(f"1.{n}: the extract derives to other bytes")
        document = openapi.load(sources.kubernetes(n)["k8s.io/kubernetes"][1])
        if openapi.schema(document) != history.at(history.load(), n):
            problems.append(f"1.{n}: the schema history holds other fields")
        if scheme.kinds(sources.directories(n)) != scheme.at(scheme.load(), n):
            problems.append(f"1.{n}: the scheme history holds other kinds")
    for name, data in built().items():
        if (tables.DATA / name).read_bytes() != data:
            problems.append(f"{name}: the table builds to other bytes")
    print("\n".join(problems) or f"the same bytes for {', '.join(f'1.{n}' for n in minors)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""An answer as a table for people, or as JSON or YAML for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from pawl.interfaces.cli.options import Format


def emit(rows: Sequence[object], columns: Sequence[str], output: Format) -> None:
    """Print `rows` (structs): all fields as JSON or YAML, `columns` of them as a table."""
    plain: list[dict[str, Any]] = msgspec.to_builtins(list(rows))
    if output == "table":
        lines([[cell(row.get(column)) for column in columns] for row in plain], columns)
    else:
        sys.stdout.write(document(plain, output))


def document(value: object, output: Literal["json", "yaml"]) -> str:
    """A struct, or what JSON knows, as one document that ends with its line."""
    if output == "json":
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
    import yaml

    plain = msgspec.to_builtins(value)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def cell(value: object) -> str:
    match value:
        case None:
            return "unknown"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(cell(v) for v in value)
        case dict():
            return " ".join(f"{k}={cell(v)}" for k, v in value.items())
        case _:
            return str(value) or "-"


def lines(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> None:
    """Aligned columns. Nothing is cut: where a terminal is too narrow, cells go on below."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Column, Table

        heads = [Column(c.replace("_", " "), overflow="fold") for c in columns]
        table = Table(*heads, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*row)
        Console(highlight=False).print(table)
        return
    titles = [c.replace("_", " ").upper() for c in columns]
    widths = [max([len(t), *(len(r[i]) for r in rows)]) for i, t in enumerate(titles)]
    for row in [titles, *rows]:
        print("  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip())

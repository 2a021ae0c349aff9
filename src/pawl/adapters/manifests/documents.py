"""The tables, with what a user's files correct in them."""

from __future__ import annotations

from pathlib import Path

from pawl.adapters.yaml_file import read
from pawl.core.knowledge.correct import Corrections, corrections
from pawl.core.knowledge.store import Knowledge, shipped


def knowledge(paths: tuple[Path, ...]) -> Knowledge:
    """The shipped tables, with the corrections of `paths` merged in their order."""
    if not paths:
        return shipped()
    merged = Corrections()
    for path in paths:
        one = corrections(read(path), str(path))
        merged = Corrections(
            apis=(*merged.apis, *one.apis),
            gates=(*merged.gates, *one.gates),
            flags=(*merged.flags, *one.flags),
            fields=(*merged.fields, *one.fields),
            releases=(*merged.releases, *one.releases),
            demands=(*merged.demands, *one.demands),
            drop=(*merged.drop, *one.drop),
        )
    return Knowledge(merged)

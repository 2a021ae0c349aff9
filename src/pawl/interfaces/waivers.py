"""The file of waivers, which every command that finds something shares."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pawl.core import accept
from pawl.core.checks import CODES
from pawl.core.inventory import judge
from pawl.core.lint import waive
from pawl.core.scan.rules import CODES as SCAN_CODES
from pawl.core.scan.rules import RULES
from pawl.core.workloads.obstacles import CODES as OBSTACLES

DEFAULT = ".pawl-waivers.yaml"


class Accepted(NamedTuple):
    """`by_code` cover what plan and inventory find, `by_rule` what lint and scan find."""

    by_code: tuple[accept.Waiver, ...] = ()
    by_rule: tuple[waive.Waiver, ...] = ()

    @property
    def of_inventory(self) -> tuple[accept.Waiver, ...]:
        """Those that an inventory can use: any other would cover nothing there."""
        return tuple(w for w in self.by_code if w.code in judge.CODES)


def load(path: Path) -> Accepted:
    """Raises ConfigError for a file that is not there, or with all its mistakes at once."""
    from pawl.adapters.yaml_file import read

    data = read(path)
    moves = {f"PAWL-{code}" for code in OBSTACLES}
    codes = {*CODES, *SCAN_CODES.values(), *judge.CODES, *moves}
    by_rule = waive.decode(data, str(path), RULES)
    return Accepted(accept.decode(data, str(path), codes), by_rule)


def load_if_there(path: Path) -> Accepted:
    """None at all when the file is not there."""
    return load(path) if path.is_file() else Accepted()

"""`python -m pawl.probes CONFIG --out FILE`: what `pawl probe start` runs, detached."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import sys
from pathlib import Path

from pawl.core.errors import PawlError
from pawl.probes.prober import main, read_config


def cli() -> int:
    parser = argparse.ArgumentParser(prog="python -m pawl.probes", description=__doc__)
    parser.add_argument("config", type=Path, help="pawl.yaml of the cluster")
    parser.add_argument("--out", type=Path, required=True, help="file to create (must not exist)")
    parser.add_argument("--max-hours", type=float, default=None, help="end by itself after this")
    given = parser.parse_args()
    with contextlib.suppress(OSError):
        # Where it may, it runs before ordinary processes: a prober that waits for a CPU behind what
        # it measures reports its own stalls. It needs about an eighth of one core.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.freeze()
    try:
        asyncio.run(
            main(
                read_config(given.config), given.config.resolve().parent, given.out, given.max_hours
            )
        )
    except PawlError as error:
        print(f"pawl probe: {error}", file=sys.stderr)
        return 4
    except FileExistsError:
        print(f"pawl probe: {given.out} exists already; name a new file", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(cli())

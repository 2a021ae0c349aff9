"""Every error that pawl raises on purpose, drawn as one tree.

    PawlError                    a sentence for a person: what, where, how to mend it
    ├── ConfigError              pawl.yaml or a flag cannot be used (all problems at once)
    ├── Refused                  the cluster or the plan does not allow it; carries every reason
    ├── StepFailed               a step saw something that it must not pass over
    │   ├── Temporary            the same step may be tried again after `delay` seconds
    │   └── Unclassifiable       an observation that fits no known state: pause, never guess
    ├── Fenced                   a newer operator owns the cluster: this process must stop at once
    ├── Unreachable              a source could not be read within its deadline
    └── ArtifactError            an artefact is missing, or its checksum is wrong

Executors use only this vocabulary, so the runner needs no knowledge of any adapter.
"""

from __future__ import annotations

from collections.abc import Sequence


class PawlError(Exception):
    """Base of all expected errors. `str(error)` is the sentence that a person reads."""


class ConfigError(PawlError):
    """The configuration cannot be used. `problems` holds one sentence for each mistake."""

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.where = where
        self.problems = tuple(problems)
        super().__init__(f"{where}:\n" + "\n".join(f"  - {p}" for p in self.problems))


class Refused(PawlError):
    """Nothing was touched, because it would not be safe. `reasons` holds all of them at once."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("refused:\n" + "\n".join(f"  - {r}" for r in self.reasons))


class StepFailed(PawlError):
    """A step could not reach its end state; the run pauses with this sentence."""


class Temporary(StepFailed):
    """Expected to pass by itself: try the same step again after `delay` seconds."""

    def __init__(self, message: str, delay: float) -> None:
        self.delay = delay
        super().__init__(message)


class Unclassifiable(StepFailed):
    """What was observed fits no state that pawl knows. A person must look."""


class Fenced(PawlError):
    """Another operator with a higher epoch, or the lease, owns this cluster now."""


class Unreachable(PawlError):
    """A source did not answer within its deadline. The truth is unknown, not bad."""


class ArtifactError(PawlError):
    """An artefact cannot be had, or is not what its checksum says."""

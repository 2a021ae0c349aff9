"""The knowledge that a cluster is judged by: one answer for every command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pawl.core.config import Config
from pawl.core.knowledge.store import Knowledge


def tables_of(config: Config, given: Sequence[Path] = ()) -> Knowledge:
    """The shipped tables, with the corrections that pawl.yaml names and then those `given` merged
    in. Raises ConfigError for a file that is not there or cannot be used."""
    from pawl.adapters.manifests.documents import knowledge

    own = config.findings.corrections
    return knowledge((*((Path(own),) if own else ()), *given))

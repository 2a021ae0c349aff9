"""The proof of the gates: what `pawl verify --history` found last, as one JSON file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from pawl.core.verify.replay import History


class ProofFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> History | None:
        """None where there is none, and where it cannot be read: an unreadable proof is none."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=History)
        except (OSError, msgspec.DecodeError):
            return None

    def save(self, history: History) -> None:
        """Whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self.path.with_suffix(".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(history), indent=1))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)

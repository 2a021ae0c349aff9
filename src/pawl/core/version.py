"""Versions and minors as values with a total order.

Kubernetes, etcd and containerd all follow semantic versioning 2.0; pawl compares releases by
(major, minor, patch, pre-release) and ignores build metadata, as https://semver.org item 10 says.
A `Minor` is what the skew policy and etcd's hop rule talk about: 1.36, 3.5.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_VERSION = re.compile(r"^v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$")
_MINOR = re.compile(r"^v?(\d+)\.(\d+)$")


@functools.total_ordering
@dataclass(frozen=True, slots=True)
class Minor:
    """A minor release line such as 1.36. `Minor(1, 36) + 1 == Minor(1, 37)`."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Minor:
        """Read "1.36", "v1.36" or the minor of "1.36.4". Raises ValueError with the text."""
        if m := _MINOR.match(text.strip()):
            return cls(int(m[1]), int(m[2]))
        return Version.parse(text).minor_line

    def __add__(self, minors: int) -> Minor:
        return Minor(self.major, self.minor + minors)

    def __sub__(self, other: Minor) -> int:
        """Minors between two lines of the same major; ValueError across majors."""
        if self.major != other.major:
            raise ValueError(f"{self} and {other} are of different majors")
        return self.minor - other.minor

    def __lt__(self, other: Minor) -> bool:
        return (self.major, self.minor) < (other.major, other.minor)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@functools.total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A release such as 1.36.0 or 1.37.0-rc.1. Prints without a leading "v"."""

    major: int
    minor: int
    patch: int
    pre: str = ""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read "1.36.0" or "v1.36.0-rc.1+k3s1". Raises ValueError with the text."""
        if not (m := _VERSION.match(text.strip())):
            raise ValueError(f"{text!r} is not a version such as 1.37.0")
        return cls(int(m[1]), int(m[2]), int(m[3]), m[4] or "")

    @property
    def minor_line(self) -> Minor:
        return Minor(self.major, self.minor)

    def _key(self) -> tuple[object, ...]:
        # semver item 11: a pre-release sorts before its release; numeric parts before words.
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre.split("."))
        return (self.major, self.minor, self.patch, self.pre == "", parts if self.pre else ())

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}" + (f"-{self.pre}" if self.pre else "")

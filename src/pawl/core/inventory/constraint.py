"""Version constraints of a chart's `kubeVersion`, as Helm reads them.

Helm uses github.com/Masterminds/semver/v3: "||" between alternatives, "," or blanks between what
must all hold; =, !=, >, <, >=, <=, => and =<, ~ and ~> (patches), ^ (up to the next major),
"A - B", and x, X or * for any number. What must hold together takes a pre-release version only if
one of its parts names a pre-release, which is why charts write ">=1.25.0-0". Helm compares with the
cluster's version as it is, so a distribution's "v1.34.1-eks-1" is a pre-release there, and here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pawl.core.version import Version

_NUMBER = r"(\d+|[xX*])"
_PRE = r"(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
_VERSION = rf"v?{_NUMBER}(?:\.{_NUMBER})?(?:\.{_NUMBER})?{_PRE}"
_OPERATOR = r"(=>|=<|>=|<=|!=|~>|=|>|<|~|\^)?"
_ONE = re.compile(rf"\s*{_OPERATOR}\s*{_VERSION}\s*(?:,|(?=\s)|$)")
_RANGE = re.compile(rf"\s*{_VERSION}\s+-\s+{_VERSION}\s*")


@dataclass(frozen=True)
class _Wanted:
    """One comparison. `parts` is how many of the three numbers were written (not wild)."""

    operator: str
    version: Version
    parts: int

    def admits(self, version: Version) -> bool:
        low, high = self.version, self._beyond()
        match self.operator:
            case ">":
                return version > low if self.parts == 3 else version >= high
            case "<":
                return version < low
            case ">=" | "=>":
                return version >= low
            case "<=" | "=<":
                return version <= low if self.parts == 3 else version < high
            case "!=":
                return not self._equal(version)
            case "~" | "~>":
                top = Version(low.major, low.minor + 1, 0) if self.parts >= 2 else high
                return self.parts == 0 or low <= version < top
            case "^":
                return self.parts == 0 or low <= version < self._caret()
            case _:
                return self._equal(version)

    def _equal(self, version: Version) -> bool:
        if self.parts == 3:
            return version == self.version
        return self.parts == 0 or self.version <= version < self._beyond()

    def _beyond(self) -> Version:
        """The first version after all that the written parts name."""
        v = self.version
        if self.parts == 1:
            return Version(v.major + 1, 0, 0)
        if self.parts == 2:
            return Version(v.major, v.minor + 1, 0)
        return Version(v.major, v.minor, v.patch + 1)

    def _caret(self) -> Version:
        """Up to the next change of the leftmost number that is not zero."""
        v = self.version
        if v.major > 0 or self.parts == 1:
            return Version(v.major + 1, 0, 0)
        if v.minor > 0 or self.parts == 2:
            return Version(0, v.minor + 1, 0)
        return Version(0, 0, v.patch + 1)


class Constraint:
    """`Constraint(">=1.25.0-0 <1.36").admits(Version.parse("1.35.1"))`."""

    def __init__(self, text: str) -> None:
        """Raises ValueError with the text when it cannot be read."""
        self.text = text
        self._alternatives = [self._all(part) for part in text.split("||")]

    def admits(self, version: Version) -> bool:
        return any(
            (not version.pre or any(one.version.pre for one in every))
            and all(one.admits(version) for one in every)
            for every in self._alternatives
        )

    def _all(self, text: str) -> list[_Wanted]:
        found: list[_Wanted] = []
        rest = text.strip()
        if not rest:
            raise ValueError(f"{self.text!r} is no version constraint")
        while rest:
            if m := _RANGE.match(rest):
                found.append(_wanted(">=", m[1], m[2], m[3], m[4]))
                found.append(_wanted("<=", m[5], m[6], m[7], m[8]))
            elif m := _ONE.match(rest):
                found.append(_wanted(m[1] or "", m[2], m[3], m[4], m[5]))
            else:
                raise ValueError(f"{self.text!r} is no version constraint: {rest!r}")
            rest = rest[m.end() :].strip(" ,")
        return found


def _wanted(
    operator: str, major: str | None, minor: str | None, patch: str | None, pre: str | None
) -> _Wanted:
    numbers: list[int] = []
    for part in (major, minor, patch):
        if part is None or part in "xX*":
            break
        numbers.append(int(part))
    padded = [*numbers, 0, 0, 0][:3]
    return _Wanted(operator, Version(padded[0], padded[1], padded[2], pre or ""), len(numbers))

"""Values that may be "-", for standard input or output, which cyclopts takes for an option."""

from __future__ import annotations

from cyclopts import Parameter


def _no_option(_: object, value: object) -> None:
    for one in value if isinstance(value, tuple) else (value,):
        if (word := str(one)).startswith("-") and word != "-":
            raise ValueError(f"there is no option {word}; write a file of this name as ./{word}")


MAY_BE_DASH = Parameter(allow_leading_hyphen=True, validator=_no_option)

"""Days as text, "2027-01-31" (UTC): they compare as text because they are all written alike."""

from __future__ import annotations

import datetime


def day_of(seconds: float) -> str:
    """The day of a time in seconds since the epoch."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()


def is_day(word: str) -> bool:
    """Whether it is a day of the calendar, written in just this way ("2027-02-30" is none)."""
    try:
        return datetime.date.fromisoformat(word).isoformat() == word
    except ValueError:
        return False

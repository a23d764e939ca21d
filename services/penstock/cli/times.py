"""Times as people read them and scripts parse them: ISO-8601, UTC, to the second."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

DAY: Final = 86_400_000


def iso(ms: int) -> str:
    """A time in milliseconds since 1970.

    >>> iso(1357016400000)
    '2013-01-01T05:00:00Z'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_or_none(ms: int | None) -> str | None:
    """The same of a time that may not be there.

    >>> iso_or_none(None) is None
    True
    """
    return None if ms is None else iso(ms)


def day_of(ms: int | None, begun: int | None) -> int | None:
    """Whole days of event time since the first outcome; None before there is one.

    >>> day_of(1357016400000 + 205 * DAY, 1357016400000)
    205
    """
    return None if ms is None or begun is None else (ms - begun) // DAY

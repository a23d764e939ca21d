"""What a pipeline asks of when events arrive: that they are fresh, and that each comes once."""

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, ConfigDict, PlainSerializer

from penstock.kernel.mistakes import Wrong, nearest, show
from penstock.kernel.units import Duration, DurationOrNone, duration, show_duration

DAY: Final = 86_400_000
MOST_ROWS: Final = 500_000
"""Rows that a window of duplicates may be asked for: up to twice as many ids, some 100 MB."""
REMEMBERED: Final = 200_000
"""Ids that a window of event time holds at most, whatever the rate: some 20 MB. A producer that sends again
does so within its delivery timeout, two minutes unless changed: 1,600 events a second for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How far an event's own time may be from when its record was written, by the log's timestamps.

    Args:
        at_most: milliseconds that it may be older; None for any age, as history is.
        ahead: milliseconds that it may be in the future: clocks and zones are wrong by hours.
        otherwise: what becomes of an event that is neither.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    at_most: Duration | None = None
    ahead: DurationOrNone = DAY
    otherwise: Literal["dead_letter", "flag"] = "dead_letter"

    @property
    def guard(self) -> int:
        """Milliseconds ahead from which on an event is refused, flag or not.

        One record from the year 2999 would otherwise move event time there, and expire all that waits.

        >>> Freshness(ahead=0, otherwise="flag").guard == DAY, Freshness(ahead=0).guard
        (True, 0)
        """
        return self.ahead if self.otherwise == "dead_letter" else max(self.ahead, DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Within what an event with the id of another is that one again.

    Args:
        of: what `size` counts.
        size: milliseconds of event time between the two, or events remembered; 0 where `off`.

    >>> [str(Window.read(each)) for each in ("1h", "50000rows", "off")]
    ['1h', '50000rows', 'off']
    """

    of: Literal["time", "rows", "off"] = "time"
    size: int = 3_600_000

    @classmethod
    def read(cls, raw: object) -> "Window":
        if raw == "off" or raw is False:  # as older readers of YAML understand the same word
            return cls(of="off", size=0)
        if isinstance(raw, str) and (rows := re.fullmatch(r"(\d{1,9}) ?rows", raw.strip())) and int(rows[1]):
            if int(rows[1]) > MOST_ROWS:
                raise Wrong(f"at most {MOST_ROWS}rows are remembered, got {show(raw)}")
            return cls(of="rows", size=int(rows[1]))
        try:
            return cls(of="time", size=duration(raw))
        except Wrong:
            message = (
                f"expected a duration such as 1h, so many rows such as 50000rows, or off, got {show(raw)}"
            )
            raise Wrong(message, nearest(raw, ["off"])) from None

    @property
    def generation(self) -> int:
        """Ids after which the older ones are let go of: at most twice as many are remembered."""
        return self.size if self.of == "rows" else REMEMBERED // 2

    def __str__(self) -> str:
        return {"off": "off", "time": show_duration(self.size), "rows": f"{self.size}rows"}[self.of]


FRESH: Final = Freshness()
AN_HOUR: Final = Window()
AWindow = Annotated[
    Window,
    BeforeValidator(lambda raw: raw if isinstance(raw, Window) else Window.read(raw)),
    PlainSerializer(str),
]

"""The flights as two streams: departures when the prediction is due, arrivals when the plane has landed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

START = datetime(2013, 1, 1, 5, tzinfo=UTC)
"""Day 0 begins at midnight in New York."""
START_MS = int(START.timestamp() * 1000)
DAY_MS = 86_400_000
LEAD_MIN = 120
"""The prediction is due two hours before the scheduled departure."""
NEW_YORK = ZoneInfo("America/New_York")

FIELDS = (
    "distance",
    "block_min",
    "temp",
    "dewp",
    "wind_dir",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
    "origin_delay_2h",
    "carrier_delay_3h",
    "nyc_late_6h",
)
"""What an event carries as the container has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """One scheduled departure; instants in milliseconds since 1970, UTC."""

    id: str
    due: int
    """When the prediction is due: the event time."""
    event: Mapping[str, Any]
    """The record on the events' topic."""
    landed: int | None
    """When the label becomes known; None where the flight was cancelled or diverted."""
    delay: int | None
    """Minutes behind schedule on arrival."""

    @property
    def label(self) -> Mapping[str, Any] | None:
        """The record on the labels' topic; none for ever where the flight did not arrive."""
        return None if self.landed is None else {"id": self.id, "t": self.landed, "arr_delay": self.delay}


def flights(records: Iterable[Mapping[str, Any]], *, days: int, every: int) -> Iterator[Flight]:
    """Every so-manyeth flight of the first days, in the order of event time.

    Args:
        records: the container's, times in milliseconds.
        days: event days from the start.
        every: 3 takes one flight in three.
    """
    end = START_MS + days * DAY_MS
    for number, record in enumerate(records):
        if record["t"] >= end:
            return
        if number % every == 0:
            yield _flight(record)


def day_of(instant: float) -> float:
    """Event days since the start.

    >>> day_of(START_MS + DAY_MS * 1.5)
    1.5
    """
    return (instant - START_MS) / DAY_MS


def _flight(record: Mapping[str, Any]) -> Flight:
    due: int = record["t"]
    carrier = record["carrier"].removeprefix("C_")  # an Avro symbol may not begin with a digit, as 9E does
    departs = datetime.fromtimestamp(due // 1000 + LEAD_MIN * 60, NEW_YORK)
    name = f"{carrier}{record['flight']}-{record['origin']}-{departs.date().isoformat()}"
    delay: int | None = record["arr_delay"]
    landed = None if delay is None else due + (LEAD_MIN + record["block_min"] + delay) * 60_000
    event = {
        "id": name,
        "t": due,
        "carrier": carrier,
        "origin": record["origin"],
        "dest": record["dest"],
        **{field: record[field] for field in FIELDS},
    }
    return Flight(id=name, due=due, event=event, landed=landed, delay=delay)

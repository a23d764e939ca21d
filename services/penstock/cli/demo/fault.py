"""The declared fault of the demo: for four weeks the producer sends two fields with their sign flipped.

It stands for a changed convention upstream, the kind of fault that no schema sees: types, ranges and rates
stay plausible while what the fields mean is turned round. Then somebody mends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from penstock.cli.demo.flights import day_of

DAYS: Final = (140, 168)
"""Event days [from, to) of the fault."""
FLIPPED: Final = ("origin_delay_2h", "carrier_delay_3h")
"""Both say how late departures have been lately; flipped, late is early."""


def broken(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event as the producer sends it.

    >>> from penstock.cli.demo.flights import DAY_MS, START_MS
    >>> broken({"t": START_MS + 150 * DAY_MS, "origin_delay_2h": 12.0, "carrier_delay_3h": None})
    {'t': 1369976400000, 'origin_delay_2h': -12.0, 'carrier_delay_3h': None}
    >>> broken({"t": START_MS, "origin_delay_2h": 12.0, "carrier_delay_3h": 1.0})["origin_delay_2h"]
    12.0
    """
    if not DAYS[0] <= day_of(event["t"]) < DAYS[1]:
        return event
    flipped = {name: None if event[name] is None else -event[name] for name in FLIPPED}
    return {**event, **flipped}

"""The history as it reached the system: events and labels in the one order in which they came."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from penstock.cli.backtest.labels import arrival
from penstock.runtime.broker import Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from penstock.cli.backtest.history import Row
    from penstock.cli.backtest.labels import Told
    from penstock.kernel.pipeline import Pipeline

_ROWS_A_STEP: Final = 64
"""With fewer, the system's own rounds would take most of the time. Decisions are the same whatever it is, but
not who answers the rows right after one."""


class Arrival(NamedTuple):
    """A record as it arrives.

    Args:
        time: milliseconds of event time.
        row: number of the event; -1 where this is a label.
        told: the label; None where this is an event.
        message: what is sent.
    """

    time: int
    row: int
    told: Told | None
    message: Message


def arrivals(pipeline: Pipeline, rows: Sequence[Row], told: Sequence[Told]) -> list[Arrival]:
    """All events, and the labels that became known, in the order of time.

    At one instant labels come first, since they were on their way, but for one that was known at once: it
    comes after its event.
    """
    order = arrival(rows)
    places = {number: place for place, number in enumerate(order)}
    found: list[tuple[int, float, Arrival]] = []
    events, labels = pipeline.events, pipeline.labels
    for each in told:
        if each.time is None:
            continue
        if each.before is not None:
            place = places[each.before] - 0.5
        elif each.row >= 0 and rows[each.row].time == each.time:
            place = places[each.row] + 0.5
        else:
            place = -1.0
        value = orjson.dumps({labels.id: each.id, labels.time: each.time, labels.value: each.value})
        message = Message(labels.topic, value, each.id.encode())
        found.append((each.time, place, Arrival(each.time, -1, each, message)))
    for place, number in enumerate(order):
        row = rows[number]
        message = Message(events.topic, row.payload, row.id.encode())
        found.append((row.time, place, Arrival(row.time, number, None, message)))
    found.sort(key=lambda each: each[:2])
    return [each for _, _, each in found]


def steps(fed: Sequence[Arrival], length: int) -> Iterator[list[Arrival]]:
    """The arrivals by aligned stretches of event time, empty ones left out."""
    for _, group in groupby(fed, key=lambda each: each.time // length):
        yield list(group)


def step_length(rows: Sequence[Row], *, base: int, horizon: int) -> int:
    """How much event time passes between two rounds of the system, in milliseconds: a multiple of the base.

    The base block where enough rows fall in it, and never more than the horizon, so that a version that was
    asked for serves when it is to be judged.

    Args:
        rows: of the history.
        base: length of the blocks in summaries, milliseconds.
        horizon: how late a label may come, milliseconds.
    """
    times = [row.time for row in rows]
    span = max(times) - min(times) + base
    blocks = -(-_ROWS_A_STEP * span // (len(rows) * base))
    return base * max(1, min(blocks, horizon // base))

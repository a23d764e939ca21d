"""What a producer's record becomes: a feature row, a label, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.records import FeatureRow, Label
from penstock.kernel.errors import Invalid
from penstock.kernel.features import vectorise
from penstock.kernel.labels import make_label
from penstock.kernel.mistakes import show
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.times import event_time_ms

Fields = Mapping[str, object]
AHEAD: Final = 86_400_000
"""How far a record's own time may be ahead of when it was written, in milliseconds: clocks and zones are
wrong by hours. One record from the year 2999 would otherwise move event time there, and expire all that
waits."""
_LONGEST_ID = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A batch of events taken in.

    Args:
        heads: of the rows that are valid, in order.
        matrix: their features, shape (valid rows, features).
        refused: why a row can never be processed, by its place in the batch.
    """

    heads: Sequence[FeatureRow]
    matrix: NDArray[np.float64]
    refused: Mapping[int, Invalid]


def take_events(pipeline: Pipeline, events: Sequence[Fields], written: Sequence[int]) -> Intake:
    """Feature rows of a batch of events; unknown fields are ignored, a row's fault is its own.

    Args:
        pipeline: says what to read of them.
        events: their fields.
        written: the timestamps of their records, milliseconds since 1970.
    """
    source = pipeline.events
    refused: dict[int, Invalid] = {}
    ids, times = [""] * len(events), np.zeros(len(events), dtype=np.int64)
    for place, (event, stamp) in enumerate(zip(events, written, strict=True)):
        try:
            ids[place] = read_id(event, source.id)
            times[place] = read_time(event, source.time, stamp)
        except Invalid as why:
            refused[place] = why
    vectors = vectorise(pipeline.features, events, times)
    refused = {**vectors.invalid, **refused}
    valid = [place for place in range(len(events)) if place not in refused]
    heads = [
        FeatureRow(id=ids[place], time=int(times[place]), cleared=vectors.cleared[place], flags=())
        for place in valid
    ]
    return Intake(heads=heads, matrix=vectors.matrix[valid], refused=refused)


def take_label(pipeline: Pipeline, fields: Fields, written: int) -> Label:
    """The label in a record of the labels' topic.

    Raises:
        Invalid: no id, no time, or a value that cannot be a label.
    """
    source = pipeline.labels
    return Label(
        id=read_id(fields, source.id),
        time=read_time(fields, source.time, written),
        label=make_label(pipeline, fields.get(source.value)),
    )


def read_id(fields: Fields, name: str) -> str:
    """The id that predictions and labels meet by: text, or a whole number as its digits.

    >>> read_id({"id": 17}, "id")
    '17'
    """
    value = fields.get(name)
    if value is None or value == "":
        raise Invalid(f"no id: field {name!r} is missing or empty", field=name, reason="missing_id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Invalid(
            f"id {name!r} is a {type(value).__name__}, expected text or a whole number",
            field=name,
            reason="wrong_type",
        )
    if len(text := str(value)) > _LONGEST_ID:
        raise Invalid(
            f"id {name!r} has {len(text)} characters, at most {_LONGEST_ID} are taken",
            field=name,
            reason="too_large",
        )
    return text


def read_time(fields: Fields, name: str, written: int) -> int:
    """Milliseconds since 1970 of a record's own time, which may not be much later than it was written."""
    value = fields.get(name)
    if value is None:
        raise Invalid(f"no time: field {name!r} is missing", field=name, reason="missing_time")
    time = event_time_ms(value, field=name)
    if time > written + AHEAD:
        raise Invalid(
            f"{name} is {show(value)}, more than a day after the record was written",
            field=name,
            reason="future_time",
        )
    return time

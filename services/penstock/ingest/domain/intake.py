"""What a producer's record becomes: a feature row, a label, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.records import FeatureRow, Label
from penstock.kernel.errors import Invalid
from penstock.kernel.features import FloatArray, Values, vectorise_columns
from penstock.kernel.labels import make_label
from penstock.kernel.mistakes import show
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.times import event_time_ms

AHEAD: Final = 86_400_000
"""How far a record's own time may be ahead of when it was written, in milliseconds: clocks and zones are
wrong by hours. One record from the year 2999 would otherwise move event time there, and expire all that
waits."""
_LONGEST_ID = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A batch of events taken in: the valid rows by columns, in order, and why the others are not.

    Args:
        ids: of the events.
        times: their own times, milliseconds since 1970, shape (valid rows,).
        cleared: indices of features set missing because their value was out of range.
        flags: rules that the event broke and that only mark it.
        matrix: their features, shape (valid rows, features).
        refused: why a row can never be processed, by its place among the rows given.
    """

    ids: Sequence[str]
    times: NDArray[np.int64]
    cleared: Sequence[tuple[int, ...]]
    flags: Sequence[tuple[str, ...]]
    matrix: FloatArray
    refused: Mapping[int, Invalid]

    def heads(self) -> list[FeatureRow]:
        """The rows one by one, without their features."""
        return [
            FeatureRow(id=name, time=time, cleared=cleared, flags=flags)
            for name, time, cleared, flags in zip(
                self.ids, self.times.tolist(), self.cleared, self.flags, strict=True
            )
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A batch of labels taken in.

    Args:
        labels: the valid ones, in order.
        refused: why a row can never be processed, by its place among the rows given.
    """

    labels: Sequence[Label]
    refused: Mapping[int, Invalid]


def event_paths(pipeline: Pipeline) -> tuple[str, ...]:
    """The fields that `take_events` reads."""
    source = pipeline.events
    return tuple(dict.fromkeys([source.id, source.time, *(each.field for each in pipeline.features)]))


def label_paths(pipeline: Pipeline) -> tuple[str, ...]:
    """The fields that `take_labels` reads."""
    source = pipeline.labels
    return tuple(dict.fromkeys([source.id, source.time, source.value]))


def take_events(pipeline: Pipeline, columns: Mapping[str, Values], written: Sequence[int]) -> Intake:
    """Feature rows of a batch of events; a row's fault is its own.

    Args:
        pipeline: says what to read of them.
        columns: `event_paths` → one value per row.
        written: the timestamps of their records, milliseconds since 1970.
    """
    source = pipeline.events
    refused: dict[int, Invalid] = {}
    ids = _ids(source.id, columns[source.id], refused)
    times = _times(source.time, columns[source.time], written, refused)
    vectors = vectorise_columns(pipeline.features, columns, times)
    refused = dict(sorted({**vectors.invalid, **refused}.items()))
    if not refused:
        valid: Sequence[int] = range(len(written))
        matrix, cleared = vectors.matrix, vectors.cleared
    else:
        valid = [place for place in range(len(written)) if place not in refused]
        ids, times = [ids[place] for place in valid], times[valid]
        matrix, cleared = vectors.matrix[valid], tuple(vectors.cleared[place] for place in valid)
    return Intake(
        ids=ids, times=times, cleared=cleared, flags=((),) * len(valid), matrix=matrix, refused=refused
    )


def take_labels(pipeline: Pipeline, columns: Mapping[str, Values], written: Sequence[int]) -> Labelled:
    """The labels in a batch of records of the labels' topic.

    Args:
        pipeline: says what makes a label.
        columns: `label_paths` → one value per row.
        written: the timestamps of their records, milliseconds since 1970.
    """
    source = pipeline.labels
    labels: list[Label] = []
    refused: dict[int, Invalid] = {}
    fields = [_plain(columns[name]) for name in (source.id, source.time, source.value)]
    rows = zip(*fields, written, strict=True)
    for place, (name, time, value, stamp) in enumerate(rows):
        try:
            labels.append(
                Label(
                    id=read_id(name, source.id),
                    time=read_time(time, source.time, stamp),
                    label=make_label(pipeline, value),
                )
            )
        except Invalid as why:
            refused[place] = why
    return Labelled(labels=labels, refused=refused)


def read_id(value: object, name: str) -> str:
    """The id that predictions and labels meet by: text, or a whole number as its digits.

    >>> read_id(17, "id")
    '17'
    """
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


def read_time(value: object, name: str, written: int) -> int:
    """Milliseconds since 1970 of a record's own time, which may not be much later than it was written."""
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


def _ids(name: str, values: Values, refused: dict[int, Invalid]) -> list[str]:
    ids = []
    for place, value in enumerate(_plain(values)):
        try:
            ids.append(read_id(value, name))
        except Invalid as why:
            ids.append("")
            refused[place] = why
    return ids


def _times(
    name: str, values: Values, written: Sequence[int], refused: dict[int, Invalid]
) -> NDArray[np.int64]:
    times = np.zeros(len(written), dtype=np.int64)
    for place, (value, stamp) in enumerate(zip(_plain(values), written, strict=True)):
        try:
            times[place] = read_time(value, name, stamp)
        except Invalid as why:
            refused.setdefault(place, why)
    return times


def _plain(values: Values) -> Sequence[object]:
    return values.tolist() if isinstance(values, np.ndarray) else values

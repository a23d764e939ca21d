"""The labels of the history: which row each belongs to, what it says, and when it became known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from penstock.cli.backtest.history import id_of, time_of
from penstock.cli.cells import of_labels
from penstock.cli.exits import Exit, Failure
from penstock.cli.recordfile import placed
from penstock.kernel.errors import Invalid
from penstock.kernel.labels import make_label
from penstock.kernel.mistakes import Wrong, show
from penstock.kernel.times import event_time_ms
from penstock.kernel.units import duration_or_none

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from penstock.cli.backtest.history import Row
    from penstock.kernel.pipeline import Pipeline

_ROWS: Final = re.compile(r"(\d{1,9}) ?rows?")
_EARLIEST_MS: Final = 100_000_000_000
"""From here on a number is a time, milliseconds since 1970 (here: 1973); below it is a delay in seconds."""


class Told(NamedTuple):
    """A label.

    Args:
        id: of its event.
        row: number of its event; -1 where there is none.
        label: as a number.
        value: as it is sent.
        time: when it became known, milliseconds; None where it did not within this history.
        before: the row that it arrives just before; None where its time alone says when.
    """

    id: str
    row: int
    label: float
    value: object
    time: int | None
    before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """How much later than its event a label becomes known.

    Args:
        rows: when that many more rows have arrived; None where it is a time.
        ms: after so many milliseconds of event time.
    """

    rows: int | None = None
    ms: int = 0

    @classmethod
    def read(cls, text: str) -> Delay:
        """As it is written on the command line.

        Raises:
            Wrong: it is none.

        >>> Delay.read("48rows"), Delay.read("36h").ms
        (Delay(rows=48, ms=0), 129600000)
        """
        if found := _ROWS.fullmatch(text.strip()):
            return cls(rows=int(found[1]))
        try:
            return cls(ms=duration_or_none(text))
        except Wrong as wrong:
            message = f"expected a duration such as 36h, or so many rows such as 48rows, got {show(text)}"
            raise Wrong(message) from wrong


def labels_of_file(path: Path, pipeline: Pipeline, rows: Sequence[Row]) -> Iterator[Told]:
    """The labels of a file of their own; one without a value says nothing.

    Raises:
        Failure: one has no id, no time, or a value that cannot be a label.
    """
    source = pipeline.labels
    numbers = first_of_each_id(rows)
    for place, record in placed(path, of_labels(pipeline)):
        value = record.get(source.value)
        if value is None:
            continue
        name = id_of(record, source.id, place)
        try:
            label = make_label(pipeline, value)
        except Invalid as why:
            raise Failure(f"{place.at(source.value)}: {why}", Exit.INVALID) from why
        yield Told(name, numbers.get(name, -1), label, value, time_of(record, source.time, place))


def labels_of_column(
    pipeline: Pipeline, rows: Sequence[Row], *, column: str, delay: Delay | str
) -> Iterator[Told]:
    """The labels in a column of the events; of rows with the same id only the first one's.

    Args:
        pipeline: says how a value becomes a label.
        rows: in the order of the file.
        column: for messages.
        delay: the same for all, or the column that it stands in.

    Raises:
        Failure: a value cannot be a label, or a delay is none.
    """
    order = arrival(rows)
    places = {number: place for place, number in enumerate(order)}
    numbers = first_of_each_id(rows)
    for number, row in enumerate(rows):
        if row.label is None or numbers[row.id] != number:
            continue
        try:
            label = make_label(pipeline, row.label)
        except Invalid as why:
            raise Failure(f"{row.place.at(column)}: {why}", Exit.INVALID) from why
        late = delay if isinstance(delay, Delay) else _delay(row, delay)
        if late is None:
            continue
        if late.rows is None:
            yield Told(row.id, number, label, row.label, row.time + late.ms)
            continue
        place = places[number] + late.rows
        before = order[place] if place < len(order) else None
        time = None if before is None else rows[before].time
        yield Told(row.id, number, label, row.label, time, before if late.rows else None)


def arrival(rows: Sequence[Row]) -> list[int]:
    """The numbers of the rows in the order in which they arrive: by event time, then as in the file."""
    return sorted(range(len(rows)), key=lambda number: rows[number].time)


def first_of_each_id(rows: Sequence[Row]) -> dict[str, int]:
    """The number of the first row to arrive, by id."""
    numbers: dict[str, int] = {}
    for number in arrival(rows):
        numbers.setdefault(rows[number].id, number)
    return numbers


def _delay(row: Row, column: str) -> Delay | None:
    """What a cell of the delay column says; None where it is empty, so that the label never comes."""
    value = row.delay
    try:
        match value:
            case None:
                return None
            case int() | float() if not isinstance(value, bool) and 0 <= value < _EARLIEST_MS:
                return Delay(ms=round(value * 1000))
            case str() if value[:1].isdigit() and not re.match(r"\d{4}-", value):
                return Delay.read(value)
            case _:
                return Delay(ms=event_time_ms(value, field=column) - row.time)
    except (Invalid, Wrong) as why:
        message = f"{column} is {show(value)}, expected seconds, a duration such as 36h, or a time"
        raise Failure(f"{row.place.at(column)}: {message}", Exit.INVALID) from why

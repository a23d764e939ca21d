"""Rows as they are given, one, many or as columns, as columns that can be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

Value = str | float | bool | datetime | None
Row = Mapping[str, Value]
Time = datetime | int


class Listed(Protocol):
    """A column as NumPy and Arrow have it."""

    def tolist(self) -> list[Any]: ...


Columns = Mapping[str, "list[Any] | tuple[Any, ...] | Listed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A row with what belongs to it, for a stream.

    Args:
        features: feature name → value.
        id: what its label will be sent under; one is made up where it is empty.
        event_time: when the event is; a number is milliseconds since 1970. Now where it is None.
    """

    features: Row
    id: str = ""
    event_time: Time | None = None


class Table(NamedTuple):
    """Rows by columns.

    Args:
        columns: name → one value for each row.
        size: how many rows.
        single: whether one row was given as such.
    """

    columns: Mapping[str, Sequence[Any]]
    size: int
    single: bool


def table(given: Row | Sequence[Row] | Columns) -> Table:
    """The rows, whichever way they are given.

    Raises:
        TypeError: they are given in none of them.
        ValueError: there are none, or columns of different length.

    >>> table({"age": 41, "plan": "pro"})
    Table(columns={'age': [41], 'plan': ['pro']}, size=1, single=True)
    >>> table([{"age": 41}, {"plan": "pro"}]).columns
    {'age': [41, None], 'plan': [None, 'pro']}
    >>> table({"age": [41, 29], "plan": ("pro", None)}).size
    2
    """
    if isinstance(given, Mapping):
        return _mapping(given)
    return _listing(given)


def _listing(given: Any) -> Table:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(
            f"rows are a {type(given).__name__}, expected a dictionary of values, a list of such, or a "
            "dictionary of columns"
        )
    if not given:
        raise ValueError("there are no rows")
    for place, row in enumerate(given):
        if not isinstance(row, Mapping):
            raise TypeError(f"row {place} is a {type(row).__name__}, expected a dictionary of values")
    names = dict.fromkeys(name for row in given for name in row)
    columns = {name: [row.get(name) for row in given] for name in names}
    return Table(columns, len(given), single=False)


def _mapping(given: Row | Columns) -> Table:
    lists = {name: values for name, value in given.items() if (values := _listed(value)) is not None}
    if not lists:
        return Table({name: [value] for name, value in given.items()}, 1, single=True)
    for name in given:
        if name not in lists:
            raise TypeError(f"feature {name!r} is one value beside columns, expected a column too")
    counts = {name: len(values) for name, values in lists.items()}
    first = next(iter(counts))
    for name, count in counts.items():
        if count != counts[first]:
            raise ValueError(f"column {name!r} has {count} values, {first!r} has {counts[first]}")
    if not counts[first]:
        raise ValueError("there are no rows")
    return Table(lists, counts[first], single=False)


def _listed(value: Any) -> Sequence[Any] | None:
    """The values of a column; None where it is no column."""
    if isinstance(value, list | tuple):
        return value
    tolist = getattr(value, "tolist", None)
    values = tolist() if callable(tolist) else None
    return values if isinstance(values, list) else None  # a scalar of NumPy's has the method too


def milliseconds(time: Time) -> int:
    """Since 1970; a time without a zone is in UTC.

    >>> milliseconds(datetime(1970, 1, 1, 0, 1))
    60000
    """
    if isinstance(time, datetime):
        return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    return time

"""The feature vector: what a model is shown of an event. Intake and gRPC code it by this one function.

Columns are coded at once where every value has the type it should; only a column with an offender is gone
through value by value. A row's fault is its own: its neighbours are coded as if it were not there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.errors import Invalid
from penstock.kernel.kinds import Boolean, Category, Feature, Number, TimePart
from penstock.kernel.mistakes import show
from penstock.kernel.numbers import as_number
from penstock.kernel.times import event_time_ms, local_ms, part_of

FloatArray = NDArray[np.float64]
Values = Sequence[object] | NDArray[np.generic]
NAN: Final = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """The coded rows of a batch.

    Args:
        matrix: shape (rows, features), float32-representable, NaN = missing; all NaN where invalid.
        cleared: per row, the features set missing because the value was out of range or infinite.
        unseen: per row, the features whose category is not in the list.
        invalid: why a row can never be processed, by its place in the batch.
    """

    matrix: FloatArray
    cleared: tuple[tuple[int, ...], ...]
    unseen: tuple[tuple[int, ...], ...]
    invalid: dict[int, Invalid]


@dataclass(slots=True, kw_only=True)
class _Column:
    """One feature of the batch: codes, and what to say about some of the rows."""

    codes: FloatArray
    wrong: dict[int, Invalid] = field(default_factory=dict)
    cleared: NDArray[np.bool_] | None = None


def vectorise(
    features: Sequence[Feature], rows: Sequence[Mapping[str, object]], times: NDArray[np.int64]
) -> Vectors:
    """Code a batch of events.

    Args:
        features: those of the pipeline, in its order.
        rows: the events' fields; unknown ones are ignored, absent and None are missing.
        times: the events' own times, milliseconds since 1970, shape (rows,).

    >>> from penstock.kernel.kinds import Category, Feature, Number
    >>> features = [
    ...     Feature(name="wind", kind=Number(max=200.0)),
    ...     Feature(name="origin", kind=Category(values=("EWR", "JFK"))),
    ... ]
    >>> rows = [{"wind": 8, "origin": "JFK"}, {"wind": 1048.4, "origin": "LGA"}, {"wind": "calm"}]
    >>> vectors = vectorise(features, rows, np.zeros(3, dtype=np.int64))
    >>> vectors.matrix
    array([[ 8.,  2.],
           [nan,  0.],
           [nan, nan]])
    >>> vectors.cleared, vectors.unseen, vectors.invalid
    (((), (0,), ()), ((), (1,), ()), {2: Invalid("feature 'wind' is 'calm', expected a number")})
    """
    names = {feature.field for feature in features if not _at_event_time(feature)}
    return vectorise_columns(features, {name: [row.get(name) for row in rows] for name in names}, times)


def vectorise_columns(
    features: Sequence[Feature], columns: Mapping[str, Values], times: NDArray[np.int64]
) -> Vectors:
    """Code a batch that is held by columns.

    Args:
        features: those of the pipeline, in its order.
        columns: field → one value per row; an absent field is missing in every row.
        times: the events' own times, milliseconds since 1970, shape (rows,).
    """
    matrix = np.full((len(times), len(features)), NAN)
    cleared = np.zeros(matrix.shape, dtype=np.bool_)
    unseen = np.zeros(matrix.shape, dtype=np.bool_)
    invalid: dict[int, Invalid] = {}
    for index, feature in enumerate(features):
        values = columns.get(feature.field)
        if values is None and not _at_event_time(feature):
            values = [None] * len(times)
        column = _code(feature, values if values is not None else [], times)
        matrix[:, index] = column.codes
        if column.cleared is not None:
            cleared[:, index] = column.cleared
        if isinstance(feature.kind, Category):
            unseen[:, index] = column.codes == 0
        if feature.kind.required:
            _demand(feature, column)
        for row, why in column.wrong.items():
            invalid.setdefault(row, why)
    if invalid:
        bad = list(invalid)
        matrix[bad], cleared[bad], unseen[bad] = NAN, False, False
    return Vectors(matrix=matrix, cleared=_places(cleared), unseen=_places(unseen), invalid=invalid)


def _at_event_time(feature: Feature) -> bool:
    return isinstance(feature.kind, TimePart) and feature.kind.at_event_time


def _places(mask: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    """Per row, the columns that are set."""
    places: list[tuple[int, ...]] = [()] * len(mask)
    for row in np.flatnonzero(mask.any(axis=1)).tolist():
        places[row] = tuple(np.flatnonzero(mask[row]).tolist())
    return tuple(places)


def _code(feature: Feature, values: Values, times: NDArray[np.int64]) -> _Column:
    match feature.kind:
        case Number():
            return _range(feature.kind, _numbers(feature.name, values))
        case Category():
            return _categories(feature.name, feature.kind, values)
        case Boolean():
            return _booleans(feature.name, values)
        case TimePart():
            return _time_part(feature.kind, values, times)


def _demand(feature: Feature, column: _Column) -> None:
    """A required value that is missing makes the row invalid."""
    for row in np.flatnonzero(np.isnan(column.codes)).tolist():
        found = "out_of_range" if column.cleared is not None and column.cleared[row] else "missing"
        message = f"feature {feature.name!r} is required, and {found.replace('_', ' ')}"
        column.wrong.setdefault(row, Invalid(message, field=feature.field, reason=found))


def _wrong(name: str, value: object, expected: str) -> Invalid:
    return Invalid(f"feature {name!r} is {show(value)}, expected {expected}", field=name, reason="wrong_type")


def _numbers(name: str, values: Values) -> _Column:
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        return _Column(codes=values.astype(np.float64))
    values = values.tolist() if isinstance(values, np.ndarray) else values
    if set(map(type, values)) <= {float, int, NoneType}:
        try:
            return _Column(codes=np.array(values, dtype=np.float64))
        except OverflowError:  # a whole number beyond any double
            pass
    column = _Column(codes=np.full(len(values), NAN))
    for row, value in enumerate(values):
        number = as_number(value)
        if number is not None:
            column.codes[row] = number
        elif value is not None:
            column.wrong[row] = _wrong(name, value, "a number")
    return column


def _range(kind: Number, column: _Column) -> _Column:
    """Round to float32; what is out of range or infinite becomes missing."""
    with np.errstate(over="ignore"):
        codes = column.codes.astype(np.float32)
    cleared = np.isinf(codes)
    if kind.min is not None:
        cleared |= column.codes < kind.min
    if kind.max is not None:
        cleared |= column.codes > kind.max
    codes[cleared] = NAN
    return _Column(codes=codes.astype(np.float64), wrong=column.wrong, cleared=cleared)


def _categories(name: str, kind: Category, values: Values) -> _Column:
    if kind.values is None:
        raise ValueError(f"the categories of feature {name!r} are not learned yet")
    values = values.tolist() if isinstance(values, np.ndarray) else values
    codes: dict[object, float] = {word: index + 1.0 for index, word in enumerate(kind.values)}
    codes[None] = NAN
    if set(map(type, values)) <= {str, NoneType}:
        return _Column(codes=np.array([codes.get(value, 0.0) for value in values], dtype=np.float64))
    column = _Column(codes=np.full(len(values), NAN))
    for row, value in enumerate(values):
        if value is None or isinstance(value, str):
            column.codes[row] = codes.get(value, 0.0)
        else:
            column.wrong[row] = _wrong(name, value, "text")
    return column


def _booleans(name: str, values: Values) -> _Column:
    values = values.tolist() if isinstance(values, np.ndarray) else values
    if set(map(type, values)) <= {bool, NoneType}:
        return _Column(codes=np.array(values, dtype=np.float64))
    column = _Column(codes=np.full(len(values), NAN))
    for row, value in enumerate(values):
        if isinstance(value, bool):
            column.codes[row] = value
        elif value is not None:
            column.wrong[row] = _wrong(name, value, "true or false")
    return column


def _time_part(kind: TimePart, values: Values, times: NDArray[np.int64]) -> _Column:
    wrong: dict[int, Invalid] = {}
    present = np.ones(len(times), dtype=np.bool_)
    if not kind.at_event_time:
        times = np.zeros(len(times), dtype=np.int64)
        for row, value in enumerate(values):
            try:
                times[row] = 0 if value is None else event_time_ms(value, field=kind.field)
            except Invalid as why:
                wrong[row] = why
            present[row] = value is not None and row not in wrong
    codes = part_of(kind.part, local_ms(times + kind.shift, kind.timezone)).astype(np.float64)
    codes[~present] = NAN
    return _Column(codes=codes, wrong=wrong)

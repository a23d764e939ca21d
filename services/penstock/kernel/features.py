"""The feature vector: what a model is shown of an event. Intake and gRPC code it by this one function.

A row's fault is its own: its neighbours are coded as if it were not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from penstock.kernel.coding import NAN, Broken, FloatArray, Mask, code
from penstock.kernel.columns import Values
from penstock.kernel.errors import Invalid
from penstock.kernel.kinds import Category, Feature, Number, TimePart

__all__ = ["FloatArray", "Values", "Vectors", "vectorise", "vectorise_columns"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """The coded rows of a batch.

    Args:
        matrix: shape (rows, features), float32-representable, NaN = missing; all NaN where invalid.
        cleared: per row, the features set missing because the value broke a rule, a range say.
        unseen: per row, the features whose category is not in the list.
        invalid: why a row can never be processed, by its place in the batch.
        broken: rules that were broken, invalid rows among them, and what became of the values.
    """

    matrix: FloatArray
    cleared: tuple[tuple[int, ...], ...]
    unseen: tuple[tuple[int, ...], ...]
    invalid: dict[int, Invalid]
    broken: tuple[Broken, ...] = ()


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
    cleared: list[tuple[int, Mask]] = []
    unseen: list[tuple[int, Mask]] = []
    invalid: dict[int, Invalid] = {}
    broken: list[Broken] = []
    done = _faultless_numbers(features, columns, matrix)
    for index, feature in enumerate(features):
        if index in done:
            continue
        values = columns.get(feature.field)
        if values is None:
            values = [] if _at_event_time(feature) else [None] * len(times)
        column = code(feature, values, times)
        matrix[:, index] = column.codes
        if (lost := column.cleared()) is not None:
            cleared.append((index, lost))
        if isinstance(feature.kind, Category) and (strange := column.codes == 0).any():
            unseen.append((index, strange))
        for row, why in column.wrong.items():
            invalid.setdefault(row, why)
        broken += column.broken
    bad = list(invalid)
    matrix[bad] = NAN
    return Vectors(
        matrix=matrix,
        cleared=_places(cleared, len(times), bad),
        unseen=_places(unseen, len(times), bad),
        invalid=invalid,
        broken=tuple(broken),
    )


def _faultless_numbers(
    features: Sequence[Feature], columns: Mapping[str, Values], matrix: FloatArray
) -> frozenset[int]:
    """Code the numbers that come as arrays of doubles and break no rule, all at once; which those are."""
    found = [
        (index, feature.kind, values)
        for index, feature in enumerate(features)
        if isinstance(feature.kind, Number)
        and feature.kind.values is None
        and isinstance(values := columns.get(feature.field), np.ndarray)
        and _is_real(values)
    ]
    if not found:
        return frozenset()
    places = np.array([index for index, _, _ in found])
    exact = _side_by_side([values for _, _, values in found])
    with np.errstate(over="ignore"):
        single = exact.astype(np.float32)
    least, most = (
        np.array([bound if bound is not None else endless for bound, endless in bounds])
        for bounds in (
            [(kind.min, -np.inf) for _, kind, _ in found],
            [(kind.max, np.inf) for _, kind, _ in found],
        )
    )
    faulty = (np.isinf(single) | (exact < least) | (exact > most)).any(axis=0)
    demanded = np.array([bool(kind.required) for _, kind, _ in found])
    if demanded.any():
        faulty |= demanded & np.isnan(single).any(axis=0)
    matrix[:, places[~faulty]] = single[:, ~faulty]
    return frozenset(places[~faulty].tolist())


def _is_real(values: NDArray[np.generic]) -> TypeGuard[NDArray[np.float64]]:
    return values.dtype == np.float64


def _side_by_side(columns: Sequence[NDArray[np.float64]]) -> FloatArray:
    """Columns as a matrix: as it lies there, where they are its columns already, in their order."""
    first = columns[0]
    stride, width = first.strides[0], first.itemsize
    start = first.__array_interface__["data"][0]
    for place, each in enumerate(columns):
        lies = each.__array_interface__["data"][0]
        if each.base is None or each.base is not first.base or each.strides[0] != stride:
            break
        if lies != start + place * width:
            break
    else:
        shape = (len(first), len(columns))
        return np.lib.stride_tricks.as_strided(first, shape, (stride, width), writeable=False)
    return np.stack(columns, axis=1)


def _at_event_time(feature: Feature) -> bool:
    return isinstance(feature.kind, TimePart) and feature.kind.at_event_time


def _places(found: Sequence[tuple[int, Mask]], rows: int, bad: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Per row, the columns that are set; none where the row is bad."""
    places: list[tuple[int, ...]] = [()] * rows
    for index, mask in found:
        for row in np.flatnonzero(mask).tolist():
            places[row] += (index,)
    for row in bad if found else ():
        places[row] = ()
    return tuple(places)

"""Numbers out of plain objects: all of them at once, where they are numbers."""

from __future__ import annotations

import math
import struct
from operator import itemgetter
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from penstock.kernel.columns import Values

_NUMBERS: Final = frozenset({float, int, NoneType})


def number_columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Values]:
    """Columns of doubles in which NaN stands for null and for what is absent; none where one is no number.

    What is whole comes as a double too. A value that is anything else, true or false for one, is for others
    to judge: then all of these columns have to be taken value by value.

    >>> columns = number_columns([{"a": 1, "b": 0.5}, {"a": None}], ["a", "b"])
    >>> columns["a"], columns["b"]
    (array([ 1., nan]), array([0.5, nan]))
    >>> number_columns([{"a": 1, "b": 0.5}, {"a": "1"}], ["a", "b"])
    {}
    """
    if not rows or not names:
        return {}
    # Keys as the rows hold them, the same objects, are found without a look at their letters.
    held = {key: key for key in rows[0]}
    keys = [held.get(name, name) for name in names]
    take: Callable[[Mapping[str, Any]], Any] = itemgetter(*keys)
    pack = struct.Struct(f"<{len(keys)}d").pack
    try:
        lines: list[Sequence[Any]] = (
            list(map(take, rows)) if len(keys) > 1 else [(take(row),) for row in rows]
        )
        packed = [pack(*line) for line in lines]
    except (KeyError, struct.error):  # something is absent or null, or no number
        lines = [[row.get(key) for key in keys] for row in rows]
        if any(not set(map(type, line)) <= _NUMBERS for line in lines):
            return {}
        try:
            packed = [pack(*(math.nan if value is None else value for value in line)) for line in lines]
        except struct.error:  # a whole number beyond any double
            return {}
    matrix = np.frombuffer(b"".join(packed), dtype="<f8").reshape(len(rows), len(keys))
    # True and False are packed like 1 and 0, so where these stand it has to be looked at what they were.
    for place in np.flatnonzero(((matrix == 0) | (matrix == 1)).any(axis=1)).tolist():
        if bool in set(map(type, lines[place])):
            return {}
    return {name: matrix[:, place] for place, name in enumerate(names)}

"""Numbers out of plain objects: all of them at once, where they are numbers."""

from __future__ import annotations

import math
import struct
from operator import itemgetter
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from penstock.kernel.columns import Values

_ALONE = 1


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
    lines: list[Sequence[Any]] = []
    packed: list[bytes] = []
    for row in rows:
        try:
            line = take(row) if len(keys) > _ALONE else (take(row),)
            packed.append(pack(*line))
        except (KeyError, struct.error):
            line = [row.get(key) for key in keys]
            if not set(map(type, line)) <= {float, int, NoneType}:
                return {}
            try:
                packed.append(pack(*(math.nan if value is None else value for value in line)))
            except struct.error:  # a whole number beyond any double
                return {}
        lines.append(line)
    matrix = np.frombuffer(b"".join(packed), dtype="<f8").reshape(len(rows), len(keys))
    # True and False are packed like 1 and 0, so where these stand it has to be looked at what they were.
    for place in np.flatnonzero(((matrix == 0) | (matrix == 1)).any(axis=1)).tolist():
        if bool in set(map(type, lines[place])):
            return {}
    return {name: matrix[:, place] for place, name in enumerate(names)}

"""Feature rows read by columns: the heads of all rows field by field, their features as one matrix."""

from __future__ import annotations

import json
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np

from penstock.contracts.records import FeatureRow
from penstock.contracts.schemas import SCHEMAS
from penstock.kernel.errors import Invalid
from penstock.runtime.avro import HEADER, LARGEST_OWN
from penstock.runtime.columnar.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from penstock.kernel.features import FloatArray
    from penstock.runtime.codec import Codec, RowCodec

    Ints = NDArray[np.int64]


class Rows(NamedTuple):
    """Rows of one layout, in the order in which they came.

    Args:
        codec: of their layout.
        places: of their payloads among those that were read, ascending.
        ids: one for each row.
        times: of the events, milliseconds since 1970, shape (rows,).
        cleared: indices of features set missing, by row.
        matrix: the features, shape (rows, features), NaN = missing.
    """

    codec: RowCodec[FeatureRow]
    places: Ints
    ids: list[str]
    times: Ints
    cleared: list[tuple[int, ...]]
    matrix: FloatArray


def read_rows(codec: Codec, payloads: Sequence[bytes | None]) -> tuple[list[Rows], Mapping[int, Invalid]]:
    """The rows of each layout, and why other payloads are none, by place.

    What is read, and what is said of what cannot be, is as `Codec.decode` has it for each.

    Raises:
        UnknownSchema: nothing is known of the schema of one of them.

    >>> from penstock.runtime.codec import Codec
    >>> codec = Codec()
    >>> rows = codec.rows(FeatureRow, "churn", "00ff", ["age", "plan"])
    >>> head = FeatureRow(id="a", time=7, cleared=(), flags=())
    >>> [payload] = rows.encode([head], np.array([[41.0, np.nan]]))
    >>> [found], refused = read_rows(codec, [b"?", payload])
    >>> found.ids, found.times.tolist(), found.matrix.tolist(), found.places.tolist()
    (['a'], [7], [[41.0, nan]], [1])
    >>> refused
    {0: Invalid('not single-object Avro: it begins with 3f')}
    """
    refused: dict[int, Invalid] = {}
    groups = [_group(codec, payloads, places, refused) for places in _alike(payloads)]
    return [rows for rows in groups if rows is not None], dict(sorted(refused.items()))


def _alike(payloads: Sequence[bytes | None]) -> list[Sequence[int]]:
    """The places of those that begin alike, and so have one schema if they have any."""
    some = cast("Sequence[bytes]", payloads)
    if None not in payloads and len(set(map(_BEGINNING, some))) == 1:
        return [range(len(payloads))]
    groups: dict[bytes, list[int]] = {}
    for place, payload in enumerate(payloads):
        groups.setdefault((payload or b"")[:HEADER], []).append(place)
    return list(groups.values())


def _group(
    codec: Codec, payloads: Sequence[bytes | None], places: Sequence[int], refused: dict[int, Invalid]
) -> Rows | None:
    for index, place in enumerate(places):
        try:
            _, rows = _decoded(codec, payloads[place])
        except Invalid as why:
            refused[place] = why
            continue
        places = places[index:]
        whole = len(places) == len(payloads)
        its = cast("Sequence[bytes]", payloads if whole else [payloads[at] for at in places])
        return _read(codec, rows, its, places, refused)
    return None


def _read(
    codec: Codec,
    rows: RowCodec[FeatureRow],
    payloads: Sequence[bytes],
    places: Sequence[int],
    refused: dict[int, Invalid],
) -> Rows:
    count, features = len(payloads), len(rows.names)
    cleared: list[tuple[int, ...]] = [()] * count
    if features and _as_expected(rows.schema.text):
        ids, times, matrix, odd = _columns(rows.schema.header, payloads, features)
    else:
        ids, times, matrix = [""] * count, np.zeros(count, dtype=np.int64), np.empty((count, features))
        odd = np.ones(count, dtype=np.bool_)
    kept = np.ones(count, dtype=np.bool_)
    for row in np.flatnonzero(odd).tolist():
        try:
            head, _ = _decoded(codec, payloads[row])
        except Invalid as why:
            refused[places[row]] = why
            kept[row] = False
        else:
            ids[row], times[row], cleared[row] = head.id, head.time, head.cleared
            matrix[row] = rows.matrix(payloads[row : row + 1])[0]
    found = Rows(rows, np.asarray(places, dtype=np.int64), ids, times, cleared, matrix)
    if kept.all():
        return found
    left = np.flatnonzero(kept)
    return Rows(
        rows,
        found.places[left],
        [ids[row] for row in left.tolist()],
        times[left],
        [cleared[row] for row in left.tolist()],
        matrix[left],
    )


def _columns(
    header: bytes, payloads: Sequence[bytes], features: int
) -> tuple[list[str], Ints, FloatArray, NDArray[np.bool_]]:
    """Ids, times and features of the rows; and which are odd: they have more to say, or are none."""
    width = 8 * features
    cursor = Cursor(payloads, header, widest=width)
    ids = cursor.texts(*cursor.spans())
    times = cursor.integers()
    for _ in _BESIDE:
        cursor.odd = cursor.odd | (cursor.bytes[cursor.at] != 0)
        cursor.move(1)
    at = cursor.at
    cursor.move(width)
    cursor.finish()
    matrix = cursor.windows(width)[at].view("<f8").reshape(len(payloads), features)
    return ids, times, matrix, cursor.odd | (cursor.sizes > LARGEST_OWN)


def _decoded(codec: Codec, payload: bytes | None) -> tuple[FeatureRow, RowCodec[FeatureRow]]:
    if payload is None:
        raise Invalid("the record has no value", reason="empty")
    head, rows = codec.decode(payload)
    if not isinstance(head, FeatureRow) or rows is None:
        raise Invalid(f"a {type(head).__name__} is no feature row", reason="unexpected")
    return head, rows


_BEGINNING: Final[Callable[[bytes], bytes]] = itemgetter(slice(HEADER))
_BESIDE: Final = ("cleared", "flags")
"""Fields between the time and the features; where both are empty they are a zero each."""


def _fields(schema: Any) -> list[tuple[str, str]]:
    return [(field["name"], json.dumps(field["type"], sort_keys=True)) for field in schema["fields"][:-1]]


_EXPECTED: Final = _fields(json.loads(SCHEMAS[FeatureRow.__name__]))


@lru_cache(maxsize=1024)
def _as_expected(schema: str) -> bool:
    """Whether rows of this schema have the fields that are read here, in that order."""
    return _fields(json.loads(schema)) == _EXPECTED

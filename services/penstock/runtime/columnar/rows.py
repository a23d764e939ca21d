"""Feature rows written by columns: each field of all rows at once, into the buffer that holds them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from penstock.contracts.records import FeatureRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from penstock.kernel.features import FloatArray
    from penstock.runtime.codec import RowCodec

    Ints = NDArray[np.int64]

_VARINT: Final = 10
"""Bytes that an integer of variable length has at most."""
_EMPTY: Final = b"\0\0"
"""What `cleared` and `flags` are written as where they are empty, as they nearly always are."""


def write_rows(
    rows: RowCodec[FeatureRow],
    *,
    ids: Sequence[str],
    times: Ints,
    cleared: Sequence[tuple[int, ...]],
    flags: Sequence[tuple[str, ...]],
    matrix: FloatArray,
) -> list[bytes]:
    """The payloads that `rows.encode` makes of the same rows.

    Args:
        rows: of the layout of these features.
        ids: of the rows.
        times: milliseconds since 1970, shape (rows,).
        cleared: indices of features set missing, by row.
        flags: what rules say of a row.
        matrix: the features, shape (rows, features), at least one of them.

    >>> from penstock.runtime.codec import Codec
    >>> rows = Codec().rows(FeatureRow, "churn", "00ff", ["age", "plan"])
    >>> matrix = np.array([[41.0, np.nan], [7.0, 2.0]])
    >>> payloads = write_rows(
    ...     rows, ids=["a", "é"], times=np.array([0, -1]), cleared=[(), (1,)], flags=[(), ()], matrix=matrix
    ... )
    >>> rows.head(payloads[1]), rows.matrix(payloads)[1]
    (FeatureRow(id='é', time=-1, cleared=(1,), flags=()), array([7., 2.]))
    """
    if not ids:
        return []
    payloads = _plain_rows(rows.schema.header, ids, times, matrix)
    for row, (gone, marks) in enumerate(zip(cleared, flags, strict=True)):
        if gone or marks:
            head = FeatureRow(id=ids[row], time=int(times[row]), cleared=gone, flags=marks)
            [payloads[row]] = rows.encode([head], matrix[row : row + 1])
    return payloads


def _plain_rows(header: bytes, ids: Sequence[str], times: Ints, matrix: FloatArray) -> list[bytes]:
    """Of rows with nothing cleared and no flags.

    Fields are written in the order in which they lie there. A field of changing length is written with the
    bytes that stand behind it in some buffer; they are written over by what follows, the last of which, the
    features, is exact and at least as long as they are.
    """
    count, features = matrix.shape
    raw, sizes = _texts(ids)
    size_bytes, size_sizes = _varints(sizes)
    time_bytes, time_sizes = _varints(times)
    lengths = len(header) + size_sizes + sizes + time_sizes + len(_EMPTY) + 8 * features
    ends: Ints = np.cumsum(lengths)
    starts = ends - lengths
    out = np.empty(int(lengths.sum()) + _VARINT, dtype=np.uint8)
    at = starts
    _put(out, at, np.frombuffer(header, dtype=f"V{len(header)}"))
    at = at + len(header)
    _put(out, at, size_bytes)
    at = at + size_sizes
    sources = np.cumsum(sizes) - sizes
    for place in range(0, int(sizes.max(initial=0)), 8):
        longer = np.flatnonzero(sizes > place)
        _put(out, at[longer] + place, _windows(raw, 8)[sources[longer] + place])
    at = at + sizes
    _put(out, at, time_bytes)
    at = at + time_sizes
    _put(out, at, np.frombuffer(_EMPTY, dtype=f"V{len(_EMPTY)}"))
    at = at + len(_EMPTY)
    lines = np.ascontiguousarray(matrix, dtype="<f8").view(f"V{8 * features}").reshape(count)
    _put(out, at, lines)
    whole = out.tobytes()
    return [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _texts(texts: Sequence[str]) -> tuple[NDArray[np.uint8], Ints]:
    """Their bytes end to end, with eight more behind them, and how many bytes each has."""
    whole = "".join(texts)
    raw = whole.encode()
    lengths = map(len, texts) if len(raw) == len(whole) else (len(text.encode()) for text in texts)
    return (
        np.frombuffer(raw + bytes(8), dtype=np.uint8),
        np.fromiter(lengths, dtype=np.int64, count=len(texts)),
    )


def _varints(values: Ints) -> tuple[NDArray[np.void], Ints]:
    """Zigzag integers of variable length, each in ten bytes, and how many of these count."""
    left = ((values << 1) ^ (values >> 63)).astype(np.uint64)
    found = np.zeros((len(values), _VARINT), dtype=np.uint8)
    sizes = np.ones(len(values), dtype=np.int64)
    for place in range(_VARINT):
        more = left > 0x7F  # noqa: PLR2004 - the seven bits of a byte that are the number's
        found[:, place] = (left & np.uint64(0x7F)).astype(np.uint8) | (more.astype(np.uint8) << 7)
        if not more.any():
            break
        sizes += more
        left = np.where(more, left >> np.uint64(7), 0)
    return found.view(f"V{_VARINT}").reshape(len(values)), sizes


def _windows(buffer: NDArray[np.uint8], width: int) -> NDArray[np.void]:
    """So many bytes from any place on."""
    return np.ndarray((len(buffer) - width + 1,), dtype=f"V{width}", buffer=buffer.data, strides=(1,))


def _put(out: NDArray[np.uint8], at: Ints, what: NDArray[np.void]) -> None:
    _windows(out, what.dtype.itemsize)[at] = what

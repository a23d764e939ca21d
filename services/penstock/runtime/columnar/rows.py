"""Feature rows written by columns: each field of all rows at once, into the buffer that holds them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from penstock.contracts.records import FeatureRow
from penstock.runtime.columnar import pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from penstock.kernel.features import FloatArray
    from penstock.runtime.codec import RowCodec

    Ints = NDArray[np.int64]

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
    """Of rows with nothing cleared and no flags."""
    names = pieces.texts(ids)
    return pieces.lay(
        len(ids),
        [
            pieces.constant(header),
            pieces.varints(names.sizes),
            names,
            pieces.varints(times),
            pieces.constant(_EMPTY),
            pieces.table(matrix),
        ],
    )

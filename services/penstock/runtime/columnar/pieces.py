"""Payloads put together by columns: each piece of all rows at once, into the buffer that holds them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_VARINT: Final = 10
"""Bytes that an integer of variable length has at most."""


class Piece(NamedTuple):
    """What stands at one place of each payload.

    Args:
        blocks: of one width; one for each row, or one for all of them.
        sizes: how many bytes of its block count, for each row or for all.
    """

    blocks: NDArray[np.void]
    sizes: Ints | int

    def put(self, out: NDArray[np.uint8], at: Ints) -> None:
        _put(out, at, self.blocks)


class Texts(NamedTuple):
    """Texts of any length, without their sizes.

    Args:
        raw: their bytes end to end, and eight more.
        sizes: bytes of each.
    """

    raw: NDArray[np.uint8]
    sizes: Ints

    def put(self, out: NDArray[np.uint8], at: Ints) -> None:
        sizes = self.sizes
        sources = np.cumsum(sizes) - sizes
        windows = _windows(self.raw, 8)
        for place in range(0, int(sizes.max(initial=0)), 8):
            longer = np.flatnonzero(sizes > place)
            _put(out, at[longer] + place, windows[sources[longer] + place])


def lay(rows: int, pieces: Sequence[Piece | Texts]) -> list[bytes]:
    r"""The payloads, each its pieces one behind the other.

    A piece whose block is longer than its size is written whole, and what is too much of it is written over
    by the pieces that follow: in every row they must be as long as that, nine bytes at most behind a number
    or a text, and the last piece must be exact.

    >>> tail = np.zeros((2, 2))
    >>> [payload[:-16] for payload in lay(2, [constant(b"!"), varints(np.array([1, -300])), table(tail)])]
    [b'!\x02', b'!\xd7\x04']
    """
    lengths: Ints = np.zeros(rows, dtype=np.int64)
    for piece in pieces:
        lengths += piece.sizes
    ends: Ints = np.cumsum(lengths)
    at = starts = ends - lengths
    out = np.empty(int(lengths.sum()) + max(8, _VARINT), dtype=np.uint8)
    for piece in pieces:
        piece.put(out, at)
        at = at + piece.sizes
    whole = out.tobytes()
    return [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def constant(same: bytes) -> Piece:
    """The same bytes in each row, at least one."""
    return Piece(np.frombuffer(same, dtype=f"V{len(same)}"), len(same))


def chosen(options: Sequence[bytes], codes: Ints) -> Piece:
    """One of a few for each row; they differ in length by nine bytes at most."""
    width = max(map(len, options))
    blocks = np.frombuffer(b"".join(option.ljust(width) for option in options), dtype=f"V{width}")
    sizes = np.fromiter(map(len, options), dtype=np.int64, count=len(options))
    return Piece(blocks[codes], sizes[codes])


def table(matrix: NDArray[np.floating] | NDArray[np.uint8]) -> Piece:
    """A line of doubles, or of bytes, for each row; shape (rows, at least one)."""
    exact = matrix if matrix.dtype == np.uint8 else np.asarray(matrix, dtype="<f8")
    width = exact.shape[1] * exact.itemsize
    return Piece(np.ascontiguousarray(exact).view(f"V{width}").reshape(len(exact)), width)


def varints(values: Ints) -> Piece:
    """Zigzag integers of variable length."""
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
    return Piece(found.view(f"V{_VARINT}").reshape(len(values)), sizes)


def texts(values: Sequence[str]) -> Texts:
    """Of each row one."""
    whole = "".join(values)
    raw = whole.encode()
    lengths = map(len, values) if len(raw) == len(whole) else (len(text.encode()) for text in values)
    return Texts(
        np.frombuffer(raw + bytes(8), dtype=np.uint8),
        np.fromiter(lengths, dtype=np.int64, count=len(values)),
    )


def _windows(buffer: NDArray[np.uint8], width: int) -> NDArray[np.void]:
    """So many bytes from any place on."""
    return np.ndarray((len(buffer) - width + 1,), dtype=f"V{width}", buffer=buffer.data, strides=(1,))


def _put(out: NDArray[np.uint8], at: Ints, what: NDArray[np.void]) -> None:
    _windows(out, what.dtype.itemsize)[at] = what

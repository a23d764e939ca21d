"""Texts that come again and again, known by their first sixteen bytes: no text is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from penstock.kernel.columns import Words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from penstock.runtime.columnar.cursor import Cursor, Ints

_KNOWN: Final = 1024
"""Words that are remembered; a field with more is not a category, and its others are looked up anew."""
_SEEN: Final = 16
"""Bytes that are compared here. A longer word is looked up by itself."""
# Odd numbers with their bits well mixed, from SplitMix64: what they spread is compared whole afterwards.
_MIX: Final = tuple(np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Vocabulary:
    r"""The words that one field was seen to hold.

    >>> from penstock.runtime.columnar.cursor import Cursor
    >>> cursor = Cursor([b"\x06pro", b"\x08free", b"\x06pro"])
    >>> vocabulary = Vocabulary()
    >>> words = vocabulary.read(cursor, *cursor.spans())
    >>> list(words), words.words
    (['pro', 'free', 'pro'], (None, 'pro', 'free'))
    """

    def __init__(self) -> None:
        self._codes: dict[bytes, int] = {}
        self._words: tuple[str | None, ...] = (None,)
        self._learn()

    def read(self, cursor: Cursor, starts: Ints, sizes: Ints) -> Words:
        """The spans as words; a record with bytes that are no text is odd."""
        first, second = cursor.words(starts, sizes, 0), cursor.words(starts, sizes, 8)
        place = np.searchsorted(self._mixed, _mixed(first, second, sizes))
        found = self._order[np.minimum(place, len(self._order) - 1)]
        same = (self._first[found] == first) & (self._second[found] == second) & (self._sizes[found] == sizes)
        if same.all():
            return Words(self._words, found)
        return self._look_up(cursor, starts, sizes, np.where(same, found, 0), np.flatnonzero(~same))

    def _look_up(
        self, cursor: Cursor, starts: Ints, sizes: Ints, codes: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> Words:
        """As `read`, for the rows that are not known at sight; `codes` has the others."""
        known, words, odd = self._codes, list(self._words), cursor.odd.copy()
        fresh: dict[bytes, int] = {}
        for row in rows.tolist():
            start = int(starts[row])
            raw = cursor.joined[start : start + int(sizes[row])]
            code = known.get(raw) or fresh.get(raw)
            if code is None:
                try:
                    word = raw.decode()
                except UnicodeDecodeError:
                    odd[row] = True
                    continue
                code = fresh[raw] = len(words)
                words.append(word)
            codes[row] = code
        cursor.odd = odd
        if fresh and len(known) < _KNOWN:
            room = _KNOWN - len(known)
            self._codes |= dict(list(fresh.items())[:room])
            self._words = tuple(words[: len(self._codes) + 1])
            self._learn()
        return Words(tuple(words), codes)

    def _learn(self) -> None:
        """Tables of the words known, by code; code 0 stands for none, with a size that no span has."""
        raws = [b"", *self._codes]
        padded = np.frombuffer(b"".join(raw[:_SEEN].ljust(_SEEN, b"\0") for raw in raws), dtype="<u8")
        self._first, self._second = padded[::2].copy(), padded[1::2].copy()
        # Of what follows the sixteenth byte nothing is known: a long word is never known at sight.
        self._sizes = np.array(
            [-1, *(len(raw) if len(raw) <= _SEEN else -1 for raw in raws[1:])], dtype=np.int64
        )
        mixed = _mixed(self._first, self._second, self._sizes)
        self._order = np.argsort(mixed, kind="stable")
        self._mixed = mixed[self._order]


def _mixed(
    first: NDArray[np.uint64], second: NDArray[np.uint64], sizes: NDArray[np.int64]
) -> NDArray[np.uint64]:
    spread: NDArray[np.uint64] = (first * _MIX[0]) ^ (second * _MIX[1]) ^ (sizes.view(np.uint64) * _MIX[2])
    return spread

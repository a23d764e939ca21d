"""Where a batch's records are being read: all of them at once, one field after the other."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_LEAST: Final = 16
"""Bytes that may be looked at from any place on, whatever is left of the record there."""
_VARINT: Final = 9
"""Bytes of an integer of variable length that are read here; the tenth would hold the last bit of 64."""
_VALUE: Final = np.uint8(0x7F)
"""The bits of a byte of such an integer; the highest says that another byte follows."""
_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
"""Keeps the first so many of eight bytes."""
_HIGH: Final = np.uint64(0x8080808080808080)
_SHORT: Final = 64
"""Bytes of a text that are looked at eight at a time; a longer one is looked at by itself."""


class Cursor:
    r"""A batch of payloads laid end to end, and the place in each where the next field begins.

    A record that does not go as it should is marked `odd` and is of no further interest: what is read of it
    from then on is made up. No read ever leaves the buffer, whatever the bytes say.

    Args:
        payloads: the batch.
        header: what each begins with, before its first field; a record that does not is odd.
        widest: the most bytes that are looked at in one go.

    >>> cursor = Cursor([b"!\x02\x04hi", b"!\x04"], b"!")
    >>> cursor.integers().tolist(), cursor.odd.tolist()
    ([1, 2], [False, False])
    >>> starts, sizes = cursor.spans()
    >>> cursor.texts(starts, sizes), cursor.odd.tolist()
    (['hi', ''], [False, True])
    """

    __slots__ = ("_ends", "_starts", "_text", "_zeros", "at", "bytes", "eights", "joined", "odd")

    def __init__(self, payloads: Sequence[bytes], header: bytes = b"", *, widest: int = 0) -> None:
        after = max(_LEAST, widest)
        # Behind the last record are zeros for what is looked at beyond its end, and as many that are read
        # where a value is absent.
        self.joined = b"".join([*payloads, bytes(2 * after)])
        lengths = np.fromiter(map(len, payloads), dtype=np.int64, count=len(payloads))
        self._ends: Ints = np.cumsum(lengths)
        self._starts: Ints = self._ends - lengths
        self._zeros = len(self.joined) - 2 * after, len(self.joined) - after
        self._text: str | None = None
        self.bytes = np.frombuffer(self.joined, dtype=np.uint8)
        self.eights = self.windows(8).view("<u8")
        self.odd: Mask = np.zeros(len(payloads), dtype=np.bool_)
        self.at = self._starts
        self.move(len(header))
        self._expect(header)

    def windows(self, width: int) -> NDArray[np.void]:
        """So many bytes from any place on."""
        places = len(self.joined) - width + 1
        return np.ndarray((places,), dtype=f"V{width}", buffer=self.joined, strides=(1,))

    def doubles(self, at: Ints, count: int) -> NDArray[np.float64]:
        """So many doubles of each record from its place on, shape (records, count)."""
        if len(at) > 1:
            first, step = int(at[0]), int(at[1] - at[0])
            if first % 8 == 0 and step % 8 == 0 and (np.diff(at) == step).all():
                # They lie as doubles in memory do, and can be looked at where they are.
                shape, strides = (len(at), count), (step, 8)
                return np.ndarray(shape, dtype="<f8", buffer=self.joined, offset=first, strides=strides)
        return self.windows(8 * count)[at].view("<f8").reshape(len(at), count)

    def move(self, by: int | Ints) -> None:
        """Go on; a record that has not so much left is odd."""
        self.at = self.at + by
        beyond = self.at > self._ends
        if beyond.any():
            self.odd = self.odd | beyond
            self.at = np.minimum(self.at, self._ends)

    def finish(self) -> None:
        """Every record must be at its end now."""
        self.odd = self.odd | (self.at != self._ends)

    @property
    def sizes(self) -> Ints:
        """Bytes of each payload."""
        return self._ends - self._starts

    def integers(self) -> Ints:
        """Zigzag integers of variable length."""
        byte = self.bytes[self.at]
        value = (byte & _VALUE).astype(np.int64)
        more = byte > _VALUE
        at = self.at
        for shift in range(7, 7 * _VARINT, 7):
            if not more.any():
                break
            at = at + more
            byte = self.bytes[at]
            value |= np.where(more, byte & _VALUE, 0).astype(np.int64) << shift
            more &= byte > _VALUE
        self.odd = self.odd | more
        self.at = at
        self.move(1)
        return (value >> 1) ^ -(value & 1)

    def spans(self) -> tuple[Ints, Ints]:
        """Starts and sizes of texts or bytes, each behind its size."""
        sizes = self.integers()
        wrong = (sizes < 0) | (sizes > self._ends - self.at)
        if wrong.any():
            self.odd = self.odd | wrong
            sizes = np.where(wrong, 0, sizes)
        starts = self.at
        self.at = starts + sizes
        return starts, sizes

    def words(self, starts: Ints, sizes: Ints, place: int) -> NDArray[np.uint64]:
        """Eight bytes of each span, from `place` on, as a number; what lies beyond its end is zero."""
        left = np.clip(sizes - place, 0, 8)
        found: NDArray[np.uint64] = self.eights[np.where(left > 0, starts + place, 0)] & _MASKS[left]
        return found

    def texts(self, starts: Ints, sizes: Ints) -> list[str]:
        """The spans as text; a record with bytes that are none is odd."""
        if self._text is None:
            # Every byte as the character of its number: a slice of it is the text wherever that is ASCII.
            self._text = self.joined.decode("latin-1")
        whole = self._text
        ends = (starts + sizes).tolist()
        texts = [whole[start:end] for start, end in zip(starts.tolist(), ends, strict=True)]
        for row, text in self._decoded(starts, sizes):
            texts[row] = text
        return texts

    def check_texts(self, starts: Ints, sizes: Ints) -> None:
        """As `texts`, where nobody wants them."""
        for _ in self._decoded(starts, sizes):
            pass

    @contextmanager
    def only(self, present: Mask) -> Iterator[None]:
        """Read on only in these rows: in the others zeros are read, and they stay where they are."""
        at, odd, ends = self.at, self.odd, self._ends
        zeros, after = self._zeros
        self.at, self._ends = np.where(present, at, zeros), np.where(present, ends, after)
        yield
        self._ends = ends
        self.at, self.odd = np.where(present, self.at, at), np.where(present, self.odd, odd)

    def _expect(self, header: bytes) -> None:
        for place in {0, max(0, len(header) - 8)}:
            part = header[place : place + 8]
            found = self.eights[np.minimum(self._starts + place, self._ends)] & _MASKS[len(part)]
            self.odd = self.odd | (found != np.uint64(int.from_bytes(part, "little")))

    def _decoded(self, starts: Ints, sizes: Ints) -> Iterator[tuple[int, str]]:
        """The texts that are not plain ASCII or long, by row."""
        high = np.zeros(len(starts), dtype=np.uint64)
        for place in range(0, min(int(sizes.max(initial=0)), _SHORT), 8):
            high |= self.words(starts, sizes, place)
        odd = None
        for row in np.flatnonzero(((high & _HIGH) != 0) | (sizes > _SHORT)).tolist():
            start = int(starts[row])
            try:
                yield row, self.joined[start : start + int(sizes[row])].decode()
            except UnicodeDecodeError:
                odd = self.odd.copy() if odd is None else odd
                odd[row] = True
        self.odd = self.odd if odd is None else odd

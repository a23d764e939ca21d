"""How one field is read of all records at once; a step goes on by it and leaves what was wanted of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from penstock.kernel.columns import Values, Words, plain
from penstock.runtime.columnar.cursor import Cursor
from penstock.runtime.columnar.vocabulary import Vocabulary

if TYPE_CHECKING:
    from penstock.runtime.columnar.cursor import Ints, Mask

Found = dict[str, Values]
Step = Callable[[Cursor, Found], None]

REALS: Final[Mapping[str, str]] = {"double": "<f8", "float": "<f4"}
"""What Avro writes in a fixed number of bytes and calls a number."""


class Real(NamedTuple):
    """A field of a run of them; without a path nobody wants it."""

    path: str | None
    kind: str


def reals(run: Sequence[Real]) -> Step:
    """Numbers of fixed width one after the other: taken in one piece, as an array of all of them."""
    layout = np.dtype([(f"f{place}", REALS[each.kind]) for place, each in enumerate(run)])
    wanted = [(place, each.path) for place, each in enumerate(run) if each.path is not None]
    doubles = all(each.kind == "double" for each in run)

    def step(cursor: Cursor, found: Found) -> None:
        at = cursor.at
        cursor.move(layout.itemsize)
        if not wanted:
            return
        if doubles:
            matrix = cursor.doubles(at, len(run))
            found.update((path, matrix[:, place]) for place, path in wanted)
        else:
            table = cursor.windows(layout.itemsize)[at].view(layout)
            with np.errstate(invalid="ignore"):  # there are more NaNs than one, and some complain
                found.update((path, table[f"f{place}"].astype(np.float64)) for place, path in wanted)

    return step


def width(run: Sequence[Real]) -> int:
    """Bytes of it."""
    return sum(np.dtype(REALS[each.kind]).itemsize for each in run)


def integers(path: str | None, *, number: bool) -> Step:
    def step(cursor: Cursor, found: Found) -> None:
        values = cursor.integers()
        if path is not None:
            found[path] = values.astype(np.float64) if number else values

    return step


def booleans(path: str | None) -> Step:
    def step(cursor: Cursor, found: Found) -> None:
        values = cursor.bytes[cursor.at] != 0
        cursor.move(1)
        if path is not None:
            found[path] = values

    return step


def texts(path: str | None) -> Step:
    def step(cursor: Cursor, found: Found) -> None:
        starts, sizes = cursor.spans()
        if path is None:
            cursor.check_texts(starts, sizes)
        else:
            found[path] = cursor.texts(starts, sizes)

    return step


def words(path: str) -> Step:
    """Texts of which there are few different ones."""
    vocabulary = Vocabulary()

    def step(cursor: Cursor, found: Found) -> None:
        found[path] = vocabulary.read(cursor, *cursor.spans())

    return step


def symbols(path: str | None, names: Sequence[str]) -> Step:
    """An enum."""
    known = (None, *names)

    def step(cursor: Cursor, found: Found) -> None:
        places = cursor.integers()
        beyond = (places < 0) | (places >= len(names))
        cursor.odd = cursor.odd | beyond
        if path is not None:
            found[path] = Words(known, np.where(beyond, 0, places + 1))

    return step


def raw(path: str | None) -> Step:
    """Bytes."""

    def step(cursor: Cursor, found: Found) -> None:
        starts, sizes = cursor.spans()
        if path is not None:
            found[path] = _pieces(cursor, starts, starts + sizes)

    return step


def fixed(path: str | None, size: int) -> Step:
    """So many bytes."""

    def step(cursor: Cursor, found: Found) -> None:
        starts = cursor.at
        cursor.move(size)
        if path is not None:
            found[path] = _pieces(cursor, starts, starts + size)

    return step


def _pieces(cursor: Cursor, starts: Ints, ends: Ints) -> list[bytes]:
    whole = cursor.joined
    return [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def nothing(path: str | None) -> Step:
    """A null."""

    def step(cursor: Cursor, found: Found) -> None:
        if path is not None:
            found[path] = [None] * len(cursor.at)

    return step


def nullable(inner: Step, *, null: int) -> Step:
    """A union of null, at the branch so numbered, and one other type."""

    def step(cursor: Cursor, found: Found) -> None:
        branch = cursor.integers()
        cursor.odd = cursor.odd | ((branch != 0) & (branch != 1))
        present = branch == 1 - null
        if present.all():
            inner(cursor, found)
            return
        some: Found = {}
        with cursor.only(present):
            inner(cursor, some)
        found.update((path, _blank(values, present)) for path, values in some.items())

    return step


def _blank(values: Values, present: Mask) -> Values:
    """Missing where it is not present."""
    if isinstance(values, Words):
        return Words(values.words, np.where(present, values.codes, 0))
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return np.where(present, values, np.nan)
    rows: Sequence[Any] = plain(values)
    return [value if there else None for value, there in zip(rows, present.tolist(), strict=True)]

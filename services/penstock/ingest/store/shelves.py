"""What the join asks of whatever keeps its cases, and the answer in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from penstock.ingest.domain.cases import MemoryStore, Store


class Place(NamedTuple):
    """A partition of a pipeline."""

    pipeline: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """How far a place is known: written together with what is known, so neither is ever without the other.

    Args:
        source: cluster and topics that it was read from; offsets of others mean nothing.
        predictions: offset of the next one.
        labels: the same.
        outcomes: offset that this is known up to, at least.
        seen: greatest event time of predictions and of labels.
        watermark: as it was last written to the outcomes.
        idle: the same.
    """

    source: str
    predictions: int
    labels: int
    outcomes: int
    seen: tuple[int | None, int | None] = (None, None)
    watermark: int | None = None
    idle: bool = False


class Shelf(Store, Protocol):
    """The cases of one place, and the records of its predictions."""

    def fetch(self, names: Iterable[str]) -> None:
        """Say which cases are going to be asked for: together they cost less."""
        ...

    def put(self, offset: int, payload: bytes) -> None:
        """The record of a prediction."""
        ...

    def get(self, offsets: Sequence[int]) -> list[bytes]:
        """Records of predictions that were put here and not trimmed."""
        ...

    def trim(self, first: int) -> None:
        """Let go of the records of predictions before an offset."""
        ...


class Cache(Protocol):
    """All places of a process.

    What is written to a shelf is staged: it is there for whoever reads the shelf, and for nobody after a
    crash, before `adopt`.
    """

    def begin(self) -> None:
        """Forget what was staged, and all shelves."""
        ...

    def note(self, place: Place) -> Note | None:
        """How far a place is known; None where nothing is."""
        ...

    def shelf(self, place: Place) -> Shelf: ...

    def adopt(self, notes: Mapping[Place, Note]) -> None:
        """Keep what was staged, with the notes that go with it: all of it or nothing."""
        ...

    def discard(self, place: Place) -> None:
        """Throw away what is known of a place."""
        ...

    def close(self) -> None: ...


class MemoryShelf(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.payloads: dict[int, bytes] = {}

    def fetch(self, names: Iterable[str]) -> None:
        """Everything is at hand."""

    def put(self, offset: int, payload: bytes) -> None:
        self.payloads[offset] = payload

    def get(self, offsets: Sequence[int]) -> list[bytes]:
        return [self.payloads[offset] for offset in offsets]

    def trim(self, first: int) -> None:
        """It goes with the process."""


class MemoryCache:
    """Keeps nothing beyond the next assignment, so all of it is made of the log then."""

    def __init__(self) -> None:
        self._shelves: dict[Place, MemoryShelf] = {}

    def begin(self) -> None:
        self._shelves = {}

    def note(self, place: Place) -> None:  # noqa: ARG002 - nothing is known of any
        return None

    def shelf(self, place: Place) -> MemoryShelf:
        return self._shelves.setdefault(place, MemoryShelf())

    def adopt(self, notes: Mapping[Place, Note]) -> None:
        """Nothing is staged."""

    def discard(self, place: Place) -> None:
        """Nothing is known."""

    def close(self) -> None:
        """Nothing is held."""

"""One partition: records, markers, and the transactions they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from penstock.runtime.broker import Position, Record, TopicPartition


@dataclass(slots=True)
class Transaction:
    state: str = "open"
    offsets: list[tuple[str, dict[TopicPartition, Position]]] = field(default_factory=list)
    touched: set[TopicPartition] = field(default_factory=set)


@dataclass(slots=True)
class Entry:
    """A record, or a marker (record None), and the transaction it belongs to."""

    record: Record | None
    transaction: Transaction | None

    @property
    def visible(self) -> bool:
        return self.record is not None and (self.transaction is None or self.transaction.state == "committed")


@dataclass(slots=True)
class Log:
    start: int = 0
    entries: list[Entry] = field(default_factory=list)
    _stable: int = 0
    """All before this offset has ended; what has ended stays so, so each entry is looked at once."""

    @property
    def end(self) -> int:
        return self.start + len(self.entries)

    @property
    def stable(self) -> int:
        """The last stable offset: where the first open transaction begins."""
        stable, end = max(self._stable, self.start), self.end
        while stable < end:
            transaction = self.entries[stable - self.start].transaction
            if transaction is not None and transaction.state == "open":
                break
            stable += 1
        self._stable = stable
        return stable

    def read(self, offset: int, until: int) -> Iterator[tuple[int, Record | None]]:
        for index in range(offset - self.start, until - self.start):
            entry = self.entries[index]
            yield self.start + index, entry.record if entry.visible else None

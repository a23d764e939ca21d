"""A place's keys on disk, and what a transaction has staged of them."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NoReturn, Protocol

from penstock.ingest.domain.cases import Case, Queue
from penstock.ingest.store.packing import pack, unpack

CASE, RECORD, QUEUE = b"c", b"p", b"q"
"""What the keys of a place begin with: see `rocks`."""
_PLACE: Final = 8
_ZERO: Final = 1 << 63
"""Added to event times, so that those before 1970 come first as bytes, too."""
_CHUNK: Final = 500


class Disk(Protocol):
    """What is read."""

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys."""
        ...

    def records(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The records of predictions under these keys."""
        ...

    def scan(self, first: bytes, before: bytes, most: int) -> list[bytes]:
        """The first keys of a range."""
        ...

    def damaged(self, why: str) -> NoReturn:
        """What was read cannot be what was written.

        Raises:
            Unavailable: always; the log has it all.
        """
        ...


class Records(Protocol):
    """The part of a write that is about records of predictions."""

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete_range(self, begin: bytes, end: bytes) -> None: ...


class Batch(Protocol):
    """What is written, at once."""

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes) -> None: ...


class RocksShelf:
    """One place's keys, and what is staged of them."""

    def __init__(self, disk: Disk, key: bytes) -> None:
        self._disk = disk
        self._case_key = CASE + key
        self._record_key = RECORD + key
        self._queue_keys = {queue: QUEUE + key + bytes([queue.value]) for queue in Queue}
        self._fetched: dict[str, bytes | None] = {}
        self._cases: dict[str, Case] = {}
        self._records: dict[int, bytes] = {}
        self._queued: dict[bytes, bool] = {}
        """Keys that come (True) and go (False) with the next write; each is a change of what is on disk."""
        self._floors = dict(self._queue_keys)
        """In each queue no key is less than this: where to begin, as many that are gone may lie before."""
        self._trimmed = 0

    def case(self, name: str) -> Case:
        if (case := self._cases.get(name)) is not None:
            return case
        if name not in self._fetched:
            self.fetch([name])
        data = self._fetched[name]
        try:
            return Case(name) if data is None else unpack(name, data)
        except (struct.error, IndexError) as error:
            self._disk.damaged(f"{data!r} is no case: {error}")

    def keep(self, case: Case) -> None:
        self._cases[case.name] = case
        before, waits = case.waiting, case.waits()
        if waits == before:
            return
        for queue, time in waits:
            if (queue, time) in before:
                continue
            key = self._wait_key(queue, time, case.name)
            if self._queued.pop(key, True):
                self._queued[key] = True
                self._floors[queue] = min(self._floors[queue], key)
        for queue, time in before:
            if (queue, time) in waits:
                continue
            key = self._wait_key(queue, time, case.name)
            if not self._queued.pop(key, False):
                self._queued[key] = False
        case.waiting = waits

    def due(self, queue: Queue, before: int) -> Iterator[tuple[int, str]]:
        end = self._queue_keys[queue] + _time(before)
        first = self._floors[queue]
        if first >= end:
            return
        staged = sorted(key for key, comes in self._queued.items() if comes and first <= key < end)
        for key in heapq.merge(self._scan(first, end), staged):
            if self._queued.get(key, True):
                self._floors[queue] = key
                yield _named(key)
        self._floors[queue] = end

    def fetch(self, names: Iterable[str]) -> None:
        missing = [name for name in names if name not in self._cases and name not in self._fetched]
        if missing:
            found = self._disk.read([self._case_key + name.encode() for name in missing])
            self._fetched.update(zip(missing, found, strict=True))

    def put(self, offset: int, payload: bytes) -> None:
        self._records[offset] = payload

    def get(self, offsets: Sequence[int]) -> list[bytes]:
        missing = [offset for offset in offsets if offset not in self._records]
        found = self._disk.records([self._record_key + offset.to_bytes(8) for offset in missing])
        known = dict(zip(missing, found, strict=True))
        records = [self._records.get(offset) or known[offset] for offset in offsets]
        there = [record for record in records if record is not None]
        if len(there) < len(records):
            self._disk.damaged("a prediction has a case and no record")
        return there

    def trim(self, first: int) -> None:
        self._trimmed = max(self._trimmed, first)

    def flush(self, batch: Batch, records: Records) -> None:
        """Everything that is staged becomes part of a write."""
        for name, case in self._cases.items():
            batch.put(self._case_key + name.encode(), pack(case))
        for offset, payload in self._records.items():
            records.put(self._record_key + offset.to_bytes(8), payload)
        for key, comes in self._queued.items():
            if comes:
                batch.put(key, b"")
            else:
                batch.delete(key)
        if self._trimmed:
            records.delete_range(
                self._record_key + (0).to_bytes(8), self._record_key + self._trimmed.to_bytes(8)
            )
            self._trimmed = 0
        self._cases, self._records, self._queued, self._fetched = {}, {}, {}, {}

    def _scan(self, first: bytes, end: bytes) -> Iterator[bytes]:
        while keys := self._disk.scan(first, end, _CHUNK):
            self.fetch(_named(key)[1] for key in keys if self._queued.get(key, True))
            yield from keys
            if len(keys) < _CHUNK:
                return
            first = keys[-1] + b"\0"

    def _wait_key(self, queue: Queue, time: int, name: str) -> bytes:
        return self._queue_keys[queue] + _time(time) + name.encode()


def _time(time: int) -> bytes:
    return (time + _ZERO).to_bytes(8)


def _named(key: bytes) -> tuple[int, str]:
    """The event time and the id in a key of a queue."""
    at = len(QUEUE) + _PLACE + 1
    return int.from_bytes(key[at : at + 8]) - _ZERO, key[at + 8 :].decode()

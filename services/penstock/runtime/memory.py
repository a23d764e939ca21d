"""A broker in this process: the same log, groups and transactions as Kafka's, without the network.

It ships as part of the product, for tests, scenarios and backtests. It behaves as the contract suite demands,
transaction markers that take an offset included. Members of one group do not share partitions: a second slot
in a group is refused rather than done wrongly.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import (
    Aborted,
    Consumer,
    Gap,
    Message,
    Polled,
    Position,
    Record,
    Topic,
    TopicPartition,
)
from penstock.runtime.errors import Fenced, Unavailable


@dataclass(slots=True)
class _Transaction:
    state: str = "open"
    offsets: list[tuple[str, dict[TopicPartition, Position]]] = field(default_factory=list)
    touched: set[TopicPartition] = field(default_factory=set)


@dataclass(slots=True)
class _Entry:
    """A record, or a marker (record None), and the transaction it belongs to."""

    record: Record | None
    transaction: _Transaction | None

    @property
    def visible(self) -> bool:
        return self.record is not None and (self.transaction is None or self.transaction.state == "committed")


@dataclass(slots=True)
class _Log:
    start: int = 0
    entries: list[_Entry] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.start + len(self.entries)

    @property
    def stable(self) -> int:
        """The last stable offset: where the first open transaction begins."""
        for index, entry in enumerate(self.entries):
            if entry.transaction is not None and entry.transaction.state == "open":
                return self.start + index
        return self.end

    def read(self, offset: int, until: int) -> Iterator[tuple[int, Record | None]]:
        for index in range(offset - self.start, until - self.start):
            entry = self.entries[index]
            yield self.start + index, entry.record if entry.visible else None


class MemoryBroker:
    """The whole cluster. Threads may share it; its clients are one thread's each, as Kafka's are.

    Args:
        now: processing time in milliseconds, which stamps the records.

    >>> broker = MemoryBroker(now=lambda: 0)
    >>> broker.create([Topic(name="t", partitions=1)])
    ['t']
    >>> broker.append(Message("t", b"hello"))
    >>> [record.value for record in broker.records("t")]
    [b'hello']
    """

    def __init__(self, *, now: Callable[[], int]) -> None:
        self.now = now
        self.lock = threading.RLock()
        self.logs: dict[TopicPartition, _Log] = {}
        self.counts: dict[str, int] = {}
        self.settings: dict[str, dict[str, str]] = {}
        self.groups: dict[str, dict[TopicPartition, Position]] = {}
        self.members: dict[str, MemoryConsumer] = {}
        self.producers: dict[str, MemoryTransactional] = {}
        self.away = False
        """Set it and every client finds no broker."""

    # -- the protocol

    def consumer(self, *, group: str, slot: str) -> MemoryConsumer:
        with self.lock:
            self.reach()
            holder = self.members.get(group)
            if holder is not None and holder.slot != slot:
                raise NotImplementedError("the broker in memory does not share a group's partitions")
            if holder is not None:
                holder.fenced = True
            self.members[group] = MemoryConsumer(self, group, slot)
            return self.members[group]

    def reader(self, offsets: Mapping[TopicPartition, int]) -> MemoryReader:
        self.reach()
        return MemoryReader(self, dict(offsets))

    def transactional(self, transactional_id: str) -> MemoryTransactional:
        with self.lock:
            self.reach()
            if older := self.producers.get(transactional_id):
                older.fence()
            self.producers[transactional_id] = MemoryTransactional(self)
            return self.producers[transactional_id]

    def producer(self) -> MemoryProducer:
        self.reach()
        return MemoryProducer(self)

    def create(self, topics: Sequence[Topic]) -> list[str]:
        with self.lock:
            self.reach()
            missing = [topic for topic in topics if topic.name not in self.counts]
            for topic in missing:
                self.counts[topic.name] = topic.partitions
                self.settings[topic.name] = dict(topic.config)
                for partition in range(topic.partitions):
                    self.logs[TopicPartition(topic.name, partition)] = _Log()
            return [topic.name for topic in missing]

    def topics(self) -> dict[str, int]:
        self.reach()
        return dict(self.counts)

    def config(self, topic: str) -> dict[str, str]:
        self.reach()
        return dict(self.settings[topic])

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        with self.lock:
            self.reach()
            return {each: (self.logs[each].start, self.logs[each].stable) for each in partitions}

    def cluster_id(self) -> str:
        self.reach()
        return "memory"

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        self.reach()
        return {topic: str(uuid.uuid5(uuid.NAMESPACE_OID, topic)) for topic in topics}

    def close(self) -> None:
        """Nothing is held."""

    # -- what tests and scenarios may do besides

    def append(self, message: Message, transaction: _Transaction | None = None) -> None:
        """Write a record, at once and outside transactions unless one is given."""
        with self.lock:
            self.reach()
            partition = message.partition
            if partition is None:
                partition = partition_of(message.key or b"", self.counts[message.topic])
            where = TopicPartition(message.topic, partition)
            log = self.logs[where]
            record = Record(
                message.topic, partition, log.end, self.now(), message.key, message.value, message.headers
            )
            log.entries.append(_Entry(record, transaction))
            if transaction is not None:
                transaction.touched.add(where)

    def records(self, topic: str) -> list[Record]:
        """What a reader of committed records sees of a topic, partition by partition."""
        with self.lock:
            return [
                record
                for partition in range(self.counts[topic])
                for log in [self.logs[TopicPartition(topic, partition)]]
                for _, record in log.read(log.start, log.stable)
                if record is not None
            ]

    def compact(self, topic: str) -> None:
        """What Kafka's cleaner does in its own time: the last record of each key stays where it is."""
        with self.lock:
            last = {record.key: record.offset for record in self.records(topic)}
            for partition in range(self.counts[topic]):
                for entry in self.logs[TopicPartition(topic, partition)].entries:
                    if entry.record is not None and last.get(entry.record.key) != entry.record.offset:
                        entry.record = None

    def expire(self, partition: TopicPartition, before: int) -> None:
        """What retention does: records below an offset are gone."""
        with self.lock:
            log = self.logs[partition]
            del log.entries[: before - log.start]
            log.start = before

    def finish(self, transaction: _Transaction, state: str) -> None:
        """End a transaction; its marker takes an offset in each partition it touched."""
        with self.lock:
            transaction.state = state
            for where in transaction.touched:
                self.logs[where].entries.append(_Entry(None, None))
            if state == "committed":
                for group, offsets in transaction.offsets:
                    self.groups.setdefault(group, {}).update(offsets)

    def reach(self) -> None:
        if self.away:
            raise Unavailable("no broker answers")


class _Cursor:
    """Positions in partitions, and reading on from them."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()

    def read(self, limit: int) -> tuple[list[Record], frozenset[TopicPartition], list[Gap]]:
        records: list[Record] = []
        ended, gaps = set(), []
        with self.broker.lock:
            self.broker.reach()
            for where, offset in sorted(self.positions.items()):
                log = self.broker.logs[where]
                if where in self.paused:
                    continue
                if offset < log.start:
                    gaps.append(Gap(partition=where, start=offset, end=log.start))
                    del self.positions[where]
                    continue
                stable = log.stable
                for position, record in log.read(offset, stable):
                    if len(records) >= limit:
                        break
                    self.positions[where] = position + 1
                    if record is not None:
                        records.append(record)
                if self.positions[where] == stable:
                    ended.add(where)
        return records, frozenset(ended), gaps


class MemoryReader:
    def __init__(self, broker: MemoryBroker, offsets: dict[TopicPartition, int]) -> None:
        self._cursor = _Cursor(broker)
        self._cursor.positions = offsets

    def poll(self, limit: int, seconds: float) -> Polled:  # noqa: ARG002 - what is not there will not come by waiting
        records, ended, gaps = self._cursor.read(limit)
        self._cursor.positions.update({gap.partition: gap.end for gap in gaps})
        return Polled(records=records, ended=ended, gaps=tuple(gaps))

    def close(self) -> None:
        self._cursor.positions = {}


class MemoryConsumer:
    def __init__(self, broker: MemoryBroker, group: str, slot: str) -> None:
        self.group, self.slot, self.fenced = group, slot, False
        self._broker = broker
        self._cursor = _Cursor(broker)
        self._wanted: tuple[str, ...] = ()
        self._assigned: frozenset[TopicPartition] = frozenset()

    def subscribe(self, topics: Sequence[str]) -> None:
        self._wanted = tuple(topics)

    def poll(self, limit: int, seconds: float) -> Polled:  # noqa: ARG002 - what is not there will not come by waiting
        self._check()
        target = frozenset(
            TopicPartition(topic, partition)
            for topic in self._wanted
            for partition in range(self._broker.counts.get(topic, 0))
        )
        if target != self._assigned:
            # Everything goes and comes again, as with Kafka's eager protocol.
            revoked, self._assigned = self._assigned, target
            self._cursor.positions, self._cursor.paused = {}, set()
            return Polled(assigned=target, revoked=revoked)
        records, ended, gaps = self._cursor.read(limit)
        return Polled(records=records, ended=ended, gaps=tuple(gaps))

    def assignment(self) -> frozenset[TopicPartition]:
        return self._assigned

    def committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Position | None]:
        with self._broker.lock:
            self._check()
            offsets = self._broker.groups.get(self.group, {})
            return {each: offsets.get(each) for each in partitions}

    def start(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._cursor.positions.update(offsets)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._cursor.paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._cursor.paused.difference_update(partitions)

    def close(self) -> None:
        with self._broker.lock:
            if self._broker.members.get(self.group) is self:
                del self._broker.members[self.group]

    def _check(self) -> None:
        self._broker.reach()
        if self.fenced:
            raise Fenced(f"slot {self.slot} of {self.group} was taken by a newer process")


class MemoryTransactional:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._open: _Transaction | None = None
        self._fenced = False

    def begin(self) -> None:
        self._check()
        self._open = _Transaction()

    def send(self, messages: Iterable[Message]) -> None:
        self._check()
        for message in messages:
            self._broker.append(message, self._now())

    def send_offsets(self, consumer: Consumer, offsets: Mapping[TopicPartition, Position]) -> None:
        self._check()
        if not isinstance(consumer, MemoryConsumer):
            raise TypeError("a consumer of another broker")
        if consumer.fenced:
            raise Aborted("the consumer was fenced")
        self._now().offsets.append((consumer.group, dict(offsets)))

    def commit(self) -> None:
        self._check()
        self._broker.finish(self._now(), "committed")
        self._open = None

    def abort(self) -> None:
        self._check()
        if self._open is not None:
            self._broker.finish(self._open, "aborted")
            self._open = None

    def close(self) -> None:
        """What is open stays open until a newer producer with this id, as after a kill."""

    def fence(self) -> None:
        with self._broker.lock:
            if self._open is not None:
                self._broker.finish(self._open, "aborted")
            self._fenced = True

    def _now(self) -> _Transaction:
        if self._open is None:
            raise RuntimeError("no transaction is open")
        return self._open

    def _check(self) -> None:
        self._broker.reach()
        if self._fenced:
            raise Fenced("a newer producer owns this transactional id")


class MemoryProducer:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._failed = 0

    def send(self, message: Message) -> bool:
        try:
            self._broker.append(message)
        except Unavailable:
            self._failed += 1
        return True

    def failed(self) -> int:
        return self._failed

    def waiting(self) -> int:
        return 0

    def flush(self, seconds: float) -> int:  # noqa: ARG002 - nothing waits
        return 0

    def close(self) -> None:
        """Nothing is held."""

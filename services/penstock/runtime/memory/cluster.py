"""The cluster: partitions, groups and transactions, and the clients it makes."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

from penstock.kernel.hashing import partition_of
from penstock.runtime.broker import Message, Position, Record, Topic, TopicPartition
from penstock.runtime.errors import Unavailable
from penstock.runtime.memory.clients import (
    MemoryConsumer,
    MemoryProducer,
    MemoryReader,
    MemoryTransactional,
)
from penstock.runtime.memory.group import Group
from penstock.runtime.memory.log import Entry, Log, Transaction


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
        self.logs: dict[TopicPartition, Log] = {}
        self.counts: dict[str, int] = {}
        self.settings: dict[str, dict[str, str]] = {}
        self.groups: dict[str, dict[TopicPartition, Position]] = {}
        self._members: dict[str, Group] = {}
        self.producers: dict[str, MemoryTransactional] = {}
        self.away = False
        """Set it and every client finds no broker."""

    # -- the protocol

    def consumer(self, *, group: str, slot: str) -> MemoryConsumer:
        with self.lock:
            self.reach()
            consumer = MemoryConsumer(self, group, slot)
            self.group(group).enter(consumer)
            return consumer

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
                    self.logs[TopicPartition(topic.name, partition)] = Log()
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

    def unsettled(self, partitions: Iterable[TopicPartition]) -> frozenset[TopicPartition]:
        with self.lock:
            self.reach()
            return frozenset(each for each in partitions if self.logs[each].stable < self.logs[each].end)

    def cluster_id(self) -> str:
        self.reach()
        return "memory"

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        self.reach()
        return {topic: str(uuid.uuid5(uuid.NAMESPACE_OID, topic)) for topic in topics}

    def close(self) -> None:
        """Nothing is held."""

    # -- what tests and scenarios may do besides

    def append(self, message: Message, transaction: Transaction | None = None) -> None:
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
            log.entries.append(Entry(record, transaction))
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

    def lapse(self, group: str, slot: str) -> None:
        """What its coordinator does to a member that was killed: after a while others get its partitions."""
        with self.lock:
            self.group(group).lapse(slot)

    def group(self, name: str) -> Group:
        """Who is in a group."""
        return self._members.setdefault(name, Group())

    def finish(self, transaction: Transaction, state: str) -> None:
        """End a transaction; its marker takes an offset in each partition it touched."""
        with self.lock:
            transaction.state = state
            for where in transaction.touched:
                self.logs[where].entries.append(Entry(None, None))
            if state == "committed":
                for group, offsets in transaction.offsets:
                    self.groups.setdefault(group, {}).update(offsets)

    def reach(self) -> None:
        if self.away:
            raise Unavailable("no broker answers")

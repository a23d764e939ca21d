"""What a service holds of the broker in memory; each is one thread's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.runtime.broker import Aborted, Consumer, Gap, Message, Polled, Position, Record, TopicPartition
from penstock.runtime.errors import Fenced, Unavailable
from penstock.runtime.memory.group import Wanted
from penstock.runtime.memory.log import Transaction

if TYPE_CHECKING:  # the cluster makes its clients
    from penstock.runtime.memory.cluster import MemoryBroker


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

    @property
    def behind(self) -> bool:
        """Whether a read would bring something, or at least move on."""
        logs = self.broker.logs
        return any(
            offset != logs[where].stable
            for where, offset in self.positions.items()
            if where not in self.paused
        )


class MemoryReader:
    def __init__(self, broker: MemoryBroker, offsets: dict[TopicPartition, int]) -> None:
        self._cursor = _Cursor(broker)
        self._cursor.positions = offsets

    def poll(self, limit: int, seconds: float) -> Polled:  # noqa: ARG002 - what is not there will not come by waiting
        records, ended, gaps = self._cursor.read(limit)
        self._cursor.positions.update({gap.partition: gap.end for gap in gaps})
        return Polled(records=records, ended=ended, gaps=tuple(gaps))

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        return self._cursor.positions

    @property
    def behind(self) -> bool:
        """Whether there is anything to poll."""
        return self._cursor.behind

    @property
    def closed(self) -> bool:
        return not self._cursor.positions

    def close(self) -> None:
        self._cursor.positions = {}


class MemoryConsumer:
    def __init__(self, broker: MemoryBroker, group: str, slot: str) -> None:
        self.group, self.slot = group, slot
        self.generation = 0
        """Of the group, when this member last got its partitions."""
        self.fenced = False
        self.closed = False
        self._broker = broker
        self._cursor = _Cursor(broker)
        self._topics: tuple[str, ...] = ()
        self._known = -1
        self._wanted: Wanted = ()
        self._assigned: frozenset[TopicPartition] = frozenset()

    def subscribe(self, topics: Sequence[str]) -> None:
        self._topics = tuple(topics)
        self._known = -1

    def poll(self, limit: int, seconds: float, gather: float = 0.0) -> Polled:  # noqa: ARG002 - what is not there will not come by waiting
        self._check()
        if self._topics and (change := self._rebalance()) is not None:
            return change
        records, ended, gaps = self._cursor.read(limit)
        return Polled(records=records, ended=ended, gaps=tuple(gaps))

    def _rebalance(self) -> Polled | None:
        """What the group has to say to this member, if anything."""
        with self._broker.lock:
            counts = self._broker.counts
            if self._known != len(counts):  # topics come and never change
                self._known = len(counts)
                self._wanted = tuple((topic, counts.get(topic, 0)) for topic in self._topics)
            share = self._broker.group(self.group).look(self, self._wanted)
        if share is not None and share.generation == self.generation:
            return None
        # Everything goes, and comes again, as with Kafka's eager protocol.
        revoked, self._assigned = self._assigned, share.partitions if share else frozenset()
        self._cursor.positions, self._cursor.paused = {}, set()
        self.generation = share.generation if share else self.generation
        return Polled(assigned=self._assigned, revoked=revoked)

    @property
    def behind(self) -> bool:
        """Whether there is anything to poll."""
        return self._cursor.behind or bool(self._topics and self._broker.group(self.group).awaits(self))

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
        """As a static member: the group keeps its place for the next process in the slot."""
        self.closed = True

    def _check(self) -> None:
        self._broker.reach()
        if self.fenced:
            raise Fenced(f"slot {self.slot} of {self.group} was taken by a newer process")


class MemoryTransactional:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._open: Transaction | None = None
        self._fenced = False

    def begin(self) -> None:
        self._check()
        self._open = Transaction()

    def send(self, messages: Iterable[Message]) -> None:
        self._check()
        for message in messages:
            self._broker.append(message, self._now())

    def send_offsets(self, consumer: Consumer, offsets: Mapping[TopicPartition, Position]) -> None:
        self._check()
        if not isinstance(consumer, MemoryConsumer):
            raise TypeError("a consumer of another broker")
        with self._broker.lock:
            if consumer.fenced or not self._broker.group(consumer.group).has(consumer):
                raise Aborted("the consumer is no longer in its group, or has been left behind by it")
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

    def _now(self) -> Transaction:
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

    def send_all(self, messages: Sequence[Message]) -> int:
        for message in messages:
            self.send(message)
        return len(messages)

    def failed(self) -> int:
        return self._failed

    def waiting(self) -> int:
        return 0

    def flush(self, seconds: float) -> int:  # noqa: ARG002 - nothing waits
        return 0

    def close(self) -> None:
        """Nothing is held."""

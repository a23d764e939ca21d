"""Reading Kafka: a member of a group, and a reader of its own account; committed records only, both.

librdkafka is told to fetch exactly the partitions that were started and are not paused, by one `assign`
between two polls. Its own `pause` and `seek` are not used: right after an assign they lose the offset or
fail (librdkafka issues 2190, 3959). Re-assigning drops what was fetched ahead; starting and pausing are rare.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from penstock.runtime.broker import Gap, Polled, Position, Record, TopicPartition
from penstock.runtime.errors import Fenced, Unavailable
from penstock.runtime.kafka.batch import Messages, ends_of
from penstock.runtime.kafka.clients import ANSWER_SECONDS, REFUSALS, Contact, log, raise_verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

GATHER_SECONDS = 0.05
"""How long one call waits for a full batch; also how soon a rebalance is reported."""

LINGER_SECONDS = 0.01
"""How long to wait for more after the first record. A consume of many waits its whole time unless all come,
so with one call every hop would cost GATHER_SECONDS; with none, a transaction would hold a few records."""

STABLE_SECONDS = 30.0
"""How long to wait for the transaction of a dead process: its time (15 s) and the coordinator's (10 s)."""

_READING = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "isolation.level": "read_committed",
    # A first start sets its offsets itself, and out of range is a gap: nothing is ever skipped in silence.
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
    "fetch.wait.max.ms": 100,  # the end of a partition is known when a fetch comes back empty
    "queued.min.messages": 20_000,  # 100,000 by default: memory, for nothing at our rates
    "queued.max.messages.kbytes": 16_384,
    "fetch.queue.backoff.ms": 10,  # with the default of 1 s, a full queue stays empty for most of a second
}


class _Fetcher:
    """A librdkafka consumer that delivers some partitions, each from an offset that we keep ourselves."""

    def __init__(self, config: dict[str, Any], contact: Contact) -> None:
        self.contact = contact
        self.client = ck.Consumer({**_READING, **config})
        self.positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.ended: set[TopicPartition] = set()
        self._told = True  # whether librdkafka knows what to fetch
        self.interrupted = False  # set by rebalance callbacks, to end the waiting

    def start(self, offsets: Mapping[TopicPartition, int]) -> None:
        if offsets:
            self.positions.update(offsets)
            self.ended.difference_update(offsets)
            self._told = False

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self.positions.pop(partition, None)
            self.paused.discard(partition)
            self.ended.discard(partition)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        fresh = set(partitions) - self.paused
        self.paused |= fresh
        self.ended -= fresh  # nobody looks any more
        self._told = self._told and not fresh

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        paused = self.paused.intersection(partitions)
        self.paused -= paused
        self._told = self._told and not paused

    def fetch(self, limit: int, seconds: float, gather: float = 0.0) -> tuple[Sequence[Record], list[Gap]]:
        """What came, in order; positions and ends are kept."""
        self._tell()
        messages = self._consume(limit, seconds, gather)
        errors = [place for place, error in enumerate(map(ck.Message.error, messages)) if error is not None]
        records: list[Any] = []
        ends: dict[TopicPartition, int] = {}
        gaps: list[Gap] = []
        begin = 0
        # Among the records stand messages that are none: an end reached, an error.
        for place in errors:
            records += self._take(messages[begin:place], ends)
            message = messages[place]
            partition = TopicPartition(message.topic() or "", message.partition() or 0)
            gaps += self._notice(partition, message.offset() or 0, message.error())
            begin = place + 1
        records += self._take(messages[begin:], ends)
        self.contact.check(self.client)
        return Messages(records, ends) if records else [], gaps

    def _take(self, messages: list[Any], ends: dict[TopicPartition, int]) -> list[Any]:
        """Those to deliver; positions, and `ends`, move past them."""
        reached = ends_of(messages)
        if not reached.keys() <= self.positions.keys():
            # A partition that was taken away in this very call is no longer ours to deliver.
            reached = {where: end for where, end in reached.items() if where in self.positions}
            messages = [each for each in messages if (each.topic(), each.partition()) in reached]
        self.positions.update(reached)
        self.ended.difference_update(reached)
        ends.update(reached)
        return messages

    def close(self) -> None:
        self.client.close()

    def _tell(self) -> None:
        if not self._told:
            fetched = [(p, offset) for p, offset in self.positions.items() if p not in self.paused]
            self.client.assign([ck.TopicPartition(p.topic, p.partition, offset) for p, offset in fetched])
            self._told = True

    def _consume(self, limit: int, seconds: float, gather: float) -> list[Any]:
        """Wait for the first messages, in short steps, as a rebalance does not end a step."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            try:
                messages = self.client.consume(1, max(0.0, min(left, GATHER_SECONDS)))
                if messages and limit > 1:
                    linger = min(max(left, 0.0), LINGER_SECONDS)
                    messages += self.client.consume(limit - 1, max(linger, gather))
            except KafkaException as exception:
                raise_verdict("reading", exception)
            if messages or self.interrupted or left <= GATHER_SECONDS:
                return messages

    def _notice(self, partition: TopicPartition, offset: int, error: KafkaError) -> list[Gap]:
        """What an error message between the records tells."""
        code = error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - confluent_kafka's names for librdkafka's own
            if offset >= self.positions.get(partition, offset + 1):
                self.positions[partition] = offset  # past transaction markers and aborted records
                self.ended.add(partition)
        elif code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            return self._gap(partition)
        elif code == KafkaError._FATAL:  # noqa: SLF001 - of a consumer the one fatal error is being fenced
            raise Fenced(f"reading {partition.topic}: {error.str()}")
        elif code in REFUSALS:
            raise Unavailable(f"{partition.topic} cannot be read: {error.str()}")
        else:  # librdkafka tries again by itself; whether it succeeds, contact.check asks
            log.debug("%s: %s", error.name(), error.str())
        return []

    def _gap(self, partition: TopicPartition) -> list[Gap]:
        position = self.positions.pop(partition, None)
        if position is None:
            return []
        wanted = ck.TopicPartition(partition.topic, partition.partition)
        try:
            first, _ = self.client.get_watermark_offsets(wanted, timeout=ANSWER_SECONDS)
        except KafkaException as exception:
            raise_verdict(f"{partition.topic} has no offset {position}", exception)
        if first <= position:
            # Not retention: the log is shorter than what was read of it. Nobody can guess what to do.
            raise RuntimeError(
                f"{partition.topic}/{partition.partition} has lost its end: no offset {position}"
            )
        self.ended.discard(partition)
        return [Gap(partition=partition, start=position, end=first)]


class KafkaConsumer:
    """A member of a consumer group; see `penstock.runtime.broker.Consumer`."""

    def __init__(self, config: dict[str, Any], contact: Contact, *, group: str, slot: str) -> None:
        self._fetcher = _Fetcher(
            {
                **config,
                "group.id": group,
                # Static membership: a restarted process gets its partitions back without a rebalance.
                "group.instance.id": slot,
                "partition.assignment.strategy": "range",  # equal partition numbers stay together, for joins
                "session.timeout.ms": 30_000,
                "heartbeat.interval.ms": 3_000,
                "max.poll.interval.ms": 120_000,
            },
            contact,
        )
        self._mine: set[TopicPartition] = set()
        self._came: set[TopicPartition] = set()
        self._went: set[TopicPartition] = set()

    def subscribe(self, topics: Sequence[str]) -> None:
        self._fetcher.client.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def poll(self, limit: int, seconds: float, gather: float = 0.0) -> Polled:
        records, gaps = self._fetcher.fetch(limit, seconds, gather)
        polled = Polled(
            records=records,
            ended=frozenset(self._fetcher.ended),
            assigned=frozenset(self._came),
            revoked=frozenset(self._went),
            gaps=tuple(gaps),
        )
        self._came.clear()
        self._went.clear()
        self._fetcher.interrupted = False
        return polled

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._mine)

    def committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Position | None]:
        wanted = [ck.TopicPartition(p.topic, p.partition) for p in partitions]
        if not wanted:
            return {}
        try:
            found = self._fetcher.client.committed(wanted, timeout=STABLE_SECONDS)
        except KafkaException as exception:
            raise_verdict("asking for committed offsets", exception)
        positions: dict[TopicPartition, Position | None] = {}
        for p in found:
            if p.error is not None:
                raise_verdict(f"asking for the committed offset of {p.topic}", KafkaException(p.error))
            known = p.offset >= 0
            positions[TopicPartition(p.topic, p.partition)] = (
                Position(p.offset, p.metadata or "") if known else None
            )
        return positions

    def start(self, offsets: Mapping[TopicPartition, int]) -> None:
        strangers = offsets.keys() - self._mine
        if strangers:
            raise ValueError(f"not assigned, so they cannot be started: {sorted(strangers)}")
        self._fetcher.start(offsets)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._fetcher.pause(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._fetcher.resume(partitions)

    def close(self) -> None:
        self._fetcher.close()

    def membership(self) -> Any:
        """What a transaction must show to commit offsets for this group."""
        return self._fetcher.client.consumer_group_metadata()

    def _on_assign(self, client: Any, partitions: list[Any]) -> None:
        client.assign([])  # ours to keep, and nothing is fetched before `start`
        came = {TopicPartition(p.topic, p.partition) for p in partitions}
        self._mine |= came
        self._came |= came
        self._fetcher.interrupted = True

    def _on_revoke(self, client: Any, partitions: list[Any]) -> None:
        client.unassign()
        went = {TopicPartition(p.topic, p.partition) for p in partitions}
        self._went |= went - self._came  # what came and went between two polls was never known
        self._came -= went
        self._mine -= went
        self._fetcher.forget(went)
        self._fetcher.interrupted = True


class KafkaReader:
    """Partitions from given offsets, in no group; see `penstock.runtime.broker.Reader`."""

    def __init__(
        self, config: dict[str, Any], contact: Contact, offsets: Mapping[TopicPartition, int]
    ) -> None:
        # librdkafka wants a name; no group of that name ever comes to be, as nothing joins or commits.
        self._fetcher = _Fetcher({**config, "group.id": "penstock-reader"}, contact)
        self._fetcher.start(offsets)

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        return self._fetcher.positions

    def poll(self, limit: int, seconds: float) -> Polled:
        records, gaps = self._fetcher.fetch(limit, seconds)
        self._fetcher.start({gap.partition: gap.end for gap in gaps})
        return Polled(records=records, ended=frozenset(self._fetcher.ended), gaps=tuple(gaps))

    def close(self) -> None:
        self._fetcher.close()

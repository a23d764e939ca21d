"""The loop that every stream service runs: consume, process, produce, in one Kafka transaction.

The steps, by the numbers that docs/crashes.md uses:

    0. restore  on assignment: committed positions, state rebuilt from the logs, then start
    1. poll     only here do partitions come and go, never inside a transaction
    2. begin
    3. process  the task's core makes messages of records; they are sent, dead letters among them
    4. offsets  the next offsets, with what the task wants to remember beside them
    5. commit   all of it becomes visible, or none
    6. adopt    only now does a task keep, outside the log, what it knows since 3; the next round

A task's state runs ahead of the log only between 3 and 5. If the transaction is aborted there, the state is
thrown away and step 0 makes it anew: what a restart does is what an abort does, so it is always exercised.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Protocol

from penstock.runtime import deadletter, logs, names
from penstock.runtime.broker import Aborted, Broker, Consumer, Message, Polled, Position, TopicPartition
from penstock.runtime.codec import Codec
from penstock.runtime.deadletter import Fuse, Refused
from penstock.runtime.errors import NotYet
from penstock.runtime.lag import Lag
from penstock.runtime.records import Alike, column, ends
from penstock.runtime.telemetry import Telemetry

WAIT: Final = 0.05
"""Seconds: a poll waits for a full batch or this long, so it is the latency of a hop at low rates."""
PATIENCE: Final = 0.2
"""Seconds between two tries of what could not be processed yet; each begins with step 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What a batch becomes, before it is written.

    Args:
        messages: outputs, in order.
        rows: outputs of which there may be very many; they go before the others.
        refused: records for the dead letters.
        metadata: what to remember beside the committed offset, by partition; others keep what they have.
    """

    messages: Sequence[Message] = ()
    rows: Sequence[Alike] = ()
    refused: Sequence[Refused] = ()
    metadata: Mapping[TopicPartition, str] = field(default_factory=dict)


class Task(Protocol):
    """What a service does in a loop: a thin shell around its domain."""

    name: str
    """Also the consumer group and, with the slot, the transactional id."""

    codec: Codec

    limit: int
    """The most records that a batch may have."""

    gather: float
    """Seconds that a batch waits for more after its first record, where that is worth its latency."""

    def refresh(self) -> bool:
        """Follow the folds; whether what to subscribe to may have changed. Called before each poll."""
        ...

    def topics(self) -> Sequence[str]:
        """What to consume now, by full names."""
        ...

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """Forget everything and rebuild it for these partitions, up to these positions.

        Yields now and then, so that the loop can keep its membership alive.
        """
        ...

    def held(self) -> frozenset[TopicPartition]:
        """Partitions that have to wait, for a first model say. Called before each poll."""
        ...

    def due(self) -> bool:
        """Whether something is ready that no record brings, such as a job's end. Asked after each poll."""
        ...

    def process(self, polled: Polled) -> Staged:
        """One batch; also called when partitions ended without a record, and when something is due.

        Raises:
            NotYet: something came before what it needs, its schema say: the loop comes back to it.
        """
        ...

    def committed(self, positions: Mapping[TopicPartition, Position]) -> None:
        """All that was processed is in the log, up to these positions of everything that is assigned."""
        ...

    def dead_letters(self, topic: str) -> str:
        """The dead-letter topic for records of `topic`."""
        ...

    def close(self) -> None:
        """Let go of clients of its own."""
        ...


class Loop:
    """One task, one consumer, one transactional producer, one thread.

    Args:
        service: named in dead letters and telemetry.
        prefix: of groups and transactional ids.
        slot: the stable place of this process in its service.
        telemetry: is told of polls, transactions, dead letters and lag.
        fuse: ends the service before a stream of invalid records becomes dead letters; none lets them pass.
    """

    def __init__(
        self,
        task: Task,
        broker: Broker,
        *,
        service: str,
        prefix: str,
        slot: str,
        telemetry: Telemetry,
        fuse: Fuse | None = None,
    ) -> None:
        self.task = task
        self.group = f"{prefix}{task.name}"
        self._service = service
        self._telemetry = telemetry
        self._fuse = fuse
        self._log = logs.get(task=task.name)
        self._conditions = logs.Conditions(self._log)
        self._positions: dict[TopicPartition, Position] = {}
        self._held: frozenset[TopicPartition] = frozenset()
        self._ended: frozenset[TopicPartition] = frozenset()
        self._topics: tuple[str, ...] = ()
        self._broker = broker
        self._lag = Lag(broker, telemetry, group=self.group)
        self._producer = broker.transactional(f"{self.group}-{slot}")
        self._consumer: Consumer = broker.consumer(group=self.group, slot=slot)
        self._restoring = False

    def close(self) -> None:
        self._consumer.close()
        self._producer.close()

    @property
    def restoring(self) -> bool:
        """Whether the next round begins with step 0: after an abort, or where something is still missing."""
        return self._restoring

    def step(self) -> bool:
        """One round; whether anything was done.

        Raises:
            Unavailable: build the service anew once the broker is back.
            Fenced: another process has this slot.
            FuseBlown: nearly everything is invalid.
        """
        if self.task.refresh() or not self._topics:
            wanted = tuple(self.task.topics())
            if wanted != self._topics:  # Kafka refuses an empty list, as it is before the first pipeline
                self._topics = wanted
                self._consumer.subscribe(wanted)
        self._hold()
        started = time.perf_counter()
        polled = self._consumer.poll(self.task.limit, WAIT, self.task.gather)  # 1.
        try:
            return self._go_on(polled, time.perf_counter() - started)
        except Aborted as aborted:
            self._log.warning("transaction_aborted", why=str(aborted))
        except NotYet as missing:
            self._conditions.began("not_yet", why=str(missing))
            self._wait()
        self._restoring = True
        return False

    def _go_on(self, polled: Polled, seconds: float) -> bool:
        if polled.assigned or polled.revoked or self._restoring:
            self._restore()
            return True
        self._telemetry.polled(polled.records, seconds, group=self.group)
        self._lag.look(self._positions)
        # A partition that came to its end is news even without a record; one that is still there is not.
        moved = ends(polled.records)
        before, self._ended = self._ended, (self._ended - moved.keys()) | polled.ended
        polled = polled._replace(ended=self._ended)
        if not (polled.records or self._ended - before or polled.gaps or self.task.due()):
            return False
        return self._transact(polled, moved)

    def _wait(self) -> None:
        """Let some time pass as a member of the group that wants no records; step 0 comes next anyway."""
        mine = self._consumer.assignment()
        self._consumer.pause(mine)
        self._consumer.poll(1, PATIENCE)
        self._consumer.resume(mine)

    def _transact(self, polled: Polled, moved: Mapping[TopicPartition, int]) -> bool:
        with self._telemetry.processing(polled.records, group=self.group):
            staged = self.task.process(polled)  # 3. the core; it needs no transaction yet
            self._conditions.ended("not_yet")
            self._burn(polled, staged)
            messages = [*staged.messages, *self._letters(polled, staged)]
            batches: list[Sequence[Message]] = [*staged.rows, messages]
            if self._telemetry.on:  # which gives each message a header of its own
                batches = [[message for batch in batches for message in batch]]
            moved = {**moved, **{gap.partition: gap.end for gap in polled.gaps}}
            touched = moved.keys() | staged.metadata.keys()
            for where in touched:
                offset, metadata = self._positions[where]
                self._positions[where] = Position(
                    moved.get(where, offset), staged.metadata.get(where, metadata)
                )
            if not (touched or any(batches)):
                return False
            # Offsets ride along even where none moved: by them the broker sees whose partitions these are,
            # and what has lost them meanwhile writes nothing.
            self._write(polled, batches, touched or self._positions.keys())
        self.task.committed(self._positions)  # 6.
        if polled.gaps:
            self._consumer.start({gap.partition: gap.end for gap in polled.gaps})
        return True

    def _write(
        self, polled: Polled, batches: Sequence[Sequence[Message]], touched: AbstractSet[TopicPartition]
    ) -> None:
        producer = self._producer
        producer.begin()  # 2.
        try:
            for batch in filter(None, batches):
                with self._telemetry.sending(batch) as traced:
                    producer.send(traced)  # 3.
            with self._telemetry.committing(polled.records, group=self.group):
                producer.send_offsets(  # 4.
                    self._consumer, {where: self._positions[where] for where in sorted(touched)}
                )
                producer.commit()  # 5.
        except Aborted:
            producer.abort()
            raise

    def _restore(self) -> None:
        """0. Committed positions, the task's state, then start; a rebalance meanwhile begins it again."""
        self._restoring = True
        assigned = self._consumer.assignment()
        committed = self._consumer.committed(assigned)
        starts = self._broker.ends(where for where, position in committed.items() if position is None)
        self._positions = {
            where: position if position is not None else Position(starts[where][0])
            for where, position in committed.items()
        }
        # The consumer forgets what is paused with an assignment, not with an abort.
        self._consumer.resume(self._held & assigned)
        self._ended = self._held = frozenset()
        for _ in self.task.restore(self._positions):
            polled = self._consumer.poll(1, 0.0)
            if polled.assigned or polled.revoked:
                return
        self._consumer.start({where: position.offset for where, position in self._positions.items()})
        self._restoring = False
        self._hold()

    def _hold(self) -> None:
        held = self.task.held() & self._consumer.assignment()
        self._consumer.pause(held - self._held)
        self._consumer.resume(self._held - held)
        self._held = held

    def _letters(self, polled: Polled, staged: Staged) -> list[Message]:
        codec, service, topic = self.task.codec, self._service, self.task.dead_letters
        for refused in staged.refused:
            self._telemetry.count(names.DEAD_LETTERS, topic=refused.record.topic, reason=refused.why.reason)
        for gap in polled.gaps:
            self._log.error(
                "records_lost_to_retention", **_described(gap.partition), start=gap.start, end=gap.end
            )
        return [
            *(
                deadletter.letter(each, service=service, topic=topic(each.record.topic), codec=codec)
                for each in staged.refused
            ),
            *(
                deadletter.gap_letter(gap, service=service, topic=topic(gap.partition.topic), codec=codec)
                for gap in polled.gaps
            ),
        ]

    def _burn(self, polled: Polled, staged: Staged) -> None:
        """Before anything is written: what blew the fuse is still in the input when its cause is mended."""
        if self._fuse is None:
            return
        seen = Counter(column(polled.records, "topic"))
        refused = Counter(each.record.topic for each in staged.refused)
        for topic, count in seen.items():
            self._fuse.burn(topic, seen=count, refused=refused[topic])


def _described(where: TopicPartition) -> dict[str, object]:
    return {"topic": where.topic, "partition": where.partition}


def settle(steps: Sequence[Callable[[], bool]], *, rounds: int = 10_000) -> None:
    """Step all until none has anything to do: how scenarios and backtests run a whole system in one thread.

    Raises:
        RuntimeError: it does not come to rest in so many rounds.
    """
    for _ in range(rounds):
        busy = [step() for step in steps]
        if not any(busy):
            return
    raise RuntimeError(f"still busy after {rounds} rounds")

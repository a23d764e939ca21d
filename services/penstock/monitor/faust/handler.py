"""What is done with one summary, by the numbers that docs/crashes.md uses:

    1. take     the core makes the next state and the outputs of it; what was taken before is passed over
    2. outputs  they are written, and the broker has them
    3. state    it is written with the position after the record, and the broker has it
    4. offset   Faust commits, within a second; only what came to an end here counts as processed

Before 3 a crash leaves the old state: the record comes again and makes the same outputs under the same ids.
After 3 it leaves the new one, whose outputs are all there: the record comes again and is passed over. So
nothing has to be written anew after a restore, and readers that keep the first of an id see each once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic

from penstock.kernel.errors import Invalid
from penstock.monitor.ledger import NAME, STATE, Core, Ledger, State
from penstock.runtime import deadletter, logs, names
from penstock.runtime.broker import Message, Position, Record, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.deadletter import Fuse, Refused
from penstock.runtime.errors import NotYet
from penstock.runtime.telemetry import Telemetry

PATIENCE: Final = 0.1
"""Seconds between two tries of what could not be taken yet."""

Write = Callable[[Sequence[Message]], Awaitable[None]]
"""Returns when the broker has all of it."""
Reached = Callable[[TopicPartition], int | None]
"""The end of a partition when it was last asked for records; None where nobody knows."""
Recall = Callable[[bytes], bytes | None]
"""The state record of a key, as it was restored or written last."""


class Handler(Generic[State]):
    """Takes summaries one at a time.

    Args:
        write: to any topic.
        recall: from the restored table.
        reached: how far the records that were brought last went; they are one batch.
        group: named in telemetry.
        fuse: ends the service before a stream of invalid records becomes dead letters; none lets them pass.
    """

    def __init__(
        self,
        core: Core[State],
        catalog: Catalog,
        *,
        write: Write,
        recall: Recall,
        group: str,
        telemetry: Telemetry,
        fuse: Fuse | None,
        reached: Reached = lambda _: None,
    ) -> None:
        self._core = core
        self._catalog = catalog
        self._ledger = Ledger(core, catalog.control)
        self._write = write
        self._recall = recall
        self._reached = reached
        self._batches: dict[TopicPartition, int] = {}
        """Where the batch ends that the core was refreshed for."""
        self._group = group
        self._telemetry = telemetry
        self._fuse = fuse
        self._conditions = logs.Conditions(logs.get(task=NAME))
        self.positions: dict[TopicPartition, Position] = {}
        """Behind the last record of each partition that is done."""

    def forget(self) -> None:
        """Partitions came or went: what is known is to be recalled anew."""
        self._ledger.forget()
        self._batches.clear()
        self.positions.clear()

    async def handle(self, record: Record) -> None:
        """One record; when this returns, it may be committed past."""
        await self._handle(record)
        self.positions[TopicPartition(record.topic, record.partition)] = Position(record.offset + 1)

    async def _handle(self, record: Record) -> None:
        telemetry = self._telemetry
        telemetry.count(names.CONSUMED, topic=record.topic, group=self._group, operation="poll")
        with telemetry.processing([record], group=self._group):
            try:
                outputs = await self._take(record)  # 1.
            except Invalid as why:
                await self._refuse(Refused(record, why, "take"))
                return
            if outputs is None:
                return
            if outputs:
                await self._send([_placed(each, record.partition) for each in outputs])  # 2.
            key = record.key or b""
            topic = self._catalog.names.of(STATE)
            await self._send([Message(topic, self._ledger.dump(key), key, (), record.partition)])  # 3.
        if self._fuse is not None:
            self._fuse.burn(record.topic, seen=1, refused=0)

    async def _take(self, record: Record) -> Sequence[Message] | None:
        key = record.key or b""
        if key not in self._ledger and (payload := self._recall(key)) is not None:
            self._ledger.load(key, payload)
        while True:
            self._refresh(record)
            try:
                outputs = self._ledger.take(record)
            except NotYet as missing:
                self._batches.clear()
                self._conditions.began("not_yet", why=str(missing))
                await asyncio.sleep(PATIENCE)
            else:
                self._conditions.ended("not_yet")
                return outputs

    def _refresh(self, record: Record) -> None:
        """Once for each batch, as in the loop: asking for the ends of topics takes longer than a record."""
        where = TopicPartition(record.topic, record.partition)
        if record.offset < self._batches.get(where, 0):
            return
        end = self._reached(where)  # first: what is older than this is older than what is read now
        self._catalog.refresh()
        self._core.refresh()
        self._batches[where] = record.offset + 1 if end is None else end

    async def _refuse(self, refused: Refused) -> None:
        topic = refused.record.topic
        if self._fuse is not None:  # before anything is written, as in the loop
            self._fuse.burn(topic, seen=1, refused=1)
        self._telemetry.count(names.DEAD_LETTERS, topic=topic, reason=refused.why.reason)
        letters = self._catalog.names.dead_letters(NAME)
        await self._send([deadletter.letter(refused, service=NAME, topic=letters, codec=self._catalog.codec)])

    async def _send(self, messages: Sequence[Message]) -> None:
        with self._telemetry.sending(messages) as traced:
            await self._write(traced)


def _placed(message: Message, partition: int) -> Message:
    """On the partition number of the summary, unless the core knows better."""
    return message if message.partition is not None else message._replace(partition=partition)

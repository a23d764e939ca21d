"""The monitor in the generic loop: exactly once by transactions, on any broker, the one in memory above all.

It keeps the same records on `monitor-state` as the Faust shell, and gives the same evidence. On one cluster
only one of the two may ever run for a prefix: Faust cannot restore from a topic that ends in the marker of a
transaction (it waits for a record at that offset for ever).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic

from penstock.kernel.errors import Invalid
from penstock.monitor.ledger import NAME, SOURCE, STATE, Core, Ledger, State, position_of
from penstock.runtime.broker import Broker, Message, Polled, Position, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.deadletter import Refused
from penstock.runtime.fold import read_written
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask


class MonitorTask(CatalogTask, Generic[State]):
    """Summaries in; evidence and the state out."""

    name = NAME

    def __init__(self, catalog: Catalog, broker: Broker, core: Core[State]) -> None:
        super().__init__(catalog, service=NAME)
        self._broker = broker
        self._core = core
        self._ledger = Ledger(core, catalog.control)

    def refresh(self) -> bool:
        changed = super().refresh()
        self._core.refresh()
        return changed

    def topics(self) -> Sequence[str]:
        return [self.names.of(SOURCE)]

    def dead_letters(self, topic: str) -> str:  # noqa: ARG002 - one for all control topics
        return self.names.dead_letters(NAME)

    def close(self) -> None:
        self._core.close()

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """The state of each pipeline that is furthest on, from the compacted `monitor-state`."""
        self._ledger.forget()
        topic = self.names.of(STATE)
        kept: dict[bytes, bytes] = {}
        for records in read_written(
            self._broker, {TopicPartition(topic, where.partition) for where in positions}
        ):
            for record in records:
                key = record.key or b""
                if record.value is not None and position_of(record.value) >= position_of(kept.get(key)):
                    kept[key] = record.value
            yield
        for key, payload in kept.items():
            self._ledger.load(key, payload)

    def process(self, polled: Polled) -> Staged:
        messages: list[Message] = []
        refused: list[Refused] = []
        changed: dict[bytes, int] = {}
        for record in polled.records:
            try:
                outputs = self._ledger.take(record)
            except Invalid as why:
                refused.append(Refused(record, why, "take"))
                continue
            if outputs is not None:
                messages += outputs
                changed[record.key or b""] = record.partition
        topic = self.names.of(STATE)
        # Once for each batch, not for each record: what stands in between is nobody's to read.
        messages += [
            Message(topic, self._ledger.dump(key), key, (), partition) for key, partition in changed.items()
        ]
        return Staged(messages=messages, refused=refused)

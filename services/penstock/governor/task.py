"""The governor's shell: facts in; decisions, the journal and the state out, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from penstock.contracts.records import (
    FactTaken,
    GovernorState,
    JobCompleted,
    PipelineApplied,
    Source,
    VersionRegistered,
)
from penstock.governor.domain import Fact, Place, decide
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import Broker, Message, Polled, Position, Record, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.deadletter import Refused
from penstock.runtime.fold import read_written
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask

_FACTS = ("pipelines", "lifecycle", "jobs")


class GovernorTask(CatalogTask):
    """Decides, and writes down what it decided from."""

    name = "governor"

    def __init__(self, catalog: Catalog, broker: Broker) -> None:
        super().__init__(catalog, service="governor")
        self._broker = broker
        self._cluster = broker.cluster_id()
        self._topic_ids = broker.topic_ids(self.topics())
        self._states: dict[str, GovernorState] = {}

    def topics(self) -> Sequence[str]:
        return [self.names.of(topic) for topic in _FACTS]

    def dead_letters(self, topic: str) -> str:  # noqa: ARG002 - one for all control topics
        return self.names.dead_letters("governor")

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """The last state of each pipeline, from the compacted `governor-state`."""
        self._states = {}
        topic = self.names.of("governor-state")
        mine = {TopicPartition(topic, where.partition) for where in positions}
        for records in read_written(self._broker, mine):
            for record in records:
                state = self.codec.decode(record.value or b"").value
                if isinstance(state, GovernorState):
                    self._states[state.pipeline] = state
            yield

    def process(self, polled: Polled) -> Staged:
        messages: list[Message] = []
        refused: list[Refused] = []
        for record in polled.records:
            if record.value is None:
                continue  # a pipeline that was taken away decides nothing any more
            try:
                messages += self._take(record)
            except Invalid as why:
                refused.append(Refused(record, why, "decide"))
        return Staged(messages=messages, refused=refused)

    def _take(self, record: Record) -> list[Message]:
        fact = self._fact(record)
        place = Place(
            cluster=self._cluster,
            topic_id=self._topic_ids[record.topic],
            source=Source(topic=record.topic, partition=record.partition, offset=record.offset),
            timestamp=record.timestamp,
        )
        state, decisions = decide(self._states.get(fact.pipeline), fact, place)
        self._states[fact.pipeline] = state
        taken = FactTaken(
            pipeline=fact.pipeline,
            ordinal=state.taken - 1,
            source=place.source,
            cluster=place.cluster,
            topic_id=place.topic_id,
            timestamp=place.timestamp,
            value=record.value or b"",
        )
        events = [("governor-journal", taken), *(("decisions", each) for each in decisions)]
        return [
            self.catalog.control_message(topic, fact.pipeline, event)
            for topic, event in [*events, ("governor-state", state)]
        ]

    def _fact(self, record: Record) -> Fact:
        event = self.codec.decode(record.value or b"").value
        if not isinstance(event, PipelineApplied | VersionRegistered | JobCompleted):
            raise Invalid(f"a {type(event).__name__} is no fact", reason="unexpected")
        return event

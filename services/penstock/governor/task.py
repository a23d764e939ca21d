"""The governor's shell: facts in; decisions, the journal and the state out, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from penstock.contracts.records import FactTaken, GovernorState, PipelineApplied, Source, WaitingFact
from penstock.governor.domain import Fact, Governed, Place, decide
from penstock.governor.domain.facts import Deferred, Evidence
from penstock.kernel.errors import Invalid
from penstock.kernel.spec import read_spec
from penstock.runtime.broker import Broker, Message, Polled, Position, Record, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.deadletter import Refused
from penstock.runtime.fold import read_written
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask

_FACTS = ("pipelines", "lifecycle", "jobs", "evidence", "commands")


class GovernorTask(CatalogTask):
    """Decides, and writes down what it decided from."""

    name = "governor"

    def __init__(self, catalog: Catalog, broker: Broker) -> None:
        super().__init__(catalog, service="governor")
        self._broker = broker
        self._cluster = broker.cluster_id()
        self._topic_ids = broker.topic_ids(self.topics())
        self._pipelines: dict[str, Governed] = {}

    def topics(self) -> Sequence[str]:
        return [self.names.of(topic) for topic in _FACTS]

    def dead_letters(self, topic: str) -> str:  # noqa: ARG002 - one for all control topics
        return self.names.dead_letters("governor")

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """The last state and spec of each pipeline, from the compacted `governor-state`."""
        states: dict[str, GovernorState] = {}
        specs: dict[str, PipelineApplied] = {}
        topic = self.names.of("governor-state")
        mine = {TopicPartition(topic, where.partition) for where in positions}
        for records in read_written(self._broker, mine):
            for record in records:
                match self.codec.decode(record.value or b"").value:
                    case GovernorState() as state:
                        states[state.pipeline] = state
                    case PipelineApplied() as applied:
                        specs[applied.pipeline] = applied
                    case _:
                        pass
            yield
        self._pipelines = {
            name: Governed(
                state=replace(state, waiting=()),
                pipeline=read_spec(name, specs[name].spec),
                text=specs[name].spec,
                deferred=tuple(map(self._deferred, state.waiting)),
            )
            for name, state in states.items()
        }

    def process(self, polled: Polled) -> Staged:
        messages: list[Message] = []
        refused: list[Refused] = []
        taken: dict[str, Governed] = {}
        for record in polled.records:
            if record.value is None:
                continue  # a pipeline that was taken away decides nothing any more
            try:
                fact = self._fact(record)
                messages += self._take(fact, record)
                taken[fact.pipeline] = self._pipelines[fact.pipeline]
            except Invalid as why:
                refused.append(Refused(record, why, "decide"))
        # One state a transaction: what stands between is seen by nobody.
        messages += [
            self.catalog.control_message("governor-state", name, self._record(governed))
            for name, governed in taken.items()
        ]
        return Staged(messages=messages, refused=refused)

    def _take(self, fact: Fact, record: Record) -> list[Message]:
        place = Place(
            cluster=self._cluster,
            topic_id=self._topic_ids[record.topic],
            source=Source(topic=record.topic, partition=record.partition, offset=record.offset),
            timestamp=record.timestamp,
        )
        governed, decisions = decide(self._pipelines.get(fact.pipeline), fact, place)
        self._pipelines[fact.pipeline] = governed
        taken = FactTaken(
            pipeline=fact.pipeline,
            ordinal=governed.state.taken - 1,
            source=place.source,
            cluster=place.cluster,
            topic_id=place.topic_id,
            timestamp=place.timestamp,
            value=record.value or b"",
        )
        events = [("governor-journal", taken), *(("decisions", each) for each in decisions)]
        messages = [self.catalog.control_message(topic, fact.pipeline, event) for topic, event in events]
        if isinstance(fact, PipelineApplied):
            key = f"{fact.pipeline}/spec"
            messages.append(self.catalog.control_message("governor-state", fact.pipeline, fact, key=key))
        return messages

    def _record(self, governed: Governed) -> GovernorState:
        """The state as it is written."""
        waiting = [
            WaitingFact(
                source=each.place.source,
                cluster=each.place.cluster,
                topic_id=each.place.topic_id,
                timestamp=each.place.timestamp,
                value=self.codec.encode(each.fact),
            )
            for each in governed.deferred
        ]
        return replace(governed.state, waiting=tuple(waiting))

    def _deferred(self, waiting: WaitingFact) -> Deferred:
        fact = self.codec.decode(waiting.value).value
        if not isinstance(fact, Evidence):
            raise TypeError(f"a {type(fact).__name__} waits for nothing")
        place = Place(
            cluster=waiting.cluster,
            topic_id=waiting.topic_id,
            source=waiting.source,
            timestamp=waiting.timestamp,
        )
        return Deferred(fact=fact, place=place)

    def _fact(self, record: Record) -> Fact:
        event = self.codec.decode(record.value or b"").value
        if not isinstance(event, Fact):
            raise Invalid(f"a {type(event).__name__} is no fact", reason="unexpected")
        return event

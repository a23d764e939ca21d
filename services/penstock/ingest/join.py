"""The join's shell: predictions and labels in, outcomes out, state rebuilt from the three logs.

Hand-over: the loop hands over committed positions; the logs up to them are read silently, the outcomes to
their last stable offset (they were committed in the same transactions); then the partition goes on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from penstock.contracts.records import (
    JoinAdvanced,
    Label,
    LabelUnmatched,
    Outcome,
    Prediction,
    PredictionsLost,
)
from penstock.ingest.domain.join import Fate, Identity, Join, Predicted, Verdict, force_of
from penstock.ingest.domain.outcome import outcomes
from penstock.kernel.blocks import watermark
from penstock.kernel.errors import Invalid
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Broker, Message, Polled, Position, Record, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.deadletter import Refused
from penstock.runtime.fold import read_range, read_written
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask

_INPUTS = ("predictions", "labels")


@dataclass(slots=True)
class _Pipeline:
    """What this process knows of one pipeline: its partitions here, and how far event time is."""

    joins: dict[int, Join] = field(default_factory=dict)
    seen: dict[str, int | None] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()
    """Inputs that were read to their ends since they last moved event time. What gRPC clients ask does not
    move it, so a client that never rests keeps nothing from being complete."""
    watermark: int | None = None
    said: dict[int, bool] = field(default_factory=dict)
    """Whether the log has each partition as idle."""

    def saw(self, where: TopicPartition, time: int) -> None:
        before = self.seen.get(_name(where))
        self.seen[_name(where)] = time if before is None else max(before, time)
        self.idle -= {_name(where)}


class JoinTask(CatalogTask):
    """`P.predictions` and `P.labels` become `P.outcomes`."""

    name = "join"

    def __init__(self, catalog: Catalog, broker: Broker) -> None:
        super().__init__(catalog, service="ingest")
        self._broker = broker
        self._state: dict[str, _Pipeline] = {}

    def refresh(self) -> bool:
        if changed := super().refresh():
            for name, state in self._state.items():
                if pipeline := self.catalog.pipelines.get(name):
                    for join in state.joins.values():
                        join.horizon = pipeline.labels.horizon
        return changed

    def topics(self) -> Sequence[str]:
        return self.pipeline_topics(*_INPUTS)

    def process(self, polled: Polled) -> Staged:
        refused: list[Refused] = []
        verdicts: defaultdict[tuple[str, int], list[Verdict | LabelUnmatched]] = defaultdict(list)
        for record in polled.records:
            where = TopicPartition(record.topic, record.partition)
            pipeline = self.names.pipeline(record.topic)
            try:
                verdicts[pipeline, record.partition] += self._take(pipeline, where, record)
            except Invalid as why:
                refused.append(Refused(record, why))
        messages: list[Message] = []
        for name, state in self._state.items():
            if name not in self.catalog.pipelines:
                continue  # taken away while its last records were on their way
            state.idle |= {_name(where) for where in polled.ended}
            before = state.watermark
            state.watermark = watermark(state.seen, idle=state.idle, before=before)
            for partition, join in state.joins.items():
                decided = verdicts[name, partition]
                if state.watermark is not None:  # even where it stands: a prediction may come behind it
                    decided += join.advance(state.watermark)
                idle = self._idle(name, partition, state)
                news = state.watermark != before or idle != state.said.get(partition, False)
                if decided or join.counts or news:
                    messages += self._messages(name, partition, state, decided, idle=idle)
        return Staged(messages=messages, refused=refused)

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """Rebuild the partitions from the three logs; nothing is written."""
        self._state = {}
        ranges: dict[TopicPartition, tuple[int, int]] = {}
        for where, position in positions.items():
            name = self.names.pipeline(where.topic)
            if (pipeline := self.catalog.pipelines.get(name)) is None:
                continue
            state = self._state.setdefault(name, _Pipeline())
            state.seen[_name(where)] = None
            state.joins.setdefault(where.partition, Join(horizon=pipeline.labels.horizon))
            ranges[where] = (0, position.offset)
        written = [
            TopicPartition(self.names.of("outcomes", name), partition)
            for name, state in self._state.items()
            for partition in state.joins
        ]
        for where, (start, _) in self._broker.ends(ranges).items():
            ranges[where] = (start, ranges[where][1])
        for records in chain(read_written(self._broker, written), read_range(self._broker, ranges)):
            for record in records:
                self._recall(record)
            yield
        for state in self._state.values():
            for join in state.joins.values():
                join.restored()

    def _take(self, pipeline: str, where: TopicPartition, record: Record) -> Iterable[Verdict]:
        event = self.codec.decode(record.value or b"").value
        state = self._state[pipeline]
        join = state.joins[record.partition]
        match event:
            case Prediction():
                if event.error is not None:
                    return []  # nothing was answered: there is nothing to judge
                # A client may name any event time; only the stream and the labels move the clock.
                if event.origin == "STREAM":
                    state.saw(where, event.time)
                identity = Identity(event.id, event.origin)
                return join.predict(identity, Predicted(event.time, record.value or b""))
            case Label():
                state.saw(where, event.time)
                return join.label(event)
            case PredictionsLost():
                return []
        raise Invalid(f"a {type(event).__name__} does not belong here", reason="unexpected")

    def _recall(self, record: Record) -> None:
        """A record of one of the three logs, taken in silently."""
        state = self._state[self.names.pipeline(record.topic)]
        join = state.joins[record.partition]
        where = TopicPartition(record.topic, record.partition)
        try:
            event = self.codec.decode(record.value or b"").value
        except Invalid:
            return  # it is among the dead letters already
        match event:
            case Prediction() if event.error is None:
                if event.origin == "STREAM":
                    state.saw(where, event.time)
                predicted = Predicted(event.time, record.value or b"")
                join.restore([(Identity(event.id, event.origin), predicted)], [], [], [])
            case Label():
                state.saw(where, event.time)
                join.restore([], [event], [], [])
            case Outcome():
                force = None
                if event.label is not None and event.label_time is not None:
                    force = force_of(Label(id=event.id, time=event.label_time, label=event.label))
                join.restore([], [], [(Identity(event.id, event.origin), Fate(event.kind, force))], [])
            case LabelUnmatched():
                join.restore([], [], [], [event.id])
            case JoinAdvanced():
                state.said[record.partition] = event.idle
                if event.watermark is not None:
                    state.watermark = max(event.watermark, state.watermark or event.watermark)

    def _idle(self, name: str, partition: int, state: _Pipeline) -> bool:
        """Whether both inputs of a partition were read to their ends."""
        here = {_name(TopicPartition(self.names.of(each, name), partition)) for each in _INPUTS}
        return here <= state.idle

    def _messages(
        self,
        name: str,
        partition: int,
        state: _Pipeline,
        decided: Sequence[Verdict | LabelUnmatched],
        *,
        idle: bool,
    ) -> list[Message]:
        topic = self.names.of("outcomes", name)
        pipeline = self.catalog.pipelines[name]
        verdicts = [each for each in decided if isinstance(each, Verdict)]
        messages = self._outcomes(pipeline, topic, partition, verdicts)
        messages += [
            Message(topic, self.codec.encode(each), each.id.encode(), (), partition)
            for each in decided
            if isinstance(each, LabelUnmatched)
        ]
        counts = state.joins[partition].take_counts()
        state.said[partition] = idle
        advanced = JoinAdvanced(
            watermark=state.watermark,
            idle=idle,
            repeats=counts.repeats,
            duplicate_labels=counts.duplicate_labels,
            stale_labels=counts.stale_labels,
        )
        return [*messages, Message(topic, self.codec.encode(advanced), None, (), partition)]

    def _outcomes(
        self, pipeline: Pipeline, topic: str, partition: int, verdicts: Sequence[Verdict]
    ) -> list[Message]:
        decoded = [self.codec.decode(verdict.predicted.payload) for verdict in verdicts]
        heads = outcomes(pipeline.policy.objective, [each.value for each in decoded], verdicts)
        messages = []
        for verdict, prediction, head in zip(verdicts, decoded, heads, strict=True):
            if prediction.rows is None:
                raise TypeError("a prediction is a row")
            # Outcomes keep the layout of the features that were served.
            rows = self.codec.rows(Outcome, pipeline.name, prediction.rows.layout, prediction.rows.names)
            payload = rows.with_head(head, prediction.rows.features_of(verdict.predicted.payload))
            messages.append(Message(topic, payload, head.id.encode(), (), partition))
        return messages


def _name(where: TopicPartition) -> str:
    return f"{where.topic}/{where.partition}"

"""The join's shell: predictions and labels in, outcomes out; what it knows is a cache of the three logs.

The steps are the loop's (docs/crashes.md). In 3 the core decides, and what it knows then is staged; in 6 the
cache takes that over, with the positions that were committed; 0 is the hand-over.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final

from penstock.contracts.records import JoinAdvanced, Label, LabelUnmatched, Origin, Outcome
from penstock.ingest.domain.cases import Identity, Made
from penstock.ingest.domain.join import Verdict
from penstock.ingest.domain.outcome import outcomes
from penstock.ingest.elsewhere import Lookout
from penstock.ingest.handover import INPUTS, Handover, Part, named
from penstock.ingest.heads import Asked, head
from penstock.ingest.store import Cache, MemoryCache, Place
from penstock.kernel.errors import Invalid
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Broker, Message, Polled, Position, Record, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.deadletter import Refused
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask

_LOOK: Final = 50
"""Commits between two looks at the ends of the logs. Outcomes behind the last one are taken in once more by
a restart, and predictions that retention has removed stay known so long."""

Decided = Verdict | LabelUnmatched


class _Taken:
    """What came for a part, record by record."""

    __slots__ = ("events", "records")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.events: list[Asked | Label | None] = []

    def add(self, record: Record, event: Asked | Label | None) -> None:
        self.records.append(record)
        self.events.append(event)


class JoinTask(CatalogTask):
    """`P.predictions` and `P.labels` become `P.outcomes`.

    Args:
        catalog: knows the pipelines.
        broker: has the logs.
        cache: keeps what is known from one assignment to the next; none, and it is read from the logs.
        now: seconds of a monotonic clock.
    """

    name = "join"

    def __init__(
        self,
        catalog: Catalog,
        broker: Broker,
        cache: Cache | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(catalog, service="ingest")
        self._broker = broker
        self._cache = cache
        self._handover = Handover(catalog, broker, cache or MemoryCache())
        self._lookout = Lookout(broker, catalog.codec, now=now)
        self._commits = 0

    @property
    def parts(self) -> Mapping[Place, Part]:
        """What it has, by place."""
        return self._handover.parts

    def refresh(self) -> bool:
        if changed := super().refresh():
            for part in self.parts.values():
                if pipeline := self.catalog.pipelines.get(part.place.pipeline):
                    part.join.horizon = pipeline.labels.horizon
        self._look_elsewhere()
        return changed

    def topics(self) -> Sequence[str]:
        return self.pipeline_topics(*INPUTS)

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        self._lookout.forget()
        return self._handover.take(positions)

    def due(self) -> bool:
        """Whether event time has decided something that is not written yet."""
        return any(part.more or _moved(part) for part in self.parts.values())

    def process(self, polled: Polled) -> Staged:
        refused: list[Refused] = []
        taken: defaultdict[Place, _Taken] = defaultdict(_Taken)
        for where, records in _runs(polled.records):
            its = taken[Place(self.names.pipeline(where.topic), where.partition)]
            for record in records:
                try:
                    its.add(record, head(self.codec, record.value or b""))
                except Invalid as why:
                    refused.append(Refused(record, why))
        # Pipelines that were taken away while their last records were on their way are left out.
        here = {place: part for place, part in self.parts.items() if place.pipeline in self.catalog.pipelines}
        decided = {place: self._take(part, taken[place]) for place, part in here.items()}
        ended = [named(where) for where in polled.ended]
        for part in here.values():
            part.clock.rest(ended)
        messages: list[Message] = []
        for place, part in here.items():
            before = part.watermark
            decided[place] += _advance(part)
            news = part.watermark != before or part.resting != part.idle
            if decided[place] or part.join.counts or news:
                messages += self._messages(part, decided[place])
        return Staged(messages=messages, refused=refused)

    def committed(self, positions: Mapping[TopicPartition, Position]) -> None:
        if self._cache is None:
            return
        offsets = {where: position.offset for where, position in positions.items()}
        self._cache.adopt({place: part.note(offsets) for place, part in self.parts.items()})
        self._commits += 1
        if self._commits % _LOOK == 0:
            self._look_at_ends()

    def close(self) -> None:
        if self._cache is not None:
            self._cache.close()

    def _take(self, part: Part, taken: _Taken) -> list[Decided]:
        """What the records of one part decide by themselves."""
        part.shelf.fetch(event.id for event in taken.events if event is not None)
        decided: list[Decided] = []
        for record, event in zip(taken.records, taken.events, strict=True):
            match event:
                # Where nothing was answered there is nothing to judge.
                case Asked(answered=True):
                    # A client may name any event time; only the stream and the labels move the clock.
                    if event.origin is Origin.STREAM:
                        part.clock.saw(named(part.predictions), event.time)
                    part.shelf.put(record.offset, record.value or b"")
                    decided += part.join.predict(
                        Identity(event.id, event.origin), Made(event.time, record.offset)
                    )
                case Label():
                    part.clock.saw(named(part.labels), event.time)
                    decided += part.join.label(event)
                case _:
                    pass
        return decided

    def _look_elsewhere(self) -> None:
        """Hear how far other processes are, where everything here waits for them."""
        waiting = {
            TopicPartition(part.outcomes.topic, int(number)): part.clock
            for part in self.parts.values()
            if part.clock.elsewhere and part.clock.resting
            for number in part.clock.elsewhere
        }
        if waiting:
            for where, said in self._lookout.look(waiting).items():
                waiting[where].elsewhere[str(where.partition)] = said

    def _look_at_ends(self) -> None:
        """Everything up to the ends that are asked for now was committed, and is in the cache."""
        parts = self.parts.values()
        ends = self._broker.ends(where for part in parts for where in (part.predictions, part.outcomes))
        for part in parts:
            part.known = max(part.known, ends[part.outcomes][1])
            if (first := ends[part.predictions][0]) > part.join.first:
                part.join.first = first
                part.shelf.trim(first)

    def _messages(self, part: Part, decided: Sequence[Decided]) -> list[Message]:
        topic, partition = part.outcomes
        pipeline = self.catalog.pipelines[part.place.pipeline]
        messages = self._outcomes(pipeline, part, [each for each in decided if isinstance(each, Verdict)])
        messages += [
            Message(topic, self.codec.encode(each), each.id.encode(), (), partition)
            for each in decided
            if isinstance(each, LabelUnmatched)
        ]
        counts = part.join.take_counts()
        part.idle = part.resting
        advanced = JoinAdvanced(
            watermark=part.watermark,
            idle=part.idle,
            repeats=counts.repeats,
            duplicate_labels=counts.duplicate_labels,
            stale_labels=counts.stale_labels,
        )
        return [*messages, Message(topic, self.codec.encode(advanced), None, (), partition)]

    def _outcomes(self, pipeline: Pipeline, part: Part, verdicts: Sequence[Verdict]) -> list[Message]:
        topic, partition = part.outcomes
        payloads = part.shelf.get([verdict.made.offset for verdict in verdicts])
        decoded = [self.codec.decode(payload) for payload in payloads]
        heads = outcomes(pipeline.policy.objective, [each.value for each in decoded], verdicts)
        messages = []
        for payload, prediction, outcome in zip(payloads, decoded, heads, strict=True):
            if prediction.rows is None:
                raise TypeError("a prediction is a row")
            # Outcomes keep the layout of the features that were served.
            rows = self.codec.rows(Outcome, pipeline.name, prediction.rows.layout, prediction.rows.names)
            value = rows.with_head(outcome, prediction.rows.features_of(payload))
            messages.append(Message(topic, value, outcome.id.encode(), (), partition))
        return messages


def _runs(records: Sequence[Record]) -> Iterator[tuple[TopicPartition, Iterable[Record]]]:
    """Consecutive records of one partition each, as they come from a poll."""
    for (topic, partition), run in itertools.groupby(records, key=itemgetter(0, 1)):
        yield TopicPartition(topic, partition), run


def _target(part: Part) -> int | None:
    """How far event time is for a part; it never goes back."""
    now = part.clock.now()
    if now is None or part.watermark is None:
        return part.watermark if now is None else now
    return max(now, part.watermark)


def _moved(part: Part) -> bool:
    return part.clock.resting and _target(part) != part.watermark


def _advance(part: Part) -> list[Decided]:
    """Even where event time stands: a prediction may have come behind it."""
    target = _target(part)
    if target is None:
        return []
    decided, reached = part.join.advance(target)
    part.more = reached < target
    part.watermark = reached if part.watermark is None else max(reached, part.watermark)
    return decided

"""The join takes partitions over: what is known of them, from the cache and the three logs. Step 0.

1. The positions that the group has committed are given. What was written up to them may still be on its way
   to the outcomes: wait until nothing is open there.
2. A note in the cache says how far each partition is known. It counts where it is of this cluster and these
   topics, and nowhere ahead of them; else what the cache has of the partition is thrown away.
3. The rest of the outcomes is taken in, to their last stable offset, then that of predictions and labels, to
   the committed positions: silently, nothing is written. The cache is written as it goes, so a hand-over that
   is broken off goes on from there.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from penstock.contracts.records import JoinAdvanced, Label, LabelUnmatched, Origin, Outcome
from penstock.ingest.domain.cases import Identity, Made, force_of
from penstock.ingest.domain.clock import UNHEARD, Clock
from penstock.ingest.domain.join import Join
from penstock.ingest.heads import Asked, head
from penstock.ingest.store import Cache, Note, Place, Shelf
from penstock.kernel.errors import Invalid
from penstock.runtime import logs
from penstock.runtime.broker import Broker, Position, Record, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.fold import read_range, settled

INPUTS: Final = ("predictions", "labels")
_SLICE: Final = 20_000
"""Records between two writes to the cache."""


def named(where: TopicPartition) -> str:
    """An input as the clock knows it."""
    return f"{where.topic}/{where.partition}"


@dataclass(slots=True, kw_only=True)
class Part:
    """A partition of a pipeline that this process has.

    Args:
        predictions: where it is read from; so are labels and outcomes.
        source: which cluster and topics these are.
        clock: shared with the other partitions of the pipeline.
        known: offset of the outcomes that this is known up to, at least.
        watermark: as the log has it.
        idle: the same.
        more: whether event time has decided more than could be written at once.
    """

    place: Place
    predictions: TopicPartition
    labels: TopicPartition
    outcomes: TopicPartition
    source: str
    join: Join
    shelf: Shelf
    clock: Clock
    known: int = 0
    watermark: int | None = None
    idle: bool = False
    more: bool = False

    @property
    def resting(self) -> bool:
        """Whether both inputs were read to their ends."""
        return self.clock.idle(named(self.predictions), named(self.labels))

    def note(self, offsets: Mapping[TopicPartition, int]) -> Note:
        """How far it is known, with the inputs at these offsets."""
        seen = self.clock.seen
        return Note(
            source=self.source,
            predictions=offsets[self.predictions],
            labels=offsets[self.labels],
            outcomes=offsets.get(self.outcomes, self.known),
            seen=(seen[named(self.predictions)], seen[named(self.labels)]),
            watermark=self.watermark,
            idle=self.idle,
        )


class Handover:
    """Makes the parts of an assignment.

    Args:
        catalog: knows the pipelines.
        broker: has the logs.
        cache: has what was known; memory where it keeps nothing.
    """

    def __init__(self, catalog: Catalog, broker: Broker, cache: Cache) -> None:
        self._catalog = catalog
        self._broker = broker
        self._cache = cache
        self._log = logs.get()
        self.parts: dict[Place, Part] = {}

    def take(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """Yields now and then; when it has ended, the parts are whole."""
        self._cache.begin()
        self.parts = self._assigned(positions)
        outcomes = [part.outcomes for part in self.parts.values()]
        for _ in settled(self._broker, outcomes):  # 1.
            yield
        ends = self._broker.ends([*positions, *outcomes])
        offsets: dict[TopicPartition, int] = {}
        targets: dict[TopicPartition, int] = {}
        for part in self.parts.values():
            targets |= {each: positions[each].offset for each in (part.predictions, part.labels)}
            targets[part.outcomes] = ends[part.outcomes][1]
            part.join.first = ends[part.predictions][0]
            part.shelf.trim(part.join.first)
            offsets |= self._begin(part, targets, {where: start for where, (start, _) in ends.items()})
        for chosen in (outcomes, [where for where in targets if where not in outcomes]):  # 3.
            yield from self._read({where: (offsets[where], targets[where]) for where in chosen}, offsets)
        self._adopt(offsets | targets)

    def _assigned(self, positions: Mapping[TopicPartition, Position]) -> dict[Place, Part]:
        names, pipelines = self._catalog.names, self._catalog.pipelines
        places = sorted(
            {
                Place(name, where.partition)
                for where in positions
                if (name := names.pipeline(where.topic)) in pipelines
            }
        )
        counts = self._broker.topics()
        topics = {
            place.pipeline: [names.of(each, place.pipeline) for each in (*INPUTS, "outcomes")]
            for place in places
        }
        ids = self._broker.topic_ids(topic for three in topics.values() for topic in three) if topics else {}
        cluster = self._broker.cluster_id()
        clocks: defaultdict[str, Clock] = defaultdict(Clock)
        parts = {}
        for place in places:
            predictions, labels, outcomes = (
                TopicPartition(topic, place.partition) for topic in topics[place.pipeline]
            )
            clock = clocks[place.pipeline]
            clock.seen |= {named(predictions): None, named(labels): None}
            clock.elsewhere = {
                str(number): UNHEARD
                for number in range(counts.get(outcomes.topic, 0))
                if Place(place.pipeline, number) not in places
            }
            shelf = self._cache.shelf(place)
            parts[place] = Part(
                place=place,
                predictions=predictions,
                labels=labels,
                outcomes=outcomes,
                source=" ".join([cluster, *(ids[topic] for topic in topics[place.pipeline])]),
                join=Join(horizon=pipelines[place.pipeline].labels.horizon, store=shelf),
                shelf=shelf,
                clock=clock,
            )
        return parts

    def _begin(
        self, part: Part, ends: Mapping[TopicPartition, int], starts: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Where to read the three logs of a part from: 2."""
        three = (part.predictions, part.labels, part.outcomes)
        note = self._cache.note(part.place)
        if note is None:
            return {where: starts[where] for where in three}
        offsets = dict(zip(three, (note.predictions, note.labels, note.outcomes), strict=True))
        if note.source != part.source:
            why = "it is of another cluster, or of other topics"
        elif ahead := [where.topic for where in three if offsets[where] > ends[where]]:
            why = f"it is ahead of {ahead[0]}"
        else:
            part.clock.seen |= dict(zip(map(named, three), note.seen, strict=False))
            part.watermark, part.idle = note.watermark, note.idle
            return {where: max(offsets[where], starts[where]) for where in three}
        self._log.warning("cache_discarded", **part.place._asdict(), why=why)
        self._cache.discard(part.place)
        return {where: starts[where] for where in three}

    def _read(
        self, ranges: Mapping[TopicPartition, tuple[int, int]], offsets: dict[TopicPartition, int]
    ) -> Iterator[None]:
        fresh = 0
        for records in read_range(self._broker, ranges):
            for place, its in self._by_place(records).items():
                self._recall(self.parts[place], its)
            offsets |= {TopicPartition(each.topic, each.partition): each.offset + 1 for each in records}
            fresh += len(records)
            if fresh >= _SLICE:
                fresh = 0
                self._adopt(offsets)
            yield

    def _adopt(self, offsets: Mapping[TopicPartition, int]) -> None:
        for part in self.parts.values():
            part.known = offsets[part.outcomes]
        self._cache.adopt({place: part.note(offsets) for place, part in self.parts.items()})

    def _by_place(self, records: Iterable[Record]) -> dict[Place, list[Record]]:
        found: defaultdict[Place, list[Record]] = defaultdict(list)
        for record in records:
            found[Place(self._catalog.names.pipeline(record.topic), record.partition)].append(record)
        return found

    def _recall(self, part: Part, records: Iterable[Record]) -> None:
        """Records of the logs of one part, taken in silently."""
        events = []
        for record in records:
            # What cannot be decoded is among the dead letters already.
            with contextlib.suppress(Invalid):
                if record.topic == part.outcomes.topic:
                    events.append((record, self._catalog.codec.decode(record.value or b"").value))
                else:
                    events.append((record, head(self._catalog.codec, record.value or b"")))
        part.shelf.fetch(name for _, event in events if (name := id_of(event)) is not None)
        for record, event in events:
            recall(part, record, event)


def id_of(event: object) -> str | None:
    """The id that a record of the three logs is about."""
    match event:
        case Asked() | Label() | Outcome() | LabelUnmatched():
            return event.id
    return None


def recall(part: Part, record: Record, event: object) -> None:
    """Take in what a record of the logs says."""
    join = part.join
    match event:
        case Asked(answered=True):
            if event.origin is Origin.STREAM:
                part.clock.saw(named(part.predictions), event.time)
            part.shelf.put(record.offset, record.value or b"")
            join.recall_prediction(Identity(event.id, event.origin), Made(event.time, record.offset))
        case Label():
            part.clock.saw(named(part.labels), event.time)
            join.recall_label(event)
        case Outcome():
            force = None
            if event.label is not None and event.label_time is not None:
                force = force_of(Label(id=event.id, time=event.label_time, label=event.label))
            join.recall_verdict(Identity(event.id, event.origin), event.kind, force)
        case LabelUnmatched():
            join.recall_unmatched(event.id)
        case JoinAdvanced():
            part.idle = event.idle
            if event.watermark is not None:
                part.watermark = max(event.watermark, part.watermark or event.watermark)
        case _:
            pass

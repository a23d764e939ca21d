"""The summariser's shell: `P.predictions`, `P.outcomes` and `P.quality` in, one summary per transaction and
partition out.

It keeps nothing but where its chain stands, and that rides in the metadata of the committed offset. The chain
is one of predictions and outcomes: what intake made of producers' records is in the summary of the
transaction that read it, and no hole in it makes anything else doubtful.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from penstock.contracts.records import (
    JoinAdvanced,
    LabelUnmatched,
    Outcome,
    Prediction,
    PredictionsLost,
    RecordsTaken,
    RowBlock,
    Span,
    Summary,
)
from penstock.ingest.domain import summary as sums
from penstock.ingest.domain.counts import added
from penstock.kernel.blocks import base_block
from penstock.kernel.errors import Invalid
from penstock.kernel.kinds import Category
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Gap, Polled, Position, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.codec import Decoded, RowCodec
from penstock.runtime.deadletter import Refused
from penstock.runtime.loop import Staged
from penstock.runtime.task import CatalogTask

_CHAINED = ("predictions", "outcomes")
_INPUTS = (*_CHAINED, "quality")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """Where the summaries of one partition stand."""

    sequence: int = 0
    ordinal: int = 0
    watermark: int | None = None
    idle: bool = False
    ends: tuple[int, int] = (0, 0)
    """Next offsets of predictions and outcomes."""

    def dump(self) -> str:
        return orjson.dumps([self.sequence, self.ordinal, self.watermark, self.idle, *self.ends]).decode()

    @classmethod
    def load(cls, text: str) -> _Chain:
        sequence, ordinal, watermark, idle, *ends = orjson.loads(text)
        return cls(
            sequence=sequence, ordinal=ordinal, watermark=watermark, idle=idle, ends=(ends[0], ends[1])
        )


@dataclass(slots=True)
class _Batch:
    """What one transaction brought of one partition."""

    ends: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[Decoded, bytes]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    advanced: list[JoinAdvanced] = field(default_factory=list)
    taken: list[RecordsTaken] = field(default_factory=list)
    unmatched: int = 0
    lost: int = 0


class SummariseTask(CatalogTask):
    """Rows and outcomes become summaries: all that the monitor is ever shown."""

    name = "summarise"
    # Summaries are kept for ever and each costs the monitor as much as its rows: few large ones are better.
    gather = 0.03
    limit = 500  # so that a summary of many features, versions and time blocks is still a record

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog, service="ingest")
        self._chains: dict[tuple[str, int], _Chain] = {}

    def topics(self) -> Sequence[str]:
        return self.pipeline_topics(*_INPUTS)

    def restore(self, positions: Mapping[TopicPartition, Position]) -> Iterator[None]:
        """The chain is in the metadata beside the position of the predictions; nothing is read."""
        self._chains = {}
        for where, position in positions.items():
            name, topic = self.names.pipeline(where.topic), where.topic
            if topic == self.names.of("predictions", name):
                outcomes = positions[TopicPartition(self.names.of("outcomes", name), where.partition)]
                self._chains[name, where.partition] = (
                    _Chain.load(position.metadata)
                    if position.metadata
                    else _Chain(ends=(position.offset, outcomes.offset))
                )
        yield from ()

    def process(self, polled: Polled) -> Staged:
        refused: list[Refused] = []
        batches: defaultdict[tuple[str, int], _Batch] = defaultdict(_Batch)
        for record in polled.records:
            batch = batches[self.names.pipeline(record.topic), record.partition]
            batch.ends[record.topic] = record.offset + 1
            try:
                _sort(batch, self.codec.decode(record.value or b""), record.value or b"")
            except Invalid as why:
                refused.append(Refused(record, why))
        for gap in polled.gaps:
            self._skip(gap)
        messages, metadata = [], {}
        for (name, partition), batch in batches.items():
            pipeline = self.catalog.pipelines.get(name)
            if pipeline is None:
                continue  # taken away while its last records were on their way
            before = self._chains[name, partition]
            summary, after = self._summary(pipeline, partition, before, batch)
            self._chains[name, partition] = after
            messages.append(self.catalog.control_message("summaries", name, summary))
            metadata[TopicPartition(self.names.of("predictions", name), partition)] = after.dump()
        return Staged(messages=messages, refused=refused, metadata=metadata)

    def _skip(self, gap: Gap) -> None:
        """What retention removed unread is in no summary: the next begins later than the last ended."""
        where = gap.partition
        name = self.names.pipeline(where.topic)
        chain = self._chains[name, where.partition]
        predictions, outcomes = chain.ends
        if where.topic == self.names.of("predictions", name):
            predictions = gap.end
        elif where.topic == self.names.of("outcomes", name):
            outcomes = gap.end
        self._chains[name, where.partition] = replace(chain, ends=(predictions, outcomes))

    def _summary(
        self, pipeline: Pipeline, partition: int, before: _Chain, batch: _Batch
    ) -> tuple[Summary, _Chain]:
        ends = tuple(
            batch.ends.get(self.names.of(topic, pipeline.name), end)
            for topic, end in zip(_CHAINED, before.ends, strict=True)
        )
        last = batch.advanced[-1] if batch.advanced else None
        after = replace(
            before,
            sequence=before.sequence + 1,
            ordinal=before.ordinal + len(batch.rows),
            watermark=before.watermark if last is None else last.watermark,
            idle=before.idle if last is None else last.idle,
            ends=(ends[0], ends[1]),
        )
        heads = [decoded.value for decoded, _ in batch.rows]
        length = base_block(pipeline.policy, horizon=pipeline.labels.horizon)
        summary = Summary(
            pipeline=pipeline.name,
            partition=partition,
            sequence=before.sequence,
            predictions=Span(start=before.ends[0], end=ends[0]),
            outcomes=Span(start=before.ends[1], end=ends[1]),
            ordinal=before.ordinal,
            rows=len(batch.rows),
            watermark=after.watermark,
            idle=after.idle,
            repeats=sum(each.repeats for each in batch.advanced),
            duplicate_labels=sum(each.duplicate_labels for each in batch.advanced),
            stale_labels=sum(each.stale_labels for each in batch.advanced),
            unmatched_labels=batch.unmatched,
            lost=batch.lost,
            row_blocks=tuple(_row_blocks(pipeline, before.ordinal, batch)),
            scored=tuple(sums.scored(heads, histogram=pipeline.task != "regression")),
            answered=tuple(sums.answered(heads)),
            time_blocks=tuple(sums.time_blocks(batch.outcomes, length, classes=len(pipeline.classes))),
            taken=added(batch.taken),
        )
        return summary, after


def _sort(batch: _Batch, decoded: Decoded, payload: bytes) -> None:
    match decoded.value:
        case Prediction():
            batch.rows.append((decoded, payload))
        case Outcome():
            batch.outcomes.append(decoded.value)
        case JoinAdvanced():
            batch.advanced.append(decoded.value)
        case RecordsTaken():
            batch.taken.append(decoded.value)
        case LabelUnmatched():
            batch.unmatched += 1
        case PredictionsLost():
            batch.lost += decoded.value.count
        case other:
            raise Invalid(f"a {type(other).__name__} does not belong here", reason="unexpected")


def _row_blocks(pipeline: Pipeline, ordinal: int, batch: _Batch) -> Iterator[RowBlock]:
    """Row blocks of runs of one layout each: a change of the features falls between two rows."""
    for _, run in itertools.groupby(batch.rows, key=lambda row: row[0].rows.layout if row[0].rows else ""):
        rows = list(run)
        codec: RowCodec[Prediction] | None = rows[0][0].rows
        if codec is None:
            raise TypeError("a prediction is a row")
        served = sums.Served(
            layout=codec.layout,
            categories=_categories(pipeline, codec),
            heads=[decoded.value for decoded, _ in rows],
            matrix=codec.matrix([payload for _, payload in rows]),
        )
        yield from sums.row_blocks(ordinal, served)
        ordinal += len(rows)


def _categories(pipeline: Pipeline, codec: RowCodec[Prediction]) -> frozenset[int]:
    kinds = {feature.name: feature.kind for feature in pipeline.features}
    return frozenset(place for place, name in enumerate(codec.names) if isinstance(kinds.get(name), Category))

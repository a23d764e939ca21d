"""A small world for the monitor's core: rows that were judged, cut into summaries as one likes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from penstock.contracts.records import (
    JudgedScore,
    Origin,
    Outcome,
    OutcomeKind,
    Purpose,
    Role,
    Source,
    Span,
    Summary,
    Verdict,
    VersionRegistered,
    VersionStage,
    VersionStaged,
)
from penstock.ingest.domain.summary import time_blocks
from penstock.kernel.blocks import base_block
from penstock.kernel.pipeline import Pipeline
from penstock.monitor.domain.findings import Evidence
from penstock.monitor.domain.judge import World, judge
from penstock.monitor.domain.state import State
from penstock.monitor.domain.versions import learn

HOUR = 3_600_000
DAY = 24 * HOUR
HORIZON = 12 * HOUR
TOPIC = "penstock.churn.outcomes"
EVEN = math.log(2)
"""What even odds cost."""
CLAIM = {"alarm_mean": 0.0, "alarm_spread": 0.1, "alarm_p0": 0.55, "alarm_units": 100.0}


def pipeline(**policy: object) -> Pipeline:
    return Pipeline.read(
        {
            "pipeline": "churn",
            "task": "binary",
            "events": {"topic": "crm.events", "id": "id", "time": "at"},
            "labels": {"topic": "crm.ends", "id": "id", "time": "at", "value": "churned", "horizon": "12h"},
            "features": {"age": "number", "calls": "number"},
            "lanes": {"everything": {}, "recent": {"window": "56d"}},
            "policy": {
                "alarm": {"average_run_length": 1000, "block": "1h"},
                "compare": {"block": "6h"},
                "watch": "7d",
                **policy,
            },
        }
    )


def registered(
    version: int, lane: str = "everything", *, asked: int | None, **fields: Any
) -> VersionRegistered:
    event = VersionRegistered(
        id=f"registered-{version}",
        pipeline="churn",
        version=version,
        stage=VersionStage.CHAMPION if version == 0 else VersionStage.ARCHIVED,
        candidate=f"candidate-{version}",
        digest="",
        reason="",
        lane="baseline" if version == 0 else lane,
        purpose=Purpose.BASELINE if version == 0 else Purpose.FIRST,
        asked=asked,
        cut=asked,
        decision="",
        verdict=Verdict.PASSED,
        metrics={} if version == 0 else CLAIM,
        causes=(),
    )
    return replace(event, **fields)


def staged(version: int, stage: VersionStage, time: int, *, epoch: int) -> VersionStaged:
    return VersionStaged(
        id=f"staged-{version}-{epoch}",
        pipeline="churn",
        version=version,
        stage=stage,
        event_time=time,
        epoch=epoch,
        decision="",
        reason="",
        causes=(),
    )


def world(
    events: Iterable[VersionRegistered | VersionStaged] = (),
    *,
    of: Pipeline | None = None,
    partitions: int = 1,
) -> World:
    return World(pipeline=of or pipeline(), partitions=partitions, outcomes=TOPIC, lives=learn({}, events))


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row that was judged; without a label its verdict is an expiry."""

    time: int
    losses: Mapping[int, float] = field(default_factory=dict)
    label: float | None = 1.0
    partition: int = 0
    kind: OutcomeKind | None = None
    origin: Origin = Origin.STREAM

    def outcome(self) -> Outcome:
        kind = self.kind or (OutcomeKind.EXPIRED if self.label is None else OutcomeKind.LABELLED)
        return Outcome(
            id="a",
            origin=self.origin,
            kind=kind,
            time=self.time,
            label=self.label,
            label_time=None,
            epoch=1,
            version=0,
            role=Role.CHAMPION,
            scores=tuple(
                JudgedScore(version=version, values=(0.5,), loss=None if self.label is None else loss)
                for version, loss in self.losses.items()
            ),
        )


def summary(
    rows: Sequence[Row],
    *,
    of: Pipeline,
    sequence: int = 0,
    partition: int = 0,
    watermark: int | None = None,
    idle: bool = False,
    **fields: Any,
) -> Summary:
    """What the summariser makes of these rows."""
    length = base_block(of.policy, horizon=of.labels.horizon)
    made = Summary(
        pipeline=of.name,
        partition=partition,
        sequence=sequence,
        predictions=Span(start=100 * sequence, end=100 * sequence + 100),
        outcomes=Span(start=100 * sequence, end=100 * sequence + 100),
        ordinal=0,
        rows=0,
        watermark=watermark,
        idle=idle,
        repeats=0,
        duplicate_labels=0,
        stale_labels=0,
        unmatched_labels=0,
        lost=0,
        row_blocks=(),
        scored=(),
        answered=(),
        time_blocks=tuple(time_blocks([row.outcome() for row in rows], length, classes=len(of.classes))),
        taken=(),
    )
    return replace(made, **fields)


def summaries(rows: Sequence[Row], cuts: Sequence[int], *, of: Pipeline) -> Iterator[Summary]:
    """The rows of one partition in transactions that end at these cuts and at the end.

    Verdicts come as late as may be: when the watermark has reached a row's time and the horizon. The last
    transaction finds that everything was read.
    """
    edges = [0, *cuts, len(rows)]
    for sequence, (start, end) in enumerate(pairwise(edges)):
        watermark = rows[end - 1].time + of.labels.horizon if end else None
        yield summary(
            rows[start:end],
            of=of,
            sequence=sequence,
            partition=rows[0].partition,
            watermark=watermark,
        )


def told(given: Iterable[Summary], known: World, state: State | None = None) -> tuple[State, list[Evidence]]:
    """What comes of summaries in this order."""
    state, evidence = state or State(), []
    for offset, each in enumerate(given):
        state, new = judge(state, each, Source(topic="penstock.summaries", partition=0, offset=offset), known)
        evidence += new
    return state, evidence


def hourly(
    hours: int,
    losses: Mapping[int, float],
    *,
    rate: float = 0.5,
    rows: int = 12,
    start: int = 0,
    seed: int = 7,
    noise: float = 0.05,
    partitions: int = 1,
) -> list[Row]:
    """Rows with losses around these, so many an hour; with half of the labels 1, an excess is loss - ln 2."""
    rng = np.random.default_rng(seed)
    return [
        Row(
            time=start + hour * HOUR + place * (HOUR // rows),
            losses={version: float(loss + rng.normal(0, noise)) for version, loss in losses.items()},
            label=float(place < rate * rows),
            partition=(hour * rows + place) % partitions,
        )
        for hour in range(hours)
        for place in range(rows)
    ]

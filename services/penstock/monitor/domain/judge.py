"""`judge`: what a summary adds to what is known of a pipeline, and the evidence that this completes.

What is said follows from event time and content alone. Blocks are taken in the order of their ends, once all
partitions have passed an end by the horizon; at each end, in this order:

    1. the base block that ends there goes into the open units
    2. the day is closed: quality
    3. the alarm unit is closed: performance
    4. the compare unit is closed: lanes and versions
    5. where one was closed, everything found since the last time is told; after 3, then the heartbeat

Holes and the drift of features have no event time of their own and are told the next time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from penstock.contracts.records import Heartbeat, HoleFound, Range, Source, Summary
from penstock.kernel.blocks import sealed
from penstock.kernel.chain import derived_id
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.units import EvidenceUnit
from penstock.monitor.domain.block import Block, parts
from penstock.monitor.domain.comparisons import compared
from penstock.monitor.domain.features import Reference, drifted
from penstock.monitor.domain.findings import Evidence, Finding, told
from penstock.monitor.domain.performance import watched
from penstock.monitor.domain.quality import measured
from penstock.monitor.domain.sealing import Progress, complete, taken
from penstock.monitor.domain.state import State
from penstock.monitor.domain.units import DAILY, DAY, Opened, grown, in_force
from penstock.monitor.domain.versions import Calendar, Counting, Life


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is known of a pipeline beside its summaries.

    Args:
        pipeline: as applied.
        partitions: of its topics.
        outcomes: full name of the topic of its outcomes.
        lives: of its versions, from the lifecycle.
        references: of its versions, from the models; none of a version without a profile.
    """

    pipeline: Pipeline
    partitions: int
    outcomes: str
    lives: Mapping[int, Life]
    references: Mapping[int, Reference] = field(default_factory=dict)

    @property
    def calendar(self) -> Calendar:
        return Calendar(lives=self.lives, horizon=self.pipeline.labels.horizon)


def judge(state: State, summary: Summary, place: Source, world: World) -> tuple[State, list[Evidence]]:
    """What a summary adds.

    Args:
        state: of the summary's pipeline; nothing of it is changed.
        summary: each comes once, in the order of its partition, as far as nobody lost or repeated one.
        place: where it is written.
        world: what else is known.
    """
    before = state.partitions.get(summary.partition)
    if hole := _hole(summary, before, place):
        state = replace(state, findings=(*state.findings, hole))
        if before is not None and summary.sequence < before.sequence:
            return state, []  # it came twice: it is in the sums already
    horizon = world.pipeline.labels.horizon
    partitions = {**state.partitions, summary.partition: _progress(summary, before)}
    state = replace(
        state,
        partitions=partitions,
        waiting=taken(state.waiting, parts(summary.time_blocks), horizon=horizon, watermark=state.watermark),
        watermark=complete(partitions, count=world.partitions, horizon=horizon, before=state.watermark),
    )
    session = _Session(state, place, world)
    session.look_at_features(summary)
    while (end := session.next_end()) is not None:
        session.pass_by(end)
    return session.state, session.evidence


def _hole(summary: Summary, before: Progress | None, place: Source) -> Finding | None:
    """Whether the summary follows the one before it."""
    expected = 0 if before is None else before.sequence
    follows = summary.sequence == expected and (
        before is None
        or (summary.predictions.start, summary.outcomes.start) == (before.predictions, before.outcomes)
    )
    if follows:
        return None
    return Finding(
        kind=HoleFound.__name__,
        about=str(summary.partition),
        fields={"partition": summary.partition, "expected": expected, "found": summary.sequence},
        cause=place,
    )


def _progress(summary: Summary, before: Progress | None) -> Progress:
    return Progress(
        sequence=summary.sequence + 1,
        predictions=summary.predictions.end,
        outcomes=summary.outcomes.end,
        begun=summary.outcomes.start if before is None else before.begun,
        watermark=summary.watermark,
        idle=summary.idle,
    )


class _Session:
    """One summary's way through the blocks that it seals."""

    def __init__(self, state: State, place: Source, world: World) -> None:
        self.state = state
        self.evidence: list[Evidence] = []
        self._place = place
        self._world = world
        self._calendar = world.calendar
        self._policy = world.pipeline.policy

    def look_at_features(self, summary: Summary) -> None:
        """Against the profile of the last sealed block's champion: that is known whenever this comes."""
        sealed_until = self.state.sealed
        champion = None if sealed_until is None else self._calendar.champions(sealed_until)[0]
        drift, findings = drifted(
            *(self.state.drift, summary.row_blocks, summary.partition, self._world.pipeline),
            version=champion,
            reference=None if champion is None else self._world.references.get(champion),
            cause=self._place,
        )
        self.state = replace(self.state, drift=drift)
        self._find(findings)

    def next_end(self) -> int | None:
        """The next end of a block that all partitions have passed by the horizon."""
        state = self.state
        ends = [
            opened.due
            for opened in (state.day, state.alarm, state.compare)
            if opened is not None and opened.due is not None
        ]
        ends += [state.waiting[0].end] if state.waiting else []
        if not ends or not sealed(min(ends), 0, horizon=self._calendar.horizon, watermark=state.watermark):
            return None
        return min(ends)

    def pass_by(self, end: int) -> None:
        """Do what is due at an end of a block."""
        while self.state.waiting and self.state.waiting[0].end == end:
            self._grow(self.state.waiting[0])  # 1.
        day = self._closed("day", end)
        if day:  # 2.
            self._find(measured(day, self._counting(day), self._place))
        alarm = self._closed("alarm", end)
        if alarm:  # 3.
            guards, findings = watched(
                self.state.guards, alarm, self._counting(alarm), self._world.pipeline, self._place
            )
            self.state = replace(self.state, guards=guards)
            self._find(findings)
        compare = self._closed("compare", end)
        if compare:  # 4.
            contests, findings = compared(
                *(self.state.contests, compare, self._counting(compare), self._calendar),
                policy=self._policy.compare,
                cause=self._place,
            )
            self.state = replace(self.state, contests=contests)
            self._find(findings)
        if day or alarm or compare:  # 5.
            self._tell(end)
        if alarm:
            self._beat(end)

    def _grow(self, block: Block) -> None:
        state, alarm = self.state, self._in_force(self._policy.alarm.block, block)
        day = alarm if alarm.of == "time" and alarm.size > DAY else DAILY
        self.state = replace(
            state,
            waiting=state.waiting[1:],
            begun=block.start if state.begun is None else state.begun,
            rows=state.rows + block.rows,
            day=grown(state.day, block, day),
            alarm=grown(state.alarm, block, alarm),
            compare=grown(state.compare, block, self._in_force(self._policy.compare.block, block)),
        )

    def _in_force(self, unit: EvidenceUnit, block: Block) -> EvidenceUnit:
        length = block.end - block.start
        before = -(-self._policy.first_training // (100 * length)) * length
        return in_force(unit, self._calendar, block.start, before=before)

    def _closed(self, name: Literal["day", "alarm", "compare"], end: int) -> Block | None:
        """The open unit of this name, if it is complete; it is open no more."""
        opened: Opened | None = getattr(self.state, name)
        if opened is None or not opened.closes(end):
            return None
        closed: dict[str, Any] = {name: None}
        self.state = replace(self.state, **closed)
        return opened.block

    def _counting(self, block: Block) -> dict[int, Counting]:
        return self._calendar.counting(block.start, block.end)

    def _find(self, findings: Iterable[Finding]) -> None:
        self.state = replace(self.state, findings=(*self.state.findings, *findings))

    def _tell(self, end: int) -> None:
        state, time = self.state, end + self._calendar.horizon
        self.evidence += told(
            state.findings, pipeline=self._world.pipeline.name, time=time, ordinal=state.ordinal
        )
        self.state = replace(state, findings=(), ordinal=state.ordinal + len(state.findings))

    def _beat(self, end: int) -> None:
        state, name, time = self.state, self._world.pipeline.name, end + self._calendar.horizon
        heartbeat = Heartbeat(
            id=derived_id(name, Heartbeat.__name__, "", time, state.ordinal),
            pipeline=name,
            ordinal=state.ordinal,
            time=time,
            causes=(self._place,),
            begun=end if state.begun is None else state.begun,
            sealed=end,
            rows=state.rows,
            epoch=self._calendar.epoch,
            ranges=tuple(
                Range(topic=self._world.outcomes, partition=partition, start=each.begun, end=each.outcomes)
                for partition, each in sorted(state.partitions.items())
            ),
        )
        self.evidence.append(heartbeat)
        self.state = replace(state, ordinal=state.ordinal + 1, sealed=end)

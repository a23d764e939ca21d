"""Is each version still as good as it was accepted? An e-detector per trained version that was ever judged.

What the detector is fed, and what it is held to, is `kernel.accepted`. After an alarm it starts again at
nothing; alarms with less than the watch period between them are one episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from penstock.contracts.records import PerformanceDegraded, PerformanceRecovered, Source
from penstock.kernel.accepted import NO_LABELS, ROWS, Accepted, LabelSums, hindsight
from penstock.kernel.edetector import FRACTIONS, EDetector
from penstock.kernel.pipeline import Pipeline
from penstock.monitor.domain.block import Block, Judged
from penstock.monitor.domain.findings import Finding
from penstock.monitor.domain.versions import Counting


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What a version did since some time."""

    start: int
    blocks: int = 0
    labels: LabelSums = NO_LABELS
    loss: float = 0.0

    @property
    def rows(self) -> int:
        return self.labels.rows

    def plus(self, judged: Judged, *, blocks: int = 1) -> Stretch:
        return Stretch(
            start=self.start,
            blocks=self.blocks + blocks,
            labels=self.labels.plus(judged.labels),
            loss=self.loss + judged.loss,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The detector of one version.

    Args:
        since: event time from which on the version has counted; one that comes back gets another guard.
        detector: what it says.
        gathered: blocks with too few rows so far to be a unit.
        ahead: per bet of the detector, what happened since its best game began; None where none is ahead.
        alarmed: event time of the last alarm of the episode; None where there is none.
    """

    since: int
    detector: EDetector
    gathered: Stretch | None = None
    ahead: tuple[Stretch | None, ...] = (None,) * len(FRACTIONS)
    alarmed: int | None = None


Guards = Mapping[int, Guard]


def watched(
    guards: Guards, block: Block, counting: Mapping[int, Counting], pipeline: Pipeline, cause: Source
) -> tuple[dict[int, Guard], list[Finding]]:
    """The guards after one more alarm block. A version that no longer counts is no longer guarded."""
    after: dict[int, Guard] = {}
    findings: list[Finding] = []
    for version, each in counting.items():
        claim = each.life.claim
        if claim is None:
            continue
        guard = guards.get(version)
        if guard is None or guard.since != each.since:
            detector = EDetector.start(p0=claim.p0, arl=pipeline.policy.alarm.average_run_length)
            guard = Guard(since=each.since, detector=detector)
        about: dict[str, int | str] = {"version": version, "lane": each.life.lane}
        guard = _gathered(guard, block, block.judged(version))
        unit = guard.gathered
        if unit is not None and unit.rows >= ROWS:
            guard = _fed(guard, unit, claim, pipeline)
            if guard.detector.alarmed:
                if guard.alarmed is None:
                    findings.append(_degraded(guard, about, claim, pipeline, cause, unit=unit))
                fresh = EDetector.start(p0=guard.detector.p0, arl=guard.detector.arl)
                guard = Guard(since=guard.since, detector=fresh, alarmed=block.end)
        if guard.alarmed is not None and block.end >= guard.alarmed + pipeline.policy.watch:
            findings.append(
                Finding(
                    kind=PerformanceRecovered.__name__,
                    about=str(version),
                    fields={**about, "statistic": guard.detector.statistic},
                    cause=cause,
                )
            )
            guard = replace(guard, alarmed=None)
        after[version] = guard
    return after, findings


def _gathered(guard: Guard, block: Block, judged: Judged) -> Guard:
    if not judged.rows:
        return guard
    gathered = (guard.gathered or Stretch(start=block.start)).plus(judged)
    return _but(guard, guard.detector, gathered=gathered, ahead=guard.ahead)


def _fed(guard: Guard, unit: Stretch, claim: Accepted, pipeline: Pipeline) -> Guard:
    """The guard with one more unit of evidence."""
    constant = hindsight(pipeline.policy.objective, unit.labels)
    detector = guard.detector.update(claim.x(unit.loss / unit.rows - constant))
    seen = Judged(labels=unit.labels, loss=unit.loss)
    ahead = tuple(
        (before or Stretch(start=unit.start)).plus(seen, blocks=unit.blocks) if gain else None
        for before, gain in zip(guard.ahead, detector.gains, strict=True)
    )
    return _but(guard, detector, gathered=None, ahead=ahead)


def _but(
    guard: Guard, detector: EDetector, *, gathered: Stretch | None, ahead: tuple[Stretch | None, ...]
) -> Guard:
    """The guard with these; made for every version and block, where `replace` would be most of the work."""
    return Guard(since=guard.since, detector=detector, gathered=gathered, ahead=ahead, alarmed=guard.alarmed)


def _degraded(
    guard: Guard,
    about: Mapping[str, int | str],
    claim: Accepted,
    pipeline: Pipeline,
    cause: Source,
    *,
    unit: Stretch,
) -> Finding:
    """The first alarm of an episode, with what happened since the change most likely began.

    The sum of many games may reach a short run length while none of them is ahead; then it is a false alarm
    that began with its own unit.
    """
    detector = guard.detector
    best = max(range(len(detector.gains)), key=detector.gains.__getitem__)
    since = guard.ahead[best] or unit
    constant = hindsight(pipeline.policy.objective, since.labels)
    return Finding(
        kind=PerformanceDegraded.__name__,
        about=str(about["version"]),
        fields={
            **about,
            "statistic": detector.statistic,
            "threshold": detector.arl,
            "onset": since.start,
            "blocks": since.blocks,
            "loss": since.loss / since.rows,
            # What was accepted is an excess; with the labels of these rows it is a loss again.
            "accepted": claim.mean + constant,
        },
        cause=cause,
    )

"""The present state of a pipeline, folded from its evidence."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from penstock.cli.times import day_of, iso
from penstock.contracts import records as r

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.cli.controllog import ControlLog

LATELY: Final = 7
"""Stretches of quality, usually event days, that "lately" means."""
_LARGEST: Final = 700.0

Compared = r.LanesCompared | r.VersionsCompared


@dataclass(slots=True)
class Seen:
    """What the monitor has said of a pipeline, as it is now.

    Args:
        pipeline: its name.
        stages: of its versions, now.
        beat: the last heartbeat.
        alarms: performance episodes that are open.
        warnings: of features that have not come back.
        holes: in the summaries, ever.
    """

    pipeline: str
    stages: Mapping[int, str]
    beat: r.Heartbeat | None = None
    open: dict[int, r.PerformanceDegraded] = field(default_factory=dict)
    moved: dict[tuple[int, str, str], r.DriftWarned] = field(default_factory=dict)
    holes: list[r.HoleFound] = field(default_factory=list)
    _quality: dict[int, deque[r.QualityMeasured]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=LATELY))
    )
    _lanes: dict[str, r.LanesCompared] = field(default_factory=dict)
    _versions: dict[int, r.VersionsCompared] = field(default_factory=dict)

    def take(self, evidence: object) -> None:
        """The state after a piece of evidence."""
        match evidence:
            case r.Heartbeat():
                self.beat = evidence
            case r.PerformanceDegraded(version=version):
                self.open[version] = evidence
            case r.PerformanceRecovered(version=version):
                self.open.pop(version, None)
            case r.DriftWarned(version=version, feature=feature, statistic=statistic):
                self.moved[version, feature, statistic] = evidence
            case r.DriftCleared(version=version, feature=feature, statistic=statistic):
                self.moved.pop((version, feature, statistic), None)
            case r.HoleFound():
                self.holes.append(evidence)
            case _:
                self._measured(evidence)

    def _measured(self, evidence: object) -> None:
        match evidence:
            case r.QualityMeasured(version=version):
                self._quality[version].append(evidence)
            case r.LanesCompared(lane=lane):
                self._lanes[lane] = evidence
            case r.VersionsCompared(version=version):
                self._versions[version] = evidence
            case _:
                pass

    @property
    def champion(self) -> int | None:
        return next((version for version, stage in self.stages.items() if stage == "champion"), None)

    @property
    def alarms(self) -> list[r.PerformanceDegraded]:
        """Open ones of versions that still score."""
        return [alarm for version, alarm in sorted(self.open.items()) if self._scores(version)]

    @property
    def warnings(self) -> list[r.DriftWarned]:
        """By the champion's profile; by those of all where it has none."""
        open_now = [warned for _, warned in sorted(self.moved.items()) if self._scores(warned.version)]
        return [warned for warned in open_now if warned.version == self.champion] or open_now

    def headline(self) -> str:
        """How far the pipeline is judged."""
        beat = self.beat
        if beat is None:
            return f"{self.pipeline}: no time block is sealed yet"
        day = day_of(beat.sealed, beat.begun)
        return (
            f"{self.pipeline}: judged until {iso(beat.sealed)} (day {day}), known by {iso(beat.time)};"
            f" {beat.rows:,} rows with a label"
        )

    def quality(self) -> list[dict[str, Any]]:
        """How good each version that scores was in its last stretches, the newest version first."""
        rows = []
        for version, measured in sorted(self._quality.items(), reverse=True):
            labelled = sum(each.rows for each in measured)
            if not self._scores(version) or not labelled:
                continue
            rows.append(
                {
                    "version": version,
                    "lane": measured[-1].lane,
                    "stage": self.stages.get(version),
                    "from": iso(measured[0].start),
                    "until": iso(measured[-1].end),
                    "rows": labelled,
                    "unlabelled": sum(each.unlabelled for each in measured),
                    "loss": sum(each.loss * each.rows for each in measured) / labelled,
                    "label": sum(each.labels * each.rows for each in measured) / labelled,
                }
            )
        return rows

    def comparisons(self, what: Literal["lane", "version"]) -> list[dict[str, Any]]:
        """The comparisons with the champion of now."""
        found: list[Compared] = (
            [each for _, each in sorted(self._lanes.items())]
            if what == "lane"
            else [each for _, each in sorted(self._versions.items())]
        )
        return [
            {
                "lane": each.lane,
                "version": each.version,
                "against": each.against,
                "since": iso(each.since),
                "blocks": each.blocks,
                "rows": each.rows,
                "mean": each.mean,
                "average": each.ewma,
                "e better": _e_value(each.better),
                "e worse": _e_value(each.worse),
            }
            for each in found
            if each.against == self.champion and self._scores(each.version)
        ]

    def told(self) -> dict[str, Any]:
        """For programs."""
        beat = self.beat
        return {
            "pipeline": self.pipeline,
            "champion": self.champion,
            "judged_until": None if beat is None else iso(beat.sealed),
            "known_by": None if beat is None else iso(beat.time),
            "rows": 0 if beat is None else beat.rows,
            "quality": self.quality(),
            "lanes": self.comparisons("lane"),
            "versions": self.comparisons("version"),
            "alarms": [dataclasses.asdict(each) for each in self.alarms],
            "warnings": [dataclasses.asdict(each) for each in self.warnings],
            "holes": [dataclasses.asdict(each) for each in self.holes],
        }

    def _scores(self, version: int) -> bool:
        return self.stages.get(version) in {"champion", "canary", "split", "shadow"}


def seen(log: ControlLog, pipeline: str, stages: Mapping[int, str]) -> Seen:
    """A pipeline as its evidence leaves it."""
    now = Seen(pipeline=pipeline, stages=stages)
    for entry in log.evidence():
        if entry.event.pipeline == pipeline:
            now.take(entry.event)
    return now


def _e_value(log: float) -> float:
    return math.exp(log) if log < _LARGEST else math.inf

"""A pipeline governed by hand: facts in, decisions out, without a broker."""

from __future__ import annotations

from typing import Any

from penstock.contracts import records as r
from penstock.contracts.records import Purpose, Source, Stage, Verdict, VersionStage
from penstock.governor.domain import Decision, Fact, Governed, Place, decide
from penstock.kernel.pipeline import Pipeline

HOUR = 3_600_000
DAY = 24 * HOUR
HORIZON = 36 * HOUR
SPEC: dict[str, Any] = {
    "pipeline": "churn",
    "task": "binary",
    "events": {"topic": "crm.events", "id": "event_id", "time": "at"},
    "labels": {"topic": "crm.outcomes", "id": "event_id", "time": "at", "value": "churned", "horizon": "36h"},
    "features": {"age": "number"},
    "lanes": {
        "everything": {"algorithm": "hist_gradient_boosting", "window": "expanding", "every": "14d"},
        "linear": {"algorithm": "logistic_regression", "window": "56d", "every": "14d"},
    },
    "policy": {
        "first_training": "28d",
        "alarm": {"average_run_length": 1000, "block": "1h"},
        "compare": {"block": "6h", "level": 0.05, "margin": 0.005, "half_life": 4000},
        "canary": {"shares": [0.1, 0.5], "each": "2d"},
        "watch": "14d",
        "retrain": {"cool_down": "3d", "at_most": "8 per 28d"},
    },
}


class Loop:
    """One pipeline, and everything that was decided about it."""

    def __init__(self, *, baseline: bool = True, **policy: Any) -> None:
        self.spec = Pipeline.read({**SPEC, "policy": {**SPEC["policy"], **policy}})
        self.governed: Governed | None = None
        self.decisions: list[Decision] = []
        self.journal: list[tuple[r.FactTaken, Fact]] = []
        self.day = 0.0
        self._offset = 0
        self._ordinal = -1
        self._version = -1
        self._apply(self.spec)
        if baseline:
            self.register()

    @property
    def state(self) -> r.GovernorState:
        assert self.governed is not None
        return self.governed.state

    @property
    def stage(self) -> Stage:
        return self.state.stage

    def take(self, fact: Fact) -> list[Decision]:
        """One fact; the decisions it leads to."""
        self._offset += 1
        source = Source(topic="facts", partition=0, offset=self._offset)
        place = Place(cluster="c", topic_id="t", source=source, timestamp=self._offset)
        self.governed, made = decide(self.governed, fact, place)
        self.journal.append(
            (
                r.FactTaken(
                    pipeline="churn",
                    ordinal=self._offset - 1,
                    source=source,
                    cluster="c",
                    topic_id="t",
                    timestamp=self._offset,
                    value=b"",
                ),
                fact,
            )
        )
        self.decisions += made
        return made

    def apply(self, **changes: Any) -> list[Decision]:
        """Another spec."""
        return self._apply(Pipeline.read({**SPEC, **changes}))

    def register(
        self, *, verdict: Verdict = Verdict.PASSED, stage: VersionStage = VersionStage.ARCHIVED
    ) -> list[Decision]:
        """The trainer and the registry answer the pending request."""
        self._version += 1
        pending = None if self.governed is None else self.state.pending
        request = next((each for each in self.decisions if pending and each.id == pending.decision), None)
        asked = isinstance(request, r.RetrainRequested)
        return self.take(
            r.VersionRegistered(
                id=f"v{self._version}",
                pipeline="churn",
                version=self._version,
                stage=stage if asked else VersionStage.CHAMPION,
                candidate=f"c{self._version}",
                digest="",
                reason="",
                lane=request.lane if isinstance(request, r.RetrainRequested) else "baseline",
                purpose=request.purpose if isinstance(request, r.RetrainRequested) else Purpose.BASELINE,
                asked=request.event_time if isinstance(request, r.RetrainRequested) else None,
                cut=request.cut if isinstance(request, r.RetrainRequested) else None,
                decision=pending.decision if pending else "",
                verdict=verdict if asked else Verdict.NONE,
                metrics={},
                causes=(),
            )
        )

    def trained(self) -> None:
        """Every request that is pending is answered."""
        while self.state.pending is not None:
            self.register()

    def beat(self, day: float, *, rows: int | None = None) -> list[Decision]:
        """Time is up to this day."""
        self.day = day
        return self.take(
            r.Heartbeat(
                **self._evidence(),
                begun=0,
                sealed=self.now - HORIZON,
                rows=int(day * 300) if rows is None else rows,
                epoch=self.state.epoch,
                ranges=(),
            )
        )

    def run(self, until: float, *, every: float = 0.25) -> None:
        """Heartbeats up to a day; trainings are answered at once."""
        while self.day < until:
            self.beat(min(until, self.day + every))
            self.trained()

    def degrade(self, version: int, *, onset: float) -> None:
        self.take(
            r.PerformanceDegraded(
                **self._evidence(),
                version=version,
                lane="",
                statistic=2000.0,
                threshold=1000.0,
                onset=int(onset * DAY),
                blocks=40,
                loss=0.7,
                accepted=0.5,
            )
        )

    def recover(self, version: int) -> None:
        self.take(r.PerformanceRecovered(**self._evidence(), version=version, lane="", statistic=0.5))

    def compare(
        self,
        version: int,
        *,
        better: float = 0.0,
        worse: float = 0.0,
        ewma: float = 0.0,
        lane: str | None = None,
    ) -> None:
        """A version stands so against the champion; a lane, where one is named."""
        champion = self.state.champion
        assert champion is not None
        kind = r.VersionsCompared if lane is None else r.LanesCompared
        self.take(
            kind(
                **self._evidence(),
                version=version,
                lane=lane or "",
                against=champion,
                against_lane="",
                since=0,
                blocks=50,
                rows=4000,
                mean=ewma,
                ewma=ewma,
                bound=0.2,
                clipped=0,
                better=better,
                worse=worse,
            )
        )

    def command(self, kind: type[Any], **fields: Any) -> list[Decision]:
        head = {"id": "cmd", "pipeline": "churn", "time": 0, "operator": "ann", "reason": ""}
        return self.take(kind(**{**head, **fields}))

    def said(self, *, since: int = 0) -> list[str]:
        """The kinds of decisions, with their versions."""
        return [
            f"{type(each).__name__} {version}"
            if (version := getattr(each, "version", None)) is not None
            else type(each).__name__
            for each in self.decisions[since:]
        ]

    @property
    def now(self) -> int:
        return int(self.day * DAY)

    def _apply(self, spec: Pipeline) -> list[Decision]:
        return self.take(
            r.PipelineApplied(
                pipeline=spec.name, spec=spec.canonical().decode(), digest=spec.digest, applied=0
            )
        )

    def _evidence(self) -> dict[str, Any]:
        self._ordinal += 1
        return {
            "id": f"e{self._ordinal}",
            "pipeline": "churn",
            "ordinal": self._ordinal,
            "time": self.now,
            "causes": (),
        }

"""The registry's rules: candidates get numbers, and decisions say which of them answer and score.

The first good candidate, version 0, is routed to at once, since anything is better than no answer: route
epoch 1. A later version is taken in as archived and waits for a decision; a candidate that did not pass its
checks keeps its number, refused. A decision with a route newer than the one in force brings it into force,
and tells of each version whose stage is another one by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from penstock.contracts.records import (
    ApprovalRequested,
    Archived,
    CanaryAdvanced,
    CanaryStarted,
    CandidateTrained,
    LaneChanged,
    ModelRegistered,
    Promoted,
    Rejected,
    RolledBack,
    Route,
    RouteChanged,
    ShadowStarted,
    Source,
    TrafficSplit,
    VersionRegistered,
    VersionStage,
    VersionStaged,
)
from penstock.kernel.chain import derived_id
from penstock.kernel.errors import Invalid

Routing = (
    ShadowStarted
    | CanaryStarted
    | CanaryAdvanced
    | Promoted
    | RolledBack
    | LaneChanged
    | Rejected
    | Archived
    | ApprovalRequested
    | TrafficSplit
)
"""A decision that says who answers and who scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What is registered of one pipeline.

    Args:
        stages: of each version, now.
        candidates: ids of those that were taken in.
        epoch: of the route in force; 0 before the first.
    """

    stages: Mapping[int, VersionStage] = field(default_factory=dict)
    candidates: frozenset[str] = frozenset()
    epoch: int = 0

    def recall(self, event: VersionRegistered | VersionStaged | RouteChanged) -> Versions:
        """The state after an event that was written."""
        match event:
            case VersionRegistered():
                return replace(
                    self,
                    stages={**self.stages, event.version: event.stage},
                    candidates=self.candidates | {event.candidate},
                )
            case VersionStaged():
                return replace(
                    self,
                    stages={**self.stages, event.version: event.stage},
                    epoch=max(self.epoch, event.epoch),
                )
            case RouteChanged():
                return replace(self, epoch=max(self.epoch, event.epoch))


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What taking in a candidate writes; model and route only where it may serve."""

    registered: VersionRegistered
    model: ModelRegistered | None = None
    route: RouteChanged | None = None


def register(
    versions: Versions, candidate: CandidateTrained, source: Source, *, refused: str = ""
) -> Registration | None:
    """Number a candidate; None where it was taken in before.

    Args:
        versions: of its pipeline.
        candidate: what the trainer made.
        source: where it is written.
        refused: why its artifact must not be served; empty where it may.
    """
    if candidate.id in versions.candidates:
        return None
    version = max(versions.stages, default=-1) + 1
    first = versions.epoch == 0
    stage = VersionStage.REFUSED if refused else VersionStage.CHAMPION if first else VersionStage.ARCHIVED
    manifest = candidate.manifest
    registered = VersionRegistered(
        id=derived_id(candidate.id, "registered"),
        pipeline=candidate.pipeline,
        version=version,
        stage=stage,
        candidate=candidate.id,
        digest=manifest.digest,
        reason=refused,
        lane=manifest.lane,
        purpose=manifest.purpose,
        asked=manifest.asked,
        cut=manifest.cut,
        decision=candidate.decision,
        verdict=manifest.verdict,
        metrics=manifest.metrics,
        causes=(source,),
    )
    if refused:
        return Registration(registered=registered)
    model = ModelRegistered(
        pipeline=candidate.pipeline,
        version=version,
        candidate=candidate.id,
        manifest=manifest,
        causes=(source,),
    )
    if not first:
        return Registration(registered=registered, model=model)
    route = Route(epoch=1, champion=version, canary=None, share=0.0, salt="", shadows=())
    return Registration(
        registered=registered,
        model=model,
        route=_changed(candidate.pipeline, route, decision="", source=source),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerouting:
    """What a routing decision writes: the route, and each version whose stage is another one now."""

    route: RouteChanged
    staged: tuple[VersionStaged, ...]


def reroute(versions: Versions, decision: Routing, source: Source) -> Rerouting | None:
    """Bring a decision's route into force; None where it is not newer than the one that is.

    Args:
        versions: of its pipeline.
        decision: what the governor decided.
        source: where it is written.

    Raises:
        Invalid: it routes to a version that is not there, or was refused.
    """
    route = decision.route
    if route.epoch <= versions.epoch:
        return None
    stages = _stages(route)
    for version in sorted(stages):
        if versions.stages.get(version, VersionStage.REFUSED) is VersionStage.REFUSED:
            why = "refused" if version in versions.stages else "unknown"
            raise Invalid(
                f"route epoch {route.epoch} of {decision.pipeline!r} names the {why} version {version}",
                reason="unroutable",
                field="route",
            )
    after = {
        version: stages.get(version, VersionStage.ARCHIVED)
        for version, before in versions.stages.items()
        if before is not VersionStage.REFUSED
    }
    return Rerouting(
        route=_changed(decision.pipeline, route, decision=decision.id, source=source),
        staged=tuple(
            VersionStaged(
                id=derived_id(decision.id, "staged", version),
                pipeline=decision.pipeline,
                version=version,
                stage=stage,
                event_time=decision.event_time,
                epoch=route.epoch,
                decision=decision.id,
                reason=decision.reason,
                causes=(source,),
            )
            for version, stage in sorted(after.items())
            if stage is not versions.stages[version]
        ),
    )


def _stages(route: Route) -> dict[int, VersionStage]:
    """Of each version that the route names.

    >>> route = Route(epoch=3, champion=1, canary=2, share=0.1, salt="s", shadows=(0, 2))
    >>> {version: stage.value for version, stage in _stages(route).items()}
    {0: 'SHADOW', 2: 'CANARY', 1: 'CHAMPION'}
    """
    stages = dict.fromkeys(route.shadows, VersionStage.SHADOW)
    if route.split is not None:
        stages[route.split] = VersionStage.SPLIT
    # One that is under test beside it is told of as that.
    if route.canary is not None:
        stages[route.canary] = VersionStage.CANARY
    return {**stages, route.champion: VersionStage.CHAMPION}


def _changed(pipeline: str, route: Route, *, decision: str, source: Source) -> RouteChanged:
    return RouteChanged(
        pipeline=pipeline,
        epoch=route.epoch,
        champion=route.champion,
        canary=route.canary,
        share=route.share,
        salt=route.salt,
        shadows=route.shadows,
        split=route.split,
        split_share=route.split_share,
        split_salt=route.split_salt,
        decision=decision,
        causes=(source,),
    )

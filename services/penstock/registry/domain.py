"""The registry's rules: candidates get numbers, and the first good one becomes the champion.

Version 0 is routed to at once, since anything is better than no answer: route epoch 1. A later version is
taken in as archived and waits for a decision. A candidate that did not pass its checks keeps its number,
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from penstock.contracts.records import (
    CandidateTrained,
    ModelRegistered,
    RouteChanged,
    Source,
    VersionRegistered,
    VersionStage,
)
from penstock.kernel.chain import derived_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What is registered of one pipeline: the stage of each version, and the candidates they came from."""

    stages: Mapping[int, VersionStage] = field(default_factory=dict)
    candidates: frozenset[str] = frozenset()

    def recall(self, event: VersionRegistered) -> Versions:
        """The state after an event of the lifecycle."""
        return replace(
            self,
            stages={**self.stages, event.version: event.stage},
            candidates=self.candidates | {event.candidate},
        )


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
    first = VersionStage.CHAMPION not in versions.stages.values()
    stage = VersionStage.REFUSED if refused else VersionStage.CHAMPION if first else VersionStage.ARCHIVED
    registered = VersionRegistered(
        id=derived_id(candidate.id, "registered"),
        pipeline=candidate.pipeline,
        version=version,
        stage=stage,
        candidate=candidate.id,
        digest=candidate.manifest.digest,
        reason=refused,
        causes=(source,),
    )
    if refused:
        return Registration(registered=registered)
    model = ModelRegistered(
        pipeline=candidate.pipeline,
        version=version,
        candidate=candidate.id,
        manifest=candidate.manifest,
        causes=(source,),
    )
    if not first:
        return Registration(registered=registered, model=model)
    route = RouteChanged(
        pipeline=candidate.pipeline,
        epoch=1,
        champion=version,
        canary=None,
        share=0.0,
        salt="",
        shadows=(),
        causes=(source,),
    )
    return Registration(registered=registered, model=model, route=route)

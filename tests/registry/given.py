"""What trainer and registry write, with something ordinary in every field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.contracts.records import (
    CandidateTrained,
    Manifest,
    Purpose,
    RouteChanged,
    Verdict,
    VersionRegistered,
    VersionStage,
)

_MANIFEST = Manifest(
    digest="ab" * 32,
    size=123,
    features=("age", "plan"),
    layout="00ff",
    scores=1,
    lane="baseline",
    ranges=(),
    golden=(),
    libraries={},
    parent=None,
    purpose=Purpose.BASELINE,
    algorithm="constant",
    asked=None,
    since=None,
    cut=None,
    rows=0,
    content="",
    seed=0,
    verdict=Verdict.NONE,
    metrics={},
    profile=None,
)


def manifest(**changes: Any) -> Manifest:
    """Version 0's, but for the changes."""
    return replace(_MANIFEST, **changes)


def candidate(number: int, *, pipeline: str = "churn", **changes: Any) -> CandidateTrained:
    """The candidate of that number; `changes` are the manifest's."""
    return CandidateTrained(
        id=f"candidate-{number}",
        pipeline=pipeline,
        decision=f"decision-{number}",
        causes=(),
        manifest=manifest(**changes),
    )


def registered(
    version: int, stage: VersionStage = VersionStage.ARCHIVED, *, reason: str = "", **changes: Any
) -> VersionRegistered:
    """That version as the registry took it in."""
    event = VersionRegistered(
        id=f"v{version}",
        pipeline="churn",
        version=version,
        stage=stage,
        candidate=f"candidate-{version}",
        digest="ab" * 32,
        reason=reason,
        lane="baseline",
        purpose=Purpose.BASELINE,
        asked=None,
        cut=None,
        decision=f"decision-{version}",
        verdict=Verdict.NONE,
        metrics={},
        causes=(),
    )
    return replace(event, **changes)


def route(champion: int = 0, **changes: Any) -> RouteChanged:
    """That version answers, alone."""
    event = RouteChanged(
        pipeline="churn",
        epoch=1,
        champion=champion,
        canary=None,
        share=0.0,
        salt="",
        shadows=(),
        decision="",
        causes=(),
    )
    return replace(event, **changes)

"""What a manifest says of a version, and a candidate with the end of the job that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from penstock.contracts.records import (
    CandidateTrained,
    Golden,
    JobCompleted,
    JobFailed,
    Manifest,
    Profile,
    RetrainRequested,
    Source,
    Verdict,
)
from penstock.kernel.chain import derived_id
from penstock.kernel.pipeline import Pipeline
from penstock.trainer.domain import ended
from penstock.trainer.request import Failed, Result


def trained(
    pipeline: Pipeline,
    decision: RetrainRequested,
    source: Source,
    result: Result,
    *,
    digest: str,
    content: str,
    libraries: Mapping[str, str],
) -> tuple[CandidateTrained, JobCompleted]:
    """The candidate that a job made, and the end of the job.

    Args:
        pipeline: that the decision holds.
        decision: that asked.
        source: where it is written.
        result: of the job.
        digest: of the artifact.
        content: of the rows it learned from.
        libraries: that made it, with their versions.
    """
    manifest = Manifest(
        digest=digest,
        size=len(result.artifact),
        features=pipeline.feature_names,
        layout=pipeline.features_digest,
        scores=pipeline.outputs,
        lane=decision.lane,
        ranges=decision.ranges,
        golden=tuple(Golden(features=each.features, scores=each.scores) for each in result.golden),
        libraries=dict(libraries),
        parent=decision.champion,
        purpose=decision.purpose,
        algorithm=result.made,
        asked=decision.event_time,
        since=decision.since,
        cut=decision.cut,
        rows=result.rows,
        content=content,
        seed=decision.seed,
        verdict=Verdict(result.judgement.verdict.upper()),
        metrics=dict(result.metrics),
        profile=_profile(result),
    )
    return ended(decision, source, manifest)


def _profile(result: Result) -> Profile:
    numbers = asdict(result.profile)
    del numbers["blocks"]  # a spread of 0 says it: there were too few
    return Profile(**numbers)


def came_to_nothing(decision: RetrainRequested, source: Source, why: Failed) -> JobFailed:
    """The end of a job without a model."""
    return JobFailed(
        id=derived_id(decision.id, "job"),
        pipeline=decision.pipeline,
        decision=decision.id,
        reason=f"{why.reason}: {why.message}",
        causes=(source,),
    )

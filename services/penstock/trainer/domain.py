"""What the trainer knows before there is a label, and what a manifest says of what it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.contracts.records import (
    BaselineRequested,
    CandidateTrained,
    Golden,
    JobCompleted,
    Manifest,
    Purpose,
    RetrainRequested,
    Source,
    Verdict,
)
from penstock.kernel.chain import derived_id
from penstock.kernel.pipeline import Pipeline

BASELINE = "baseline"
"""The lane of version 0."""


def prior(pipeline: Pipeline) -> tuple[float, ...]:
    """The scores of a model that has seen nothing: every outcome as likely as any other; 0 for a regression.

    Source: Laplace's principle of insufficient reason, Théorie analytique des probabilités (1812).

    >>> from penstock.kernel.pipeline import Pipeline
    >>> end = {"topic": "ends", "id": "id", "time": "at", "value": "left", "horizon": "1d"}
    >>> prior(Pipeline.read({
    ...     "pipeline": "churn", "task": "binary", "features": {"age": "number"},
    ...     "events": {"topic": "begins", "id": "id", "time": "at"}, "labels": end,
    ... }))
    (0.5,)
    """
    match pipeline.task:
        case "binary":
            return (0.5,)
        case "multiclass":
            return tuple(1.0 / len(pipeline.classes) for _ in pipeline.classes)
        case "regression":
            return (0.0,)


def golden_inputs(features: int) -> list[tuple[float, ...]]:
    """Inputs whose answers are written down: nothing there, zeros, and a row that tells the columns apart."""
    missing = float("nan")
    return [(missing,) * features, (0.0,) * features, tuple(float(place + 1) for place in range(features))]


def baseline(
    pipeline: Pipeline,
    decision: BaselineRequested,
    source: Source,
    *,
    digest: str,
    size: int,
    golden: Sequence[Golden],
    libraries: Mapping[str, str],
) -> tuple[CandidateTrained, JobCompleted]:
    """The candidate for version 0, and the end of the job that made it."""
    manifest = Manifest(
        digest=digest,
        size=size,
        features=pipeline.feature_names,
        layout=pipeline.features_digest,
        scores=pipeline.outputs,
        lane=BASELINE,
        ranges=(),
        golden=tuple(golden),
        libraries=dict(libraries),
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
    return ended(decision, source, manifest)


def ended(
    decision: BaselineRequested | RetrainRequested, source: Source, manifest: Manifest
) -> tuple[CandidateTrained, JobCompleted]:
    """The candidate that a job made, and the end of the job."""
    candidate = CandidateTrained(
        id=derived_id(decision.id, "candidate"),
        pipeline=decision.pipeline,
        decision=decision.id,
        causes=(source,),
        manifest=manifest,
    )
    job = JobCompleted(
        id=derived_id(decision.id, "job"),
        pipeline=decision.pipeline,
        decision=decision.id,
        candidate=candidate.id,
        causes=(source,),
    )
    return candidate, job

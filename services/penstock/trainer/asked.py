"""A decision and its rows, as the job that the worker is given."""

from __future__ import annotations

from penstock.contracts.records import RetrainRequested
from penstock.kernel.kinds import Category
from penstock.kernel.pipeline import Pipeline
from penstock.kernel.policy import Algorithm
from penstock.trainer.outcomes import Rows
from penstock.trainer.request import Request


def request(pipeline: Pipeline, decision: RetrainRequested, rows: Rows, champion: bytes | None) -> Request:
    """The job that a decision asks for.

    Args:
        pipeline: that the decision holds.
        decision: that asks.
        rows: that its ranges hold.
        champion: the artifact it has to stand up to.
    """
    algorithms: dict[str, Algorithm] = {lane.algorithm: lane.algorithm for lane in pipeline.lanes}
    policy = pipeline.policy
    return Request(
        algorithm=algorithms.get(decision.algorithm, "hist_gradient_boosting"),
        task=pipeline.task,
        categories=tuple(
            len(feature.kind.values or ()) if isinstance(feature.kind, Category) else 0
            for feature in pipeline.features
        ),
        outputs=pipeline.outputs,
        objective=policy.objective,
        rows=rows.matrix,
        labels=rows.labels,
        times=rows.times,
        compare=policy.compare.block,
        alarm=policy.alarm.block,
        seed=decision.seed,
        champion=champion,
        champion_cut=decision.champion_cut,
        onset=decision.onset,
    )

"""The governor's rules: `decide(state, fact)` over a table of stages. No I/O, clock or chance.

    (nothing) ──PipelineApplied──► bootstrapping ──VersionRegistered as champion──► steady

A fact that the table has no line for changes no stage. Each decision names its causes, the digest of the
policy it follows and that of the pipeline's decision before it; its id follows from the fact, so a replay of
the same facts gives the same decisions to the byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from penstock.contracts.records import (
    BaselineRequested,
    FactTaken,
    GovernorState,
    JobCompleted,
    PipelineApplied,
    Source,
    Stage,
    VersionRegistered,
    VersionStage,
)
from penstock.kernel.chain import derived_id, digest_of
from penstock.kernel.errors import Invalid
from penstock.kernel.spec import read_spec

Fact = PipelineApplied | VersionRegistered | JobCompleted
Decision = BaselineRequested

TRANSITIONS: Final[dict[Stage | None, dict[type[Fact], Stage]]] = {
    None: {PipelineApplied: Stage.BOOTSTRAPPING},
    Stage.BOOTSTRAPPING: {VersionRegistered: Stage.STEADY},
    Stage.STEADY: {},
}
"""Stage → fact → next stage; the guard of a fact stands in `decide`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a fact stands in the log, so that nothing else in the world has the same name."""

    cluster: str
    topic_id: str
    source: Source
    timestamp: int


def decide(state: GovernorState | None, fact: Fact, place: Place) -> tuple[GovernorState, list[Decision]]:
    """What a fact changes, and what is to be done about it.

    Args:
        state: of the fact's pipeline; None before its first fact.
        fact: what happened.
        place: where it is written.

    Raises:
        Invalid: the fact cannot be: a version of a pipeline that was never applied, a spec that is none.
    """
    stage = None if state is None else state.stage
    follows = TRANSITIONS[stage].get(type(fact))
    match fact:
        case PipelineApplied():
            return _applied(state, fact, place, follows)
        case VersionRegistered():
            state = _counted(state, fact)
            if follows is not None and fact.stage is VersionStage.CHAMPION:
                state = replace(state, stage=follows, champion=fact.version)
            return state, []
        case JobCompleted():
            return _counted(state, fact), []


def _applied(
    state: GovernorState | None, fact: PipelineApplied, place: Place, follows: Stage | None
) -> tuple[GovernorState, list[Decision]]:
    policy = read_spec(fact.pipeline, fact.spec).policy_digest
    if state is not None:
        return replace(_counted(state, fact), spec=fact.digest, policy=policy), []
    request = BaselineRequested(
        id=derived_id(place.cluster, place.topic_id, place.source.partition, place.source.offset, "baseline"),
        pipeline=fact.pipeline,
        time=place.timestamp,
        policy=policy,
        previous="",
        causes=(place.source,),
        spec=fact.spec,
    )
    begun = GovernorState(
        pipeline=fact.pipeline,
        stage=follows or Stage.BOOTSTRAPPING,
        taken=1,
        decided=1,
        previous=digest_of(request),
        spec=fact.digest,
        policy=policy,
        champion=None,
    )
    return begun, [request]


def _counted(state: GovernorState | None, fact: Fact) -> GovernorState:
    if state is None:
        raise Invalid(
            f"a {type(fact).__name__} of {fact.pipeline!r}, which was never applied",
            reason="unknown_pipeline",
        )
    return replace(state, taken=state.taken + 1)


def replay(journal: Iterable[tuple[FactTaken, Fact]]) -> list[Decision]:
    """The decisions that a journal of facts leads to: the same ones as when they were made."""
    states: dict[str, GovernorState] = {}
    decisions: list[Decision] = []
    for taken, fact in journal:
        place = Place(
            cluster=taken.cluster, topic_id=taken.topic_id, source=taken.source, timestamp=taken.timestamp
        )
        states[taken.pipeline], made = decide(states.get(taken.pipeline), fact, place)
        decisions += made
    return decisions

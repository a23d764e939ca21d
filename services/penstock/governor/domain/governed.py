"""A pipeline as the governor sees it: its state, and the spec in force."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from penstock.contracts.records import GovernorState, Known, LaneState, Stage
from penstock.governor.domain.table import Move, follow

if TYPE_CHECKING:
    from penstock.governor.domain.facts import Deferred
    from penstock.kernel.pipeline import Pipeline

ALARM: Final = "alarm"
"""The lane of what is trained after an alarm: temporary, so it is in no spec."""
BASELINE: Final = "baseline"
"""The lane of version 0."""

KEPT: Final = 100
"""Versions that can be promoted by hand: years of them, in a state that stays small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Governed:
    """State and spec, which go together.

    Args:
        state: what is known; its own record, so that it can be written as it is.
        pipeline: the spec that `state.spec` is the digest of.
        text: the same as canonical JSON, which trainings are asked for with.
        deferred: evidence that waits for the end of a training; in the record of the state as `waiting`.
    """

    state: GovernorState
    pipeline: Pipeline
    text: str
    deferred: tuple[Deferred, ...] = ()

    def known(self, version: int) -> Known | None:
        return next((each for each in self.state.versions if each.version == version), None)

    def lane_of(self, version: int | None) -> str:
        """The lane a version was made in; empty where it is not known."""
        known = None if version is None else self.known(version)
        return "" if known is None else known.lane

    def lane(self, name: str) -> LaneState | None:
        return next((each for each in self.state.lanes if each.lane == name), None)

    def with_known(self, known: Known) -> Governed:
        """With what is known of a version replaced, or added; of very many, the newest and those in use."""
        state = self.state
        others = [each for each in state.versions if each.version != known.version]
        versions = sorted([*others, known], key=lambda each: each.version)
        used = {state.champion, state.canary, state.split, *state.shadows}
        recent = versions[-KEPT].version if len(versions) > KEPT else 0
        kept = (each for each in versions if each.version >= recent or each.version in used)
        return self.but(versions=tuple(kept))

    def with_lane(self, lane: LaneState) -> Governed:
        lanes = tuple(lane if each.lane == lane.lane else each for each in self.state.lanes)
        return self.but(lanes=lanes)

    def but(self, **changes: object) -> Governed:
        """With fields of the state replaced."""
        return replace(self, state=replace(self.state, **changes))  # type: ignore[arg-type]

    def moved(self, move: Move) -> Governed:
        """With the stage that the table has for the move; a held pipeline moves on beneath."""
        state = self.state
        if state.stage is Stage.HELD:
            return self.but(resumes=follow(state.resumes, move))
        return self.but(stage=follow(state.stage, move))

    @property
    def stage(self) -> Stage | None:
        """The stage, of a held pipeline the one it goes back to."""
        return self.state.resumes if self.state.stage is Stage.HELD else self.state.stage

    @property
    def at_rest(self) -> bool:
        """No training is under way and no challenger under test."""
        return self.stage in (Stage.STEADY, Stage.WATCHING)

    @property
    def champion_lane(self) -> str:
        return self.lane_of(self.state.champion)


def begun(pipeline: Pipeline, text: str) -> Governed:
    """A pipeline that was just applied."""
    state = GovernorState(
        pipeline=pipeline.name,
        stage=follow(None, Move.APPLY),
        taken=0,
        decided=0,
        previous="",
        spec=pipeline.digest,
        policy=pipeline.policy_digest,
        ordinal=-1,
        judged=None,
        begun=None,
        sealed=None,
        rows=0,
        ranges=(),
        epoch=0,
        champion=None,
        promoted=None,
        canary=None,
        share=0.0,
        salt="",
        shadows=(),
        first=None,
        tests=0,
        versions=(),
        lanes=(),
        pending=None,
        queue=(),
        challenger=None,
        watch=None,
        alarm=None,
        lane_standings=(),
        version_standings=(),
        retrains=(),
        resumes=None,
        waiting=(),
        split=None,
        split_share=0.0,
        split_salt="",
    )
    return applied(Governed(state=state, pipeline=pipeline, text=text), pipeline, text)


def applied(governed: Governed, pipeline: Pipeline, text: str) -> Governed:
    """With another spec in force: lanes that are new begin, those that are gone end."""
    before = {each.lane: each for each in governed.state.lanes}
    lanes = tuple(
        before.get(lane.name, LaneState(lane=lane.name, version=None, asked=None)) for lane in pipeline.lanes
    )
    changed = replace(governed, pipeline=pipeline, text=text)
    return changed.but(spec=pipeline.digest, policy=pipeline.policy_digest, lanes=lanes)

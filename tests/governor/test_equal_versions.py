"""Equal versions compared for ever do not flap: the calendar promotes, evidence takes nothing back."""

from __future__ import annotations

import os
import random
from itertools import pairwise

from penstock.contracts import records as r
from penstock.kernel.eprocess import EProcess
from tests.governor.governing import Loop

YEARS = 10 if "PENSTOCK_PROVE" in os.environ else 2
BLOCK = 0.25
"""Days: a comparison's block."""


def _process(claim: str) -> EProcess:
    return EProcess.start("worse" if claim == "worse" else "not_worse", bound=0.25, margin=0.005)


def test_years_of_equal_versions() -> None:
    loop = Loop()
    dice = random.Random(20)  # noqa: S311 - noise, not a secret
    champion, noise = None, 0.0
    former_better = lane_better = _process("worse")
    while loop.day < YEARS * 365:
        loop.beat(loop.day + BLOCK)
        loop.trained()
        state = loop.state
        if state.champion != champion:
            champion, former_better = state.champion, _process("worse")
        # Neighbouring blocks are alike, as days are.
        noise = 0.4 * noise + dice.gauss(0.0, 0.05)
        former_better, lane_better = former_better.update(noise), lane_better.update(noise)
        if state.watch is not None:
            loop.compare(state.watch.former, better=former_better.log_e)
        linear = next(lane.version for lane in state.lanes if lane.lane == "linear")
        if linear is not None:
            loop.compare(linear, lane="linear", ewma=-0.006, better=lane_better.log_e)
    kinds = [type(each) for each in loop.decisions]
    assert r.LaneChanged not in kinds
    assert kinds.count(r.RolledBack) == 0
    promoted = [each.event_time for each in loop.decisions if isinstance(each, r.Promoted)]
    assert len(promoted) > YEARS * 20
    # One refresh after the other, never there and back.
    assert min((after or 0) - (before or 0) for before, after in pairwise(promoted)) >= 13 * 86_400_000

"""Who answers and who scores beside them, as it follows from what is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.contracts.records import GovernorState, Route

if TYPE_CHECKING:
    from penstock.governor.domain.governed import Governed


def routed(state: GovernorState) -> Route:
    """The route in force; a pipeline has one as soon as it has a champion."""
    return Route(
        epoch=state.epoch,
        champion=-1 if state.champion is None else state.champion,
        canary=state.canary,
        share=state.share,
        salt=state.salt,
        shadows=state.shadows,
        split=state.split,
        split_share=state.split_share,
        split_salt=state.split_salt,
    )


def shadows(governed: Governed) -> tuple[int, ...]:
    """The versions that score every row and answer none.

    Two yardsticks stay for ever, version 0 and the first trained one: what the owner has to thank the loop
    for is the distance to them. Then the newest version of each lane, the former champion while it can win
    back, and the challenger.
    """
    state = governed.state
    wanted: set[int | None] = {0, state.first}
    wanted |= {lane.version for lane in state.lanes}
    if state.watch is not None:
        wanted.add(state.watch.former)
    if state.challenger is not None:
        wanted.add(state.challenger.version)
    known = {each.version for each in state.versions}
    return tuple(
        sorted(
            version
            for version in wanted
            if version is not None
            and version in known
            and version not in (state.champion, state.canary, state.split)
        )
    )

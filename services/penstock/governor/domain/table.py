"""The stages of a pipeline as a table, which the README's diagram is drawn from.

The stage is that of the one challenger under test. A move that the table has no line for is a mistake of this
program, and says so. Being held is beside the table: it keeps the stage it came from.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from penstock.contracts.records import Stage


class Move(StrEnum):
    """What happened to the challenger, or to the champion."""

    APPLY = "applied"
    BASELINE = "version 0 registered"
    RETRAIN = "retrain requested"
    TEST = "challenger in the shadow"
    CANARY = "canary started"
    ADVANCE = "canary advanced"
    PROMOTE = "promoted"
    REST = "no challenger"
    REST_WATCHED = "no challenger, former champion watched"
    ROLL_BACK = "rolled back"


class IllegalMove(Exception):  # noqa: N818 - says what it is
    """The table has no such line."""


TRANSITIONS: Final[dict[Stage | None, dict[Move, Stage]]] = {
    None: {Move.APPLY: Stage.BOOTSTRAPPING},
    Stage.BOOTSTRAPPING: {Move.BASELINE: Stage.STEADY},
    Stage.STEADY: {
        Move.RETRAIN: Stage.RETRAINING,
        Move.TEST: Stage.SHADOWING,
        Move.PROMOTE: Stage.WATCHING,
    },
    Stage.RETRAINING: {
        Move.RETRAIN: Stage.RETRAINING,
        Move.TEST: Stage.SHADOWING,
        Move.REST: Stage.STEADY,
        Move.REST_WATCHED: Stage.WATCHING,
        Move.PROMOTE: Stage.RETRAINING,
        Move.ROLL_BACK: Stage.RETRAINING,
    },
    Stage.SHADOWING: {
        Move.CANARY: Stage.CANARYING,
        Move.RETRAIN: Stage.RETRAINING,
        Move.TEST: Stage.SHADOWING,
        Move.REST: Stage.STEADY,
        Move.REST_WATCHED: Stage.WATCHING,
        Move.PROMOTE: Stage.WATCHING,
        Move.ROLL_BACK: Stage.SHADOWING,
    },
    Stage.CANARYING: {
        Move.ADVANCE: Stage.CANARYING,
        Move.RETRAIN: Stage.RETRAINING,
        Move.REST: Stage.STEADY,
        Move.REST_WATCHED: Stage.WATCHING,
        Move.PROMOTE: Stage.WATCHING,
        Move.ROLL_BACK: Stage.CANARYING,
    },
    Stage.WATCHING: {
        Move.RETRAIN: Stage.RETRAINING,
        Move.TEST: Stage.SHADOWING,
        Move.REST: Stage.STEADY,
        Move.PROMOTE: Stage.WATCHING,
        Move.ROLL_BACK: Stage.STEADY,
    },
}
"""Stage → move → next stage."""


def follow(stage: Stage | None, move: Move) -> Stage:
    """The stage after a move.

    Raises:
        IllegalMove: there is none.

    >>> follow(Stage.CANARYING, Move.PROMOTE)
    <Stage.WATCHING: 'WATCHING'>
    """
    try:
        return TRANSITIONS[stage][move]
    except KeyError:
        raise IllegalMove(f"{move.value!r} in stage {stage}") from None

"""The governor's rules: `decide(governed, fact, place)` over a table of stages. No I/O, clock or chance.

The clock is the event time of the monitor's heartbeats: evidence only says what is so, and the heartbeat
that closes it lets time pass (`tick`). What a training leads to happens at the event time at which it was
asked for, and a command at the event time judged so far, so that when exactly a record arrived changes
nothing. Each decision names its causes, the digest of the policy it follows and that of the pipeline's
decision before it; its id follows from the fact, so a replay of the same facts gives the same decisions to
the byte.
"""

from __future__ import annotations

from penstock.governor.domain.decide import decide, replay
from penstock.governor.domain.facts import Decision, Fact, Place
from penstock.governor.domain.governed import Governed
from penstock.governor.domain.table import TRANSITIONS, IllegalMove, Move

__all__ = [
    "TRANSITIONS",
    "Decision",
    "Fact",
    "Governed",
    "IllegalMove",
    "Move",
    "Place",
    "decide",
    "replay",
]

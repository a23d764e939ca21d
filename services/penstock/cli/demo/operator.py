"""The operator of the demo: forces an old version on everybody, as people do when they mean well.

What the loop promises is that this is safe: the former champion goes on scoring as a shadow, and comes back
by itself as soon as the harm is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from penstock.cli.command import asked, give
from penstock.cli.demo.flights import DAY_MS, START_MS
from penstock.cli.demo.settle import patiently
from penstock.contracts.records import Promoted, PromoteVersion
from penstock.runtime.catalog import Catalog

if TYPE_CHECKING:
    from penstock.cli.demo.replay import Replay
    from penstock.runtime.broker import Broker
    from penstock.runtime.catalog import Names

DAY: Final = 205
"""Event day on which it happens."""
TIME: Final = START_MS + DAY * DAY_MS
VERSION: Final = 0
NAME: Final = "demo"
REASON: Final = "the old one was good enough"


def force(replay: Replay, broker: Broker, names: Names, pipeline: str) -> None:
    """Wait until everything before that day is judged, give the command, wait until it is done, go on.

    So the event time of what follows is the same in every run.
    """

    def given() -> bool:
        catalog = Catalog(broker, names)
        try:
            head = asked(pipeline, operator=NAME, reason=REASON)
            give(broker, catalog, PromoteVersion(**head, version=VERSION, force=True))
        finally:
            catalog.close()
        return True

    replay.until(lambda: replay.sent(TIME) and replay.judged(TIME))
    replay.until(patiently(given))  # what finds the broker away has written nothing yet
    replay.until(lambda: any(map(is_forced, replay.watch.decisions)) and not replay.watch.waits)
    replay.pace.open()


def is_forced(decision: Any) -> bool:
    """Whether a decision is the promotion that somebody forced."""
    return isinstance(decision, Promoted) and bool(decision.numbers.get("forced"))

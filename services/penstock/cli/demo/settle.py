"""The end of the replay: reached when the positions say so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from penstock.cli.lag import caught_up, unread
from penstock.contracts.records import Origin
from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from penstock.cli.demo.gather import Gatherer
    from penstock.cli.demo.replay import Replay
    from penstock.cli.groups import Group
    from penstock.runtime.broker import Broker

LOGGED_SECONDS = 5.0
"""How long a live inference may take to log an answer it has given; it takes milliseconds."""


def log_answers(replay: Replay, gatherer: Gatherer) -> None:
    """Wait until every gRPC answer is on the predictions topic.

    An answer is logged after it is given, so what a killed process had not logged yet is lost with it; those
    are asked once more, under their ids, as any client does that wants to be sure.
    """
    since = time.monotonic()

    def logged() -> bool:
        nonlocal since
        missing = replay.asker.ids - _logged(gatherer)
        if missing and time.monotonic() - since > LOGGED_SECONDS:
            replay.asker.ask_again(sorted(missing))
            since = time.monotonic()
        return not missing

    replay.until(patiently(logged), moving=lambda: len(_seen(gatherer)))


def settle(replay: Replay, broker: Broker, order: Sequence[Group]) -> None:
    """Wait until everything is judged, and each group in turn has read all there is."""
    replay.until(replay.judged)
    for group in order:
        look = _Look(broker, group)
        replay.until(patiently(look.read_all), moving=look.left)


class _Look:
    """Looks whether a group has read all there is, and remembers what was left."""

    def __init__(self, broker: Broker, group: Group) -> None:
        self._broker = broker
        self._group = group
        self._left: object = None

    def read_all(self) -> bool:
        self._left = ranges = unread(self._broker, self._group.name, self._group.topics)
        return caught_up(self._broker, ranges)

    def left(self) -> object:
        """Moves as long as the group reads."""
        return self._left


def patiently(look: Callable[[], bool]) -> Callable[[], bool]:
    """A look that says no while the broker is away."""

    def patient() -> bool:
        try:
            return look()
        except Unavailable:
            return False

    return patient


def _logged(gatherer: Gatherer) -> frozenset[str]:
    gatherer.gather([gatherer.predictions])
    return _seen(gatherer)


def _seen(gatherer: Gatherer) -> frozenset[str]:
    return frozenset(name for origin, name in gatherer.seen.predictions if origin is Origin.GRPC)

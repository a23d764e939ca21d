"""A verb's way to the broker: find it, ask whether it is there, speak to it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.address import broker_address, reach
from penstock.cli.exits import Exit, Failure
from penstock.cli.state import DATA_FOLDER
from penstock.runtime.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from penstock.runtime.broker import Broker


def settings_of(args: argparse.Namespace, *, folder: Path = Path(DATA_FOLDER)) -> Settings:
    """What the environment, ``--broker`` and the `up` in this folder say about the cluster."""
    return Settings.read(os.environ, {"broker": broker_address(args.broker, folder=folder)})


@contextmanager
def connected(settings: Settings) -> Iterator[Broker]:
    """The broker, for as long as the ``with`` block.

    Raises:
        Failure: with exit code 6 where none answers.
    """
    from penstock.runtime.kafka import KafkaBroker  # noqa: PLC0415 - after `reach`, which is quicker to say no

    reach(settings.broker)
    broker = KafkaBroker(settings.broker, settings.kafka)
    try:
        yield broker
    finally:
        broker.close()


def full_name(topic: str, prefix: str, topics: Iterable[str]) -> str:
    """A topic's name as the cluster has it: as given, or with the prefix.

    Raises:
        Failure: with exit code 4 where there is neither.

    >>> full_name("decisions", "penstock.", ["penstock.decisions", "flights.departures"])
    'penstock.decisions'
    >>> full_name("flights.departures", "penstock.", ["penstock.decisions", "flights.departures"])
    'flights.departures'
    """
    known = sorted(topics)
    for name in (topic, prefix + topic):
        if name in known:
            return name
    close = get_close_matches(topic, [*known, *(name.removeprefix(prefix) for name in known)], n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    raise Failure(f"no topic '{topic}'{hint}", Exit.NOT_FOUND)

"""List what was decided about a pipeline, the oldest first.

    penstock decisions list flights
    penstock decisions list flights --type Promoted,RolledBack -o json

Times are event times, days those since the first outcome. `penstock why` takes the id of a line and tells
what led to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.cli.address import add_broker
from penstock.cli.applied import add_pipeline
from penstock.cli.cluster import connected, settings_of
from penstock.cli.controllog import opened
from penstock.cli.decisions import PREFIX, listed
from penstock.cli.exits import Exit, Failure
from penstock.cli.numbers import count
from penstock.cli.output import emit
from penstock.contracts.topics import TOPICS
from penstock.runtime.catalog import Names

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pipeline(parser)
    parser.add_argument("--type", metavar="T,…", help="only these, such as Promoted,RolledBack")
    parser.add_argument("-n", type=count, metavar="COUNT", help="only the last ones")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    wanted = types(args.type)
    settings = settings_of(args)
    names = Names(settings.prefix)
    with connected(settings) as broker:
        pipeline, log = opened(broker, names, args.pipeline)
        log.read("decisions", "evidence")
        rows = listed(log, pipeline.name)
    rows = [each for each in rows if each["type"] in wanted]
    rows = rows[-args.n :] if args.n else rows
    emit(
        rows if args.output == "json" else [row(each) for each in rows], args.output, empty="no decisions yet"
    )
    return Exit.OK


def types(given: str | None) -> frozenset[str]:
    """The kinds of decisions asked for; all where nothing was.

    Raises:
        Failure: with exit code 2 for one that there is not.
    """
    known = next(topic.schemas for topic in TOPICS if topic.name == "decisions")
    if given is None:
        return frozenset(known)
    for word in given.split(","):
        if word not in known:
            raise Failure(f"--type: there is no {word!r}, expected some of {', '.join(known)}", Exit.USAGE)
    return frozenset(given.split(","))


def row(line: dict[str, Any]) -> dict[str, object]:
    """For people."""
    return {
        "id": line["id"][:PREFIX],
        "day": line["day"],
        "event time": line["event_time"],
        "type": line["type"],
        "version": line["version"],
        "lane": line["lane"],
        "reason": line["reason"] or line["said"],
    }

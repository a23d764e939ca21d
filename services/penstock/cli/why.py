"""Tell what led to something: the chain of causes, down to the offsets of the records that were counted.

    penstock why 3f2a91c0          a decision, evidence, a candidate, a command: by its id
    penstock why 4                 a version of the only pipeline, or flights/4
    penstock why evidence/1/5512   whatever stands there

An id may be cut off where no other begins like it. Each line has the event time and the place in the log, as
`penstock tail` shows it; what is indented under it is what led to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from penstock.cli.address import add_broker
from penstock.cli.applied import applied, known_codec
from penstock.cli.causes import Chains, as_told, tree
from penstock.cli.cluster import connected, settings_of
from penstock.cli.controllog import ControlLog, Entry
from penstock.cli.decisions import found
from penstock.cli.exits import Exit, Failure
from penstock.cli.output import as_json
from penstock.contracts.records import Source, VersionRegistered
from penstock.runtime.catalog import Names

if TYPE_CHECKING:
    import argparse

_HAVE_IDS: Final = ("decisions", "evidence", "candidates", "lifecycle", "commands", "jobs")
_PLACE: Final = re.compile(r"([^/]+)/(\d+)/(\d+)")
_VERSION: Final = re.compile(r"(?:([a-z0-9][a-z0-9_-]*)/)?(0|[1-9][0-9]*)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="of what is to be explained")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    names = Names(settings.prefix)
    with connected(settings) as broker:
        codec = known_codec(broker, names)
        pipelines = applied(broker, names, codec)
        needed = {each.policy_digest: 1 / each.policy.compare.level for each in pipelines}
        log = ControlLog(broker, names, codec=codec)
        log.read(*_HAVE_IDS)
        link = Chains(log, needed).of(meant(log, args.id))
    if args.output == "json":
        print(as_json(as_told(link), indent=True))
    else:
        print("\n".join(tree(link, settings.prefix)))
    return Exit.OK


def meant(log: ControlLog, word: str) -> Entry[Any]:
    """What the word names.

    Raises:
        Failure: nothing (4), or more than one thing (2).
    """
    if place := _PLACE.fullmatch(word):
        name = place[1] if place[1].startswith(log.names.prefix) else log.names.of(place[1])
        entry = log.at(Source(topic=name, partition=int(place[2]), offset=int(place[3])))
        if entry is None:
            raise Failure(f"there is no event at {word}", Exit.NOT_FOUND)
        return entry
    if (version := _VERSION.fullmatch(word)) and (there := _versions(log, version[1], int(version[2]))):
        if len(there) > 1:
            ways = ", ".join(f"{entry.event.pipeline}/{version[2]}" for entry in there)
            raise Failure(f"which pipeline's version {version[2]}? There are {ways}", Exit.USAGE)
        return there[0]
    if "/" in word:
        raise Failure(f"there is no version {word}", Exit.NOT_FOUND)
    return found((entry for topic in _HAVE_IDS for entry in log.all(topic)), word, "event")


def _versions(log: ControlLog, pipeline: str | None, number: int) -> list[Entry[VersionRegistered]]:
    return [
        entry
        for entry in log.of("lifecycle", VersionRegistered)
        if entry.event.version == number and pipeline in (None, entry.event.pipeline)
    ]

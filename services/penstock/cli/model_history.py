"""Tell the life of a pipeline's model: which versions came, what was decided about them, by whom and why.

Times are event times, days those since the first outcome. The last columns of `-o json` say which versions
changed their stage by a decision; `penstock why` takes its id.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from penstock.cli.address import add_broker
from penstock.cli.applied import add_pipeline
from penstock.cli.cluster import connected, settings_of
from penstock.cli.controllog import ControlLog, Entry, opened
from penstock.cli.decisions import PREFIX, line
from penstock.cli.exits import Exit
from penstock.cli.output import emit
from penstock.cli.telling import reason_of, told
from penstock.cli.times import day_of, iso_or_none
from penstock.contracts.records import VersionRegistered, VersionStage, VersionStaged
from penstock.governor.domain.facts import Command
from penstock.runtime.catalog import Names

if TYPE_CHECKING:
    import argparse

GOVERNOR = "governor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pipeline(parser)
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    names = Names(settings.prefix)
    with connected(settings) as broker:
        pipeline, log = opened(broker, names, args.pipeline)
        log.read("decisions", "evidence", "lifecycle", "commands")
        lines = history(log, pipeline.name)
    emit(
        lines if args.output == "json" else [row(each) for each in lines],
        args.output,
        empty="nothing has happened yet",
    )
    return Exit.OK


def history(log: ControlLog, pipeline: str) -> list[dict[str, Any]]:
    """What happened to a pipeline's versions, in the order in which it was written."""
    begun = log.begun(pipeline)
    effects: dict[str, list[dict[str, object]]] = defaultdict(list)
    for staged in log.of("lifecycle", VersionStaged):
        event = staged.event
        effects[event.decision].append({"version": event.version, "stage": event.stage.lower()})
    registered = [(entry, _came(entry, begun)) for entry in log.of("lifecycle", VersionRegistered)]
    decided = [
        (entry, {**line(entry, begun), "by": _by(log, entry), "effects": effects[entry.event.id]})
        for entry in log.all("decisions")
    ]
    # A version is registered before anything is decided about it, and both by the broker's clock.
    both = sorted([*registered, *decided], key=lambda each: (each[0].stamp, each[0].place.offset))
    return [told for _, told in both]


def _came(entry: Entry[VersionRegistered], begun: int | None) -> dict[str, Any]:
    event = entry.event
    told_of = event.stage in {VersionStage.CHAMPION, VersionStage.REFUSED}
    effects = [{"version": event.version, "stage": event.stage.lower()}] if told_of else []
    return {
        "id": event.id,
        "pipeline": event.pipeline,
        "type": "VersionRegistered",
        "version": event.version,
        "lane": event.lane,
        "event_time": iso_or_none(event.asked),
        "day": day_of(event.asked, begun),
        "reason": reason_of(event),
        "said": told(event),
        "by": "registry",
        "effects": effects,
    }


def _by(log: ControlLog, entry: Entry[Any]) -> str:
    """Who decided: the operator whose command it answers, or the governor by its policy."""
    cause = log.at(entry.event.causes[0]) if entry.event.causes else None
    if cause is not None and isinstance(cause.event, Command):
        return cause.event.operator or "an operator"
    return GOVERNOR


def row(line: dict[str, Any]) -> dict[str, object]:
    """For people."""
    effects = ", ".join(f"{each['version']} {each['stage']}" for each in line["effects"])
    return {
        "id": line["id"][:PREFIX],
        "day": line["day"],
        "event time": line["event_time"],
        "what": line["type"],
        "version": line["version"],
        "lane": line["lane"],
        "now": effects or None,
        "by": line["by"],
        "why": line["reason"] or line["said"],
    }

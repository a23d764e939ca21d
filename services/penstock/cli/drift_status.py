"""Show what the monitor sees of a pipeline: how good its versions are lately, alarms, drift, comparisons.

Only sealed time blocks count, those whose labels have come or can come no more: "judged until" says how far
they go. A difference of losses below 0 is better; an e-value is what somebody would have won from a stake of
1 by betting on it, so 20 is seen once in twenty times where nothing is so.

Data quality is what the last thousand transactions made of producers' records: how many were taken, came
again or were refused, and which rule of the pipeline file was broken how often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.cli.address import add_broker
from penstock.cli.applied import add_pipeline
from penstock.cli.cluster import connected, settings_of
from penstock.cli.controllog import opened
from penstock.cli.drift import Seen, seen
from penstock.cli.exits import Exit
from penstock.cli.models import versions_in
from penstock.cli.output import as_json, table
from penstock.cli.taken import Lately, lately
from penstock.cli.telling import told
from penstock.runtime.catalog import Names

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pipeline(parser)
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    names = Names(settings.prefix)
    with connected(settings) as broker:
        pipeline, log = opened(broker, names, args.pipeline)
        log.read("evidence", "models", "lifecycle", "routes")
        stages = {each.version: each.stage for each in versions_in(log)}
        status = seen(log, pipeline.name, stages)
        quality = lately(broker, names.of("quality", pipeline.name), log.decode)
    if args.output == "json":
        print(as_json({**status.told(), "data_quality": quality.told()}, indent=True))
    else:
        print(text(status, quality))
    return Exit.OK


def text(status: Seen, quality: Lately) -> str:
    """For people."""
    parts = [status.headline()]
    for title, rows in (
        ("Quality lately", status.quality()),
        ("Lanes against the champion's", status.comparisons("lane")),
        ("Versions against the champion", status.comparisons("version")),
    ):
        if rows:
            parts.append(f"{title}\n{_indented(rows)}")
    for title, events in (
        ("Alarms", status.alarms),
        ("Features that moved", status.warnings),
        ("Holes in the summaries", status.holes),
    ):
        said = "\n".join(f"  {told(event)}" for event in events)
        parts.append(f"{title}\n{said}" if said else f"{title}: none")
    return "\n\n".join([*parts, quality.text()])


def _indented(rows: list[dict[str, Any]]) -> str:
    return "\n".join(f"  {line}" for line in table(rows).splitlines())

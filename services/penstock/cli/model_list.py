"""List the versions of a pipeline's model, or of all: what each is now, and what it was made from.

All times but that of its registration are event times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit
from penstock.cli.models import Version, versions
from penstock.cli.output import emit
from penstock.cli.times import iso, iso_or_none

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", nargs="?", metavar="PIPELINE", help="all where left out")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with connected(settings) as broker:
        found = versions(broker, settings.prefix)
    lines = [told(version) for version in found if args.pipeline in (None, version.pipeline)]
    emit(
        lines if args.output == "json" else [row(line) for line in lines],
        args.output,
        empty="no versions yet",
    )
    return Exit.OK


def told(version: Version) -> dict[str, Any]:
    """For programs."""
    registered, manifest, staged = version.registered, version.manifest, version.staged
    return {
        "pipeline": version.pipeline,
        "version": version.version,
        "stage": version.stage,
        # The first champion became it when nothing had happened yet: null.
        "since": iso_or_none(staged.event_time) if staged else None,
        "lane": registered.lane,
        "purpose": registered.purpose.lower(),
        "verdict": registered.verdict.lower(),
        "rows": manifest.rows if manifest else None,
        "trained_from": iso_or_none(manifest.since) if manifest else None,
        "trained_until": iso_or_none(registered.cut),
        "asked": iso_or_none(registered.asked),
        "registered": iso(version.stamp),
        "bytes": manifest.size if manifest else None,
        "digest": registered.digest[:12],
        "decision": staged.decision if staged else None,
    }


def row(line: dict[str, Any]) -> dict[str, object]:
    """For people."""
    learned = line["trained_until"] is not None
    return {
        "pipeline": line["pipeline"],
        "version": line["version"],
        "lane": line["lane"],
        "stage": line["stage"],
        "since": line["since"] or ("the beginning" if line["stage"] == "champion" else None),
        "rows": line["rows"],
        "trained from": line["trained_from"] or ("the beginning" if learned else None),
        "trained until": line["trained_until"],
        "gate": None if line["verdict"] == "none" else line["verdict"],
        "registered": line["registered"],
    }

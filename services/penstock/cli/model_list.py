"""List the versions of a pipeline's model, or of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit
from penstock.cli.models import Version, versions
from penstock.cli.output import emit

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", nargs="?", metavar="PIPELINE", help="all where left out")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with connected(settings) as broker:
        found = versions(broker, settings.prefix)
    rows = [row(version) for version in found if args.pipeline in (None, version.pipeline)]
    emit(rows, args.output, empty="no versions yet")
    return Exit.OK


def row(version: Version) -> dict[str, object]:
    """One line of the list."""
    manifest = version.manifest
    return {
        "pipeline": version.pipeline,
        "version": version.version,
        "stage": version.stage,
        "lane": manifest.lane if manifest else None,
        "registered": version.registered.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "bytes": manifest.size if manifest else None,
        "digest": manifest.digest[:12] if manifest else None,
    }

"""Show one decision: what was decided, what was compared, and where its causes stand.

penstock decisions show 3f2a91c0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.controllog import ControlLog
from penstock.cli.decisions import described, found
from penstock.cli.exits import Exit
from penstock.cli.output import emit_object
from penstock.runtime.catalog import Names

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="or as much of its beginning as no other has")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with connected(settings) as broker:
        log = ControlLog(broker, Names(settings.prefix))
        log.read("decisions", "evidence")
        entry = found(log.all("decisions"), args.id, "decision")
        emit_object(described(entry, log.begun(entry.event.pipeline)), args.output)
    return Exit.OK

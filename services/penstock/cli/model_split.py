"""Let a version answer a share of the ids until told otherwise: an A/B test, or a part held back from it.

    penstock model split flights 4 --share 0.3 --reason "the field test of autumn"
    penstock model split flights --end

The version has to be scored already: a shadow, the canary, or the one that has the share now. An id stays
with whoever answers it, also when the share grows; champion and canary share the other ids as ever. Nothing
but this command ends it, or the version's own promotion. It changes nothing of what the loop decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.cli.command import add_command, ask
from penstock.cli.exits import Exit, Failure
from penstock.cli.numbers import count_or_none, share
from penstock.contracts.records import SplitTraffic

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_command(parser)
    parser.add_argument("version", nargs="?", type=count_or_none, metavar="VERSION")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--share", type=share, metavar="SHARE", help="of the ids, between 0 and 1")
    what.add_argument("--end", action="store_true", help="no version has a share of its own any more")


def run(args: argparse.Namespace) -> int:
    pipeline, version = args.pipeline, args.version
    # One word alone may be either of the two; a pipeline that is named like a number is given beside it.
    if not args.end and version is None and pipeline is not None and pipeline.isdecimal():
        args.pipeline, version = None, int(pipeline)
    if args.end and version is not None:
        raise Failure(f"--end ends the one split there is: leave out {version}", Exit.USAGE)
    if not args.end and version is None:
        raise Failure("which version? penstock model split PIPELINE VERSION --share SHARE", Exit.USAGE)
    return ask(args, lambda head: SplitTraffic(**head, version=version, share=args.share or 0.0))

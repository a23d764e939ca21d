"""Make a version the champion, or agree to the challenger that waits for it.

    penstock model promote flights 4               a challenger takes the usual way: shadow, canary, champion
    penstock model promote flights 0 --force       at once, whatever the gates and the canary would say

The governor answers with a decision, which names you and your reason. The former champion is watched on, and
comes back by itself where the new one does harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.cli.command import add_command, ask
from penstock.cli.numbers import count_or_none
from penstock.contracts.records import PromoteVersion

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_command(parser)
    parser.add_argument("version", type=count_or_none, metavar="VERSION")
    parser.add_argument("--force", action="store_true", help="at once")


def run(args: argparse.Namespace) -> int:
    return ask(args, lambda head: PromoteVersion(**head, version=args.version, force=args.force))

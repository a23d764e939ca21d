"""Restore the former champion, as long as it is watched: `policy.watch` after a promotion.

    penstock model rollback flights --reason "complaints from the field"

Later than that, `penstock model promote --force` makes any version the champion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.cli.command import add_command as add_arguments
from penstock.cli.command import ask
from penstock.contracts.records import RollBack

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    return ask(args, lambda head: RollBack(**head))

"""Stop deciding about a pipeline until `penstock resume`: the champion goes on answering.

    penstock hold flights --reason "the upstream system is being replaced"

What the monitor sees is still taken in, and counts once the pipeline is resumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.cli.command import add_command as add_arguments
from penstock.cli.command import ask
from penstock.contracts.records import HoldPipeline

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    return ask(args, lambda head: HoldPipeline(**head))

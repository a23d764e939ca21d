"""Let a pipeline that was held be decided about again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.cli.command import add_command as add_arguments
from penstock.cli.command import ask
from penstock.contracts.records import ResumePipeline

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    return ask(args, lambda head: ResumePipeline(**head))

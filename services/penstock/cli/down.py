"""Stop what `penstock up` started in this folder. What it has stored stays."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.exits import Exit, Failure
from penstock.cli.output import say
from penstock.cli.stack import end_leftovers
from penstock.cli.state import DATA_FOLDER, read_state, remove_state

if TYPE_CHECKING:
    import argparse

STOPS_WITHIN = 60.0
"""Seconds: more than the sum of the graces a supervisor gives its children."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, default=Path(DATA_FOLDER), metavar="DIR", help="the folder of `up` (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    folder: Path = args.data
    state = read_state(folder)
    if state is None:
        say("nothing is running here")
        return Exit.OK
    state.supervisor.signal(signal.SIGTERM)
    if not state.supervisor.wait(STOPS_WITHIN):
        raise Failure(f"pid {state.supervisor.pid} has not stopped in time", Exit.TIMEOUT)
    end_leftovers(state, say)
    remove_state(folder)
    say("stopped")
    return Exit.OK

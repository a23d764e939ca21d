"""Replay a year of real flights through a Kafka and all services, tell what the loop does with them, and
account for every record.

Everything runs on free ports in a folder of its own, which is removed in the end. The exit code is 0 only if
nothing was lost and nothing was made up, a trained version went the whole way to champion, what an operator
forced was taken back, and the journal gives the same decisions once more; of a slice too short for some of
this, if the rest is so.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.exits import Exit, Failure
from penstock.cli.interrupts import Terminated, terminable
from penstock.cli.output import as_json, say

if TYPE_CHECKING:
    import argparse

    from penstock.cli.demo.report import Report

DAYS = 240
EVERY = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=DAYS, help="event days to replay (%(default)s)")
    parser.add_argument("--every", type=int, default=EVERY, metavar="K", help="one flight in K (%(default)s)")
    parser.add_argument(
        "--spec", type=Path, metavar="SPEC", help="another pipeline file for the same flights"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep everything here")
    parser.add_argument("--keep", action="store_true", help="do not remove the folder in the end")


def run(args: argparse.Namespace) -> int:
    if args.days < 1 or args.every < 1:
        raise Failure("--days and --every have to be 1 or more", Exit.USAGE)
    folder = args.data.absolute() if args.data else Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    if args.data and folder.exists() and any(folder.iterdir()):
        raise Failure(f"{folder} is not empty: the demo begins at the beginning", Exit.CONFLICT)
    keep = bool(args.data or args.keep)
    try:
        report = tell(folder, args.days, args.every, args.spec)
    except (KeyboardInterrupt, Terminated):
        _clear(folder, keep=keep)
        return Exit.INTERRUPTED
    except BaseException:
        _clear(folder, keep=True)
        raise
    print(as_json(report.as_object(), indent=True) if args.output == "json" else report.as_text())
    _clear(folder, keep=keep or not report.good)
    return Exit.OK if report.good else Exit.FAILED


def tell(folder: Path, days: int, every: int, spec: Path | None = None) -> Report:
    """Run the demo in a folder."""
    # Imported here: `penstock demo --help` needs none of it.
    from penstock.cli.demo.story import Slice, Story  # noqa: PLC0415
    from penstock.cli.demo.view import view  # noqa: PLC0415

    with terminable(), view(sys.stderr) as shown:
        return Story(example(), folder, Slice(days=days, every=every), shown, spec=spec).tell()


def example() -> Path:
    """The folder of the example: in the package where it is installed, else in the repository."""
    for root in (Path(str(files("penstock"))), Path(__file__).parents[4]):
        folder = root / "examples" / "flights"
        if (folder / "flights.avro").exists():
            return folder
    raise Failure("the example is not installed: run it from the repository", Exit.NOT_FOUND)


def _clear(folder: Path, *, keep: bool) -> None:
    if keep:
        say(f"everything is in {folder} (logs in {folder / 'logs'})")
    else:
        shutil.rmtree(folder, ignore_errors=True)

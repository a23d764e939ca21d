"""Try a pipeline on its own history: the whole system, from the first row on, as fast as the machine goes.

The events are an Avro container, JSON lines or a CSV with a header line. Their times are ISO-8601 or
milliseconds since 1970, in the pipeline's field events.time; without that column row n is second n. Without
the column events.id the row's number is its id. In the pipeline file, events, labels.topic and labels.horizon
may be missing; the horizon is then the longest delay of the history.

The labels are a file with the fields that the pipeline's labels name, or a column of the events:

  --label-column C --label-delay 48rows   row n's label becomes known when row n+48 arrives
  --label-column C --label-delay 36h      so much later than its event
  --label-column C --delay-column D       D holds how much later: seconds, a duration such as 36h, or 48rows;
                                          or when it became known: ISO-8601 or milliseconds since 1970
  --labels FILE                           each label has its id, its time and its value

A row without a label, or whose label becomes known never, counts as such. Metrics are prequential, on the
rows from --score-from on that have a label: the system's answers; those of its first trained version (before
there is one, of version 0); the prior of the labels known so far; and the last label known. With several
classes the AUC is the mean over them, each against the rest. Row numbers of decisions count the rows that had
arrived by then.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.cli.exits import Exit, Failure
from penstock.cli.output import as_json, say

if TYPE_CHECKING:
    import argparse

_LOOK_SECONDS: Final = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", type=Path, metavar="SPEC", help="the pipeline file")
    parser.add_argument("--events", type=Path, required=True, metavar="FILE", help="the history")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="what really happened")
    parser.add_argument("--label-column", metavar="C", help="the column of the events that holds the label")
    parser.add_argument("--label-delay", metavar="DELAY", help="48rows or 36h: how late each label came")
    parser.add_argument("--delay-column", metavar="D", help="the column that holds how late each label came")
    parser.add_argument(
        "--score-from",
        default="10%",
        metavar="WHERE",
        help="a row, a time or a share of the rows: where the metrics begin (%(default)s)".replace(
            "%(default)s", "10%%"
        ),
    )


def run(args: argparse.Namespace) -> int:
    _consistent(args)
    # Imported here: `penstock backtest --help` needs none of it.
    from penstock.cli.backtest.text import as_text  # noqa: PLC0415
    from penstock.cli.backtest.trial import Trial, trial  # noqa: PLC0415

    done = trial(
        Trial(
            spec=args.spec,
            events=args.events,
            labels=args.labels,
            label_column=args.label_column,
            label_delay=args.label_delay,
            delay_column=args.delay_column,
            score_from=args.score_from,
        ),
        say,
        _Progress() if sys.stderr.isatty() else None,
    )
    if args.output == "json":
        print(as_json(done.result.as_object(), indent=True))
    else:
        print(as_text(done.result, dated=done.dated))
    return Exit.OK


class _Progress:
    """A line on the terminal that is gone in the end."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, done: int, total: int) -> None:
        if done == total:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        elif (now := time.monotonic()) >= self._due:
            self._due = now + _LOOK_SECONDS
            print(f"\rpenstock: {done / total:4.0%} of the history", end="", file=sys.stderr, flush=True)


def _consistent(args: argparse.Namespace) -> None:
    """The options that go together.

    Raises:
        Failure: they do not.
    """
    if (args.labels is None) == (args.label_column is None):
        raise Failure("give the labels: either --labels FILE or --label-column C", Exit.USAGE)
    delays = (args.label_delay is not None) + (args.delay_column is not None)
    if args.labels is not None and delays:
        raise Failure("a file of labels says itself when each became known: no delay is needed", Exit.USAGE)
    if args.label_column is not None and delays != 1:
        message = "say when the labels of the column became known: --label-delay 48rows, --label-delay 36h"
        raise Failure(f"{message} or --delay-column D", Exit.USAGE)

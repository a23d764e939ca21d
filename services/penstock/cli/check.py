"""Check a pipeline file: every mistake with its line, and what was probably meant.

    penstock check churn.yaml                offline: nothing is asked of a broker
    penstock check churn.yaml --sample 1000  also reads so many of the last records of each partition

With --sample or --broker the topics that the file names are looked at as well: what of their last records
would be accepted, what refused and why, and how many labels find their event. They are read in no group, and
nothing is written. Exit code 3 says that the file is wrong, 1 that nearly nothing would be accepted.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Final

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.numbers import count
from penstock.cli.output import as_json

if TYPE_CHECKING:
    import argparse

    from penstock.cli.sampled.look import Sampled
    from penstock.kernel.pipeline import Pipeline

ROWS: Final = 1_000
SECONDS: Final = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", type=pathlib.Path, metavar="FILE", help="the pipeline file")
    parser.add_argument(
        "--sample",
        type=count,
        metavar="N",
        help=f"read the last N records of each partition ({ROWS:,} where only --broker is given)",
    )
    parser.add_argument(
        "--seconds", type=count, default=SECONDS, help="at most so long for each topic (%(default)s)"
    )
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    from penstock.cli.specfile import load  # noqa: PLC0415 - `--help` needs nothing of this

    pipeline = load(args.spec)
    sampled = _sampled(args, pipeline) if args.broker or args.sample else None
    if args.output == "json":
        sample = {} if sampled is None else {"sample": sampled.told}
        told = {"valid": True, "digest": pipeline.digest, "spec": pipeline.raw(), **sample}
        print(as_json(told, indent=True))
    else:
        print(f"{args.spec} is a valid pipeline.")
        for line in summary(pipeline):
            print(f"  {line}")
        for line in () if sampled is None else sampled.lines:
            print(line)
    if sampled is not None and sampled.hopeless:
        raise Failure("\n".join(sampled.hopeless), Exit.FAILED)
    return Exit.OK


def _sampled(args: argparse.Namespace, pipeline: Pipeline) -> Sampled:
    from penstock.cli.sampled.look import look  # noqa: PLC0415 - offline nothing of this is needed

    with connected(settings_of(args)) as broker:
        return look(pipeline, broker, rows=args.sample or ROWS, seconds=args.seconds)


def summary(pipeline: Pipeline) -> list[str]:
    """What a pipeline says, in a few lines."""
    from penstock.kernel.units import show_duration  # noqa: PLC0415 - as above

    labels = pipeline.labels
    rule = f" {labels.positive}" if labels.positive else ""
    lines = [
        f"{pipeline.name}: {pipeline.task}, {len(pipeline.features)} features from {pipeline.events.topic}",
        f"label: {labels.value}{rule} from {labels.topic}, late after {show_duration(labels.horizon)}",
        f"lanes: {', '.join(lane.name for lane in pipeline.lanes)}, compared by {pipeline.policy.objective}",
    ]
    if pipeline.unlearned:
        lines.append(f"learned from the first rows when applied: {', '.join(pipeline.unlearned)}")
    return lines

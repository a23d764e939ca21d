"""Score many rows at once, here: the events of a file, or of a stretch of a topic.

    penstock score churn march.csv -o scores.csv
    penstock score churn march.parquet -o scores.avro --version 7 --explain
    penstock score churn --topic crm.events --from 2026-03-01 --to 2026-04-01 -o march.jsonl
    penstock score churn --topic crm.events --from 0 --to 5000 --to-topic crm.scores

The version comes from the log, passes the checks it passes in inference, and runs in this process: no replica
is asked, and nothing is logged as a prediction. Events become rows as on the stream: what would be a dead
letter there is rejected here, with its place and the reason, and the others are scored. Without -o and
--to-topic the scores are JSON lines on stdout.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.outfile import add_outfile, outfile

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", metavar="PIPELINE")
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="events: .avro, .jsonl, .csv, or .parquet with pyarrow",
    )
    parser.add_argument("--topic", help="events of this topic, in the pipeline's wire format")
    parser.add_argument(
        "--from",
        dest="first",
        metavar="OFFSET|TIME",
        help="from this offset of each partition on, or written since",
    )
    parser.add_argument("--to", dest="last", metavar="OFFSET|TIME", help="up to it, and without it")
    parser.add_argument("--version", type=int, help="score by this version; the champion where left out")
    parser.add_argument(
        "--explain", action="store_true", help="say what each feature added to the score, too"
    )
    parser.add_argument("--event-time", metavar="TIME", help="of a file's events that have none")
    parser.add_argument("--to-topic", metavar="TOPIC", help="send the scores to this topic, as JSON")
    parser.add_argument("--rejects", type=Path, metavar="FILE", help="write what is not scored here (.jsonl)")
    add_outfile(parser, what="the file to write, .csv, .jsonl or .avro")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    _check(args)
    from penstock.cli.scoring.job import Job  # noqa: PLC0415 - `--help` needs nothing of this
    from penstock.cli.scoring.writing import form_of  # noqa: PLC0415 - as above

    path = outfile(args)
    form = "jsonl" if path is None else form_of(path)
    settings = settings_of(args)
    with connected(settings) as broker:
        return Job(args, settings, broker).run(path, form)


def _check(args: argparse.Namespace) -> None:
    if bool(args.file) == bool(args.topic):
        raise Failure("give either FILE or --topic", Exit.USAGE)
    if args.file and (args.first or args.last):
        raise Failure("--from and --to are of a topic: a file is scored whole", Exit.USAGE)
    if args.topic and args.event_time:
        raise Failure("--event-time is of a file's events: those of a topic have their own", Exit.USAGE)
    if args.rejects is not None and args.rejects.exists() and not args.force:
        raise Failure(f"{args.rejects} is there already: --force overwrites it", Exit.CONFLICT)
    if args.to_topic and args.output not in ("table", "json"):
        raise Failure("give either -o or --to-topic", Exit.USAGE)

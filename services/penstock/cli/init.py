"""Propose a pipeline file from two topics one has: their last records say most of what it needs.

    penstock init --from-topics crm.events crm.outcomes -o churn.yaml

Wire format, types, id and times are guessed from a sample, and how late labels come from those that find
their event in it. The file is commented YAML that `penstock check` accepts as it is; without -o it goes to
stdout. It is a proposal: read it before you apply it. The topics are read in no group; nothing is written.

Avro with a schema's fingerprint or a registry's id does not say what it holds: --schema FILE, or
--schema ID=FILE, or --registry URL do. The pipeline file names schema files relative to itself.
"""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.numbers import count
from penstock.cli.outfile import add_outfile, outfile, written
from penstock.cli.output import as_json, colours

if TYPE_CHECKING:
    import argparse

ROWS: Final = 10_000
SECONDS: Final = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from-topics", nargs=2, required=True, metavar=("EVENTS", "LABELS"), help="the topics one has"
    )
    parser.add_argument("--name", metavar="NAME", help="of the pipeline; else made from the topics' names")
    parser.add_argument(
        "--sample", type=count, default=ROWS, metavar="N", help="of each partition (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=count, default=SECONDS, help="at most so long for each topic (%(default)s)"
    )
    parser.add_argument(
        "--schema",
        type=_schema,
        action="append",
        default=[],
        metavar="[ID=]FILE",
        help="an Avro schema of the producers; may be given several times",
    )
    parser.add_argument("--registry", default="", metavar="URL", help="the schema registry of the producers")
    add_outfile(parser, what="the pipeline file to write")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    from penstock.cli.propose.run import from_topics  # noqa: PLC0415 - `--help` needs nothing of this
    from penstock.cli.propose.sources import Schemas  # noqa: PLC0415
    from penstock.cli.propose.text import as_yaml, report, told  # noqa: PLC0415

    path = outfile(args)
    _check(args)
    schemas = Schemas(
        files=[file for name, file in args.schema if not name],
        by_id={name: file for name, file in args.schema if name},
        registry=args.registry.rstrip("/"),
        folder=path.parent if path else Path(),
    )
    with connected(settings_of(args)) as broker:
        proposal = from_topics(
            broker,
            *args.from_topics,
            schemas=schemas,
            rows=args.sample,
            seconds=args.seconds,
            name=args.name,
        )
    width = shutil.get_terminal_size().columns
    plain = not (sys.stderr.encoding or "").lower().startswith("utf")
    for line in report(proposal, width=width, colour=colours(sys.stderr), plain=plain):
        print(line, file=sys.stderr)
    if args.output == "json":
        print(as_json(told(proposal), indent=True))
    elif path is None:
        print(as_yaml(proposal), end="")
    else:
        with written(path) as file:
            file.write(as_yaml(proposal).encode())
        print(f"\n{path} is written: read it, then `penstock check {path} --sample 1000`", file=sys.stderr)
    return Exit.OK


def _check(args: argparse.Namespace) -> None:
    from penstock.kernel.mistakes import Wrong  # noqa: PLC0415 - as above
    from penstock.kernel.names import name  # noqa: PLC0415

    if args.from_topics[0] == args.from_topics[1]:
        raise Failure("--from-topics: labels need a topic of their own", Exit.USAGE)
    try:
        name(args.name or "unnamed")
    except Wrong as wrong:
        raise Failure(f"--name: {wrong}", Exit.USAGE) from wrong


def _schema(text: str) -> tuple[str, Path]:
    """A file, and the id that a registry has given it; '' where it has none."""
    name, equals, file = text.rpartition("=")
    path = Path(file)
    if not path.is_file():
        raise ArgumentTypeError(f"there is no file {file!r}")
    return (name.lower() if equals else ""), path

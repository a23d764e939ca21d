"""Check a pipeline file, offline: every mistake with its line, and what was probably meant."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from penstock.cli.exits import Exit
from penstock.cli.output import as_json
from penstock.cli.specfile import load
from penstock.kernel.units import show_duration

if TYPE_CHECKING:
    import argparse

    from penstock.kernel.pipeline import Pipeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", type=pathlib.Path, metavar="SPEC", help="the pipeline file")


def run(args: argparse.Namespace) -> int:
    pipeline = load(args.spec)
    if args.output == "json":
        print(as_json({"valid": True, "digest": pipeline.digest, "spec": pipeline.raw()}, indent=True))
    else:
        print(f"{args.spec} is a valid pipeline.")
        for line in summary(pipeline):
            print(f"  {line}")
    return Exit.OK


def summary(pipeline: Pipeline) -> list[str]:
    """What a pipeline says, in a few lines."""
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

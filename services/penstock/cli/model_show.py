"""Show one version of a pipeline's model: where it stands, what it takes and gives, what it is made of."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.applied import add_pipeline
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.models import Version, versions
from penstock.cli.output import emit_object
from penstock.cli.times import iso, iso_or_none

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pipeline(parser)
    parser.add_argument("version", nargs="?", type=int, metavar="VERSION", help="the champion where left out")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with connected(settings) as broker:
        found = versions(broker, settings.prefix)
    emit_object(described(chosen(found, args.pipeline, args.version)), args.output)
    return Exit.OK


def chosen(found: Sequence[Version], pipeline: str | None, version: int | None) -> Version:
    """The version asked for, or the champion.

    Raises:
        Failure: there is none (4), or there are several pipelines and none was named (2).
    """
    names = sorted({each.pipeline for each in found})
    if version is None and pipeline is not None and pipeline.isdecimal() and pipeline not in names:
        version, pipeline = int(pipeline), None
    if pipeline is None:
        if not names:
            raise Failure("no pipeline has a version yet", Exit.NOT_FOUND)
        if len(names) > 1:
            raise Failure(f"which pipeline? There are {', '.join(names)}", Exit.USAGE)
        pipeline = names[0]
    own = [each for each in found if each.pipeline == pipeline]
    if not own:
        raise Failure(f"pipeline '{pipeline}' has no version yet", Exit.NOT_FOUND)
    for each in own:
        if each.version == version or (version is None and each.stage == "champion"):
            return each
    wanted = "champion" if version is None else f"version {version}"
    raise Failure(f"pipeline '{pipeline}' has no {wanted}", Exit.NOT_FOUND)


def described(version: Version) -> dict[str, object]:
    """Everything there is to say."""
    registered, staged = version.registered, version.staged
    head = {
        "pipeline": version.pipeline,
        "version": version.version,
        "stage": version.stage,
        "since": iso_or_none(staged.event_time) if staged else None,
        "by": staged.decision if staged else None,
        "registered": iso(version.stamp),
    }
    if version.manifest is None:
        return {**head, "reason": registered.reason}
    manifest = dataclasses.asdict(version.manifest)
    inputs = {"features": f"float32 [N, {len(version.manifest.features)}]"}
    outputs = {"scores": f"float32 [N, {version.manifest.scores}]"}
    times = {name: iso_or_none(manifest.pop(name)) for name in ("asked", "since", "cut")}
    learned = {"trained_from": times["since"], "trained_until": times["cut"], "asked": times["asked"]}
    return {**head, "inputs": inputs, "outputs": outputs, **learned, **manifest}

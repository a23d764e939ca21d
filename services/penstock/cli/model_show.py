"""Show one version of a pipeline's model: where it stands, what it takes and gives, what it is made of."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from penstock.cli.address import add_broker
from penstock.cli.cluster import connected, settings_of
from penstock.cli.exits import Exit, Failure
from penstock.cli.models import Version, versions
from penstock.cli.output import emit_object

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline", metavar="PIPELINE")
    parser.add_argument("version", nargs="?", type=int, metavar="VERSION", help="the champion where left out")
    add_broker(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with connected(settings) as broker:
        found = versions(broker, settings.prefix)
    emit_object(described(chosen(found, args.pipeline, args.version)), args.output)
    return Exit.OK


def chosen(found: Sequence[Version], pipeline: str, version: int | None) -> Version:
    """The version asked for, or the champion.

    Raises:
        Failure: with exit code 4 where there is none.
    """
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
    head = {
        "pipeline": version.pipeline,
        "version": version.version,
        "stage": version.stage,
        "registered": version.registered.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if version.manifest is None:
        return {**head, "reason": version.reason}
    manifest = dataclasses.asdict(version.manifest)
    inputs = {"features": f"float32 [N, {len(version.manifest.features)}]"}
    outputs = {"scores": f"float32 [N, {version.manifest.scores}]"}
    return {**head, "inputs": inputs, "outputs": outputs, **manifest}

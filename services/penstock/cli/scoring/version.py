"""A version out of the log, run here: with the checks and the functions by which inference runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from penstock.cli.controllog import ControlLog
from penstock.cli.exits import Exit, Failure
from penstock.contracts.records import ModelRegistered, RouteChanged
from penstock.inference.domain import Serving
from penstock.inference.explaining import MOST_STEPS, Explanation, explained
from penstock.inference.loader import load
from penstock.kernel.errors import Invalid
from penstock.onnx import MAX_BYTES, Refused, Unexplainable
from penstock.runtime.blobs import read_blob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from penstock.inference.domain import Scored
    from penstock.kernel.pipeline import Pipeline
    from penstock.runtime.broker import Broker
    from penstock.runtime.catalog import Names
    from penstock.runtime.codec import Codec

ROWS: Final = 5_000
"""Rows that are scored at once."""


class Version:
    """Scores rows of a pipeline by one version of its model.

    Args:
        pipeline: whose rows they are.
        registered: the version.
        artifact: its ONNX bytes.

    Raises:
        Failure: it does not pass the checks.
    """

    def __init__(self, pipeline: Pipeline, registered: ModelRegistered, artifact: bytes) -> None:
        self.pipeline = pipeline
        self.number = registered.version
        try:
            self._loaded = load(registered, artifact)
        except Refused as why:
            raise Failure(f"version {self.number} is refused: {why}", Exit.FAILED) from why
        route = RouteChanged(
            pipeline=pipeline.name,
            epoch=0,
            champion=self.number,
            canary=None,
            share=0.0,
            salt="",
            shadows=(),
            decision="",
            causes=(),
        )
        self._serving = Serving(pipeline=pipeline, route=route, models={self.number: self._loaded})

    @property
    def many(self) -> int:
        """How many rows may be explained at once.

        Raises:
            Failure: this version cannot be explained.
        """
        explaining = self._loaded.explaining
        try:
            steps = 1 if explaining is None else explaining(self.pipeline.task).steps
        except Unexplainable as why:
            raise Failure(f"version {self.number} cannot be explained: {why}", Exit.FAILED) from why
        return max(1, min(ROWS, MOST_STEPS // max(1, steps)))

    def score(self, ids: Sequence[str], matrix: NDArray[np.floating]) -> tuple[Scored, NDArray[np.bool_]]:
        """What it says of rows, and which of them it could not score.

        Args:
            ids: one for each row.
            matrix: shape (rows, features of the pipeline), NaN = missing.
        """
        scored = self._serving.score(ids, self.pipeline.feature_names, matrix)
        scores = scored.scores.get(self.number)
        if scores is None:
            return scored, np.ones(len(ids), dtype=np.bool_)
        good: NDArray[np.bool_] = np.asarray(np.isfinite(scores).all(axis=1))
        return scored, ~good

    def explain(self, scored: Scored, matrix: NDArray[np.floating]) -> Explanation:
        """Why it says so, of at most `many` rows."""
        return explained(self._serving, scored, self.pipeline.feature_names, matrix)


def fetch(broker: Broker, names: Names, codec: Codec, pipeline: Pipeline, number: int | None) -> Version:
    """A version of a pipeline, the champion where no number is given.

    Raises:
        Failure: there is none (4), or it is refused (1).
        Unavailable: its artifact cannot be read.
    """
    log = ControlLog(broker, names, codec=codec)
    log.read("routes", "models")
    routes = [each.event for each in log.of("routes", RouteChanged) if each.event.pipeline == pipeline.name]
    registrations = [each.event for each in log.of("models", ModelRegistered)]
    models = {each.version: each for each in registrations if each.pipeline == pipeline.name}
    if number is None:
        if not routes:
            raise Failure(f"pipeline '{pipeline.name}' has no version yet", Exit.NOT_FOUND)
        number = max(routes, key=lambda route: route.epoch).champion
    registered = models.get(number)
    if registered is None:
        there = ", ".join(map(str, sorted(models))) or "none"
        raise Failure(f"pipeline '{pipeline.name}' has no version {number}, but {there}", Exit.NOT_FOUND)
    manifest = registered.manifest
    try:
        artifact = read_blob(
            broker, names.of("chunks"), manifest.digest, size=manifest.size, largest=MAX_BYTES
        )
    except Invalid as why:
        raise Failure(f"version {number} is refused: {why}", Exit.FAILED) from why
    return Version(pipeline, registered, artifact)

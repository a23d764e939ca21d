"""What stands on a pipeline's topics when a test begins, as inference and intake write it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from penstock.contracts.records import Label, Origin, Prediction, Role, Score
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Message
from penstock.runtime.codec import RowCodec
from tests.scenarios.system import CHURN, HOUR, System

NOBODY = (math.nan, math.nan)
"""Features of the churn pipeline, age and plan, both missing."""
SMALL = {**CHURN, "labels": {**dict(CHURN["labels"]), "horizon": "10h"}}  # type: ignore[call-overload] # a mapping
HORIZON = 10 * HOUR


def prediction(
    name: str,
    time: int,
    *,
    origin: Origin = Origin.STREAM,
    scores: Sequence[Score] = (Score(version=0, values=(0.5,)),),
    error: str | None = None,
    cleared: tuple[int, ...] = (),
) -> Prediction:
    """Of the champion, version 0, at even odds unless said otherwise."""
    return Prediction(
        id=name,
        origin=origin,
        time=time,
        epoch=1,
        version=None if error else 0,
        role=None if error else Role.CHAMPION,
        scores=tuple(scores),
        error=error,
        cleared=cleared,
    )


class Given:
    """Writes to the topics of one pipeline of a system."""

    def __init__(self, system: System, pipeline: Pipeline) -> None:
        self._system = system
        self.pipeline = pipeline
        self.rows: RowCodec[Prediction] = system.codec.rows(
            Prediction, pipeline.name, pipeline.features_digest, pipeline.feature_names
        )

    def predictions(
        self,
        heads: Iterable[Prediction],
        features: Sequence[Sequence[float]] | None = None,
        *,
        partition: int | None = None,
    ) -> None:
        """Rows on the predictions topic; on the partition of their ids unless one is given."""
        heads = list(heads)
        matrix = np.array([NOBODY] * len(heads) if features is None else features, dtype=np.float64)
        topic = self._system.names.of("predictions", self.pipeline.name)
        for head, payload in zip(heads, self.rows.encode(heads, matrix), strict=True):
            self._system.broker.append(Message(topic, payload, head.id.encode(), (), partition))

    def labels(self, *labels: Label) -> None:
        topic = self._system.names.of("labels", self.pipeline.name)
        for label in labels:
            self._system.broker.append(Message(topic, self._system.codec.encode(label), label.id.encode()))

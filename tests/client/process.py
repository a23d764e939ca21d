"""A real server in a process of its own, with trained models: `python -m tests.client.process`.

Its first line on stdout is its address; after that, a line for each prediction it would log: the id, the
client's own parameters and how many attributions it has.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import numpy as np

from penstock.inference.domain import Directory, Loaded, Serving, Waiting
from penstock.inference.servicer import Server
from penstock.kernel.pipeline import Pipeline
from penstock.onnx import Explaining, Model, digest_of
from penstock.runtime.telemetry import off
from penstock.trainer.export import constant, export
from penstock.trainer.fit import fit
from tests.registry.given import route

if TYPE_CHECKING:
    from penstock.inference.oip import Served
    from penstock.kernel.policy import Algorithm, Task

COMMON = {
    "events": {"topic": "city.starts", "id": "id", "time": "t"},
    "labels": {"topic": "city.ends", "id": "id", "time": "t", "value": "late", "horizon": "2h"},
    "features": {
        "distance": "number",
        "line": {"category": ["red", "green"]},
        "rush": "boolean",
        "hour": {"hour": "t"},
    },
}
TRIPS = Pipeline.read({**COMMON, "pipeline": "trips", "task": "binary"})
COLOURS = Pipeline.read(
    {**COMMON, "pipeline": "colours", "task": "multiclass", "classes": ["low", "mid", "high"]}
)
CATEGORIES = (0, 2, 1, 0)
ROWS = 200


def made(version: int, artifact: bytes) -> Loaded:
    return Loaded(
        version=version,
        features=TRIPS.feature_names,
        model=Model.load(artifact, digest=digest_of(artifact)),
        explaining=Explaining(artifact),
    )


def trained(version: int, algorithm: Algorithm, task: Task, outputs: int) -> Loaded:
    chance = np.random.default_rng(version)
    rows = np.stack(
        [
            chance.normal(50, 20, ROWS).astype(np.float32).astype(np.float64),
            chance.integers(0, 3, ROWS),
            chance.integers(0, 2, ROWS),
            chance.integers(0, 24, ROWS),
        ],
        axis=1,
    )
    hidden = rows[:, 0] / 20 + rows[:, 1] + chance.normal(size=ROWS)
    labels = np.digitize(hidden, [3.0, 4.0]).astype(np.float64)
    labels = labels if outputs > 1 else (labels > 0).astype(np.float64)
    fitted = fit(algorithm, task, rows, labels, categories=CATEGORIES, outputs=outputs, seed=0)
    return made(version, export(fitted))


def directory() -> Directory:
    names = TRIPS.feature_names
    versions = [
        made(0, constant(len(names), [0.5])),
        trained(1, "hist_gradient_boosting", "binary", 1),
        trained(2, "logistic_regression", "binary", 1),
    ]
    colours = trained(1, "hist_gradient_boosting", "multiclass", 3)
    champion = route(champion=1, canary=None, share=0.0, shadows=(0, 2))
    return {
        "trips": Serving(pipeline=TRIPS, route=champion, models={each.version: each for each in versions}),
        "colours": Serving(pipeline=COLOURS, route=route(champion=1), models={1: colours}),
        "new": Waiting(reason="version 0 is not there yet"),
    }


def tell(served: Served, _: object) -> None:
    counts = [len(line) for line in served.attributions] or [0] * len(served.asked.ids)
    for id_, count in zip(served.asked.ids, counts, strict=True):
        print(json.dumps([id_, dict(served.asked.parameters), count]), flush=True)


async def serve() -> None:
    there = directory()
    server = Server("127.0.0.1:0", directory=lambda: there, log=tell, telemetry=off(), concurrency=100)
    port = await server.start()
    await server.announce(ready=True)
    print(f"127.0.0.1:{port}", flush=True)
    # Until whoever started it closes its stdin.
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve())

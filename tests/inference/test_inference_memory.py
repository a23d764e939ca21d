"""The memory of versions that answer no more comes back: a hundred swaps, each of a model of a megabyte."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from resource import getpagesize
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from penstock.contracts.records import ModelRegistered
from penstock.inference.loader import Shelf
from penstock.onnx import digest_of, judged_here
from tests.inference.asking import NAMES, PIPELINE
from tests.inference.test_inference_loader import Shop
from tests.registry.given import manifest

if TYPE_CHECKING:
    from collections.abc import Callable

SWAPS = 100
SETTLED = 20
"""Swaps after which the process is as big as it gets: two models at once, and what the allocator keeps."""
WIDTH = 500


def net(seed: int) -> bytes:
    """A model of a megabyte, other weights each time."""
    dice = np.random.default_rng(seed)
    weights = {
        "zero": np.zeros(1),
        "first": dice.normal(size=(len(NAMES), WIDTH)) / 10,
        "second": dice.normal(size=(WIDTH, WIDTH)) / 100,
        "third": dice.normal(size=(WIDTH, 1)) / 100,
    }
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["known"]),
        helper.make_node("MatMul", ["known", "first"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("MatMul", ["c", "third"], ["d"]),
        helper.make_node("Sigmoid", ["d"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(NAMES)])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    artifact: bytes = model.SerializeToString()
    return artifact


class Loads(ThreadPoolExecutor):
    """Its thread judges by itself: a child for each would take most of the time, and none of the memory."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def judged() -> Any:
            with judged_here():
                return fn(*args, **kwargs)

        return super().submit(judged)


def resident() -> float:
    """Megabytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize() / 2**20


def swap(shop: Shop, loads: Loads, version: int) -> int:
    """Another version takes over; the size of its artifact."""
    artifact = net(version)
    made = manifest(
        digest=digest_of(artifact), size=len(artifact), features=NAMES, layout=PIPELINE.features_digest
    )
    event = ModelRegistered(pipeline="trips", version=version, candidate="c", manifest=made, causes=())
    shop.models, shop.artifacts = {("trips", version): event}, {made.digest: artifact}
    shop.route(epoch=version + 1, champion=version)
    shop.follow()
    loads.submit(int).result()  # it has one thread: the load is over
    serving = shop.serving()
    assert serving.route.epoch == version + 1
    scored = serving.score(["a"] * 64, NAMES, np.zeros((64, len(NAMES))))
    assert len(scored.said(version)) == 64
    return len(artifact)


def test_a_hundred_swaps_take_no_more_memory_than_twenty() -> None:
    with Loads(1) as pool:
        shop = Shop(Shelf(pool))
        for version in range(SETTLED):
            size = swap(shop, pool, version)
        before = resident()
        for version in range(SETTLED, SWAPS):
            swap(shop, pool, version)
        grown = resident() - before
    assert size > 10**6
    # Were none of them let go, it would be eighty megabytes more, and some for what is made of them.
    assert grown < 16, f"{grown:.0f} MB more after {SWAPS - SETTLED} swaps"

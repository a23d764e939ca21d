"""Rows scored in batches are what they are when each is scored by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.records import FeatureRow, Origin, Prediction
from penstock.inference import writing
from penstock.inference.domain import Serving, predictions
from penstock.inference.explaining import sampled
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import Message
from tests.inference.asking import NAMES, PIPELINE, Adds, Nans, serving
from tests.inference.world import DEAD, FEATURES, PREDICTIONS, World, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.runtime.codec import Codec

OLDER = NAMES[:2]


def one_by_one(serving: Serving, codec: Codec, values: Sequence[bytes | None]) -> dict[bytes, list[bytes]]:
    """By id, the predictions that a loop over the records makes, each scored alone."""
    found: dict[bytes, list[bytes]] = {}
    for value in values:
        try:
            head, rows = codec.decode(value or b"")
        except Invalid:
            continue
        assert isinstance(head, FeatureRow)
        assert rows is not None
        matrix = rows.matrix([value or b""])
        scored = serving.score([head.id], rows.names, matrix)
        [prediction] = predictions(
            serving,
            scored,
            origin=Origin.STREAM,
            ids=[head.id],
            times=[head.time],
            cleared=[head.cleared],
            attributions=sampled(serving, scored, [head.id], rows.names, matrix),
        )
        writer = codec.rows(Prediction, "trips", rows.layout, rows.names)
        written = writer.with_head(prediction, rows.features_of(value or b""))
        found.setdefault(head.id.encode(), []).append(written)
    return found


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[str, tuple[int, ...], bool, list[float]] | None]:
    """Id, what is cleared, whether of the older layout, features; None is no row."""
    row = st.tuples(
        st.text(st.characters(codec="utf-8"), max_size=20),
        st.sampled_from([(), (), (), (1,)]),
        st.booleans(),
        st.lists(st.floats(width=32, allow_infinity=False), min_size=5, max_size=5),
    )
    found: list[Any] = draw(st.lists(row | st.none(), min_size=1, max_size=30))
    return found


ROUTES: list[dict[str, Any]] = [
    {},
    {"shadows": (2, 3)},
    {"canary": 2, "share": 0.5, "split": 3, "split_share": 0.3, "split_salt": "s"},
    {"champion": 3, "shadows": (1,)},
]


@pytest.mark.parametrize("columns", [False, True])
@settings(max_examples=12, deadline=None)
@given(batch=batches(), changes=st.sampled_from(ROUTES))
def test_a_batch_is_its_rows(batch: list[Any], changes: dict[str, Any], *, columns: bool) -> None:
    world = World()
    world.publish(*OLDER)
    for version in (1, 2, 3):
        world.model(version, version / 4)
    world.route(epoch=7, **({"champion": 1} | changes))
    loop = world.replica()
    run(loop)
    whole = serving(Adds(), Adds(0.5), Nans(), **changes)
    world.shelf.directory = {"trips": whole}
    world.shelf.update = lambda *_: None  # type: ignore[method-assign]  # it keeps the models of this test
    layouts = {
        False: world.codec.rows(FeatureRow, "trips", PIPELINE.features_digest, NAMES),
        True: world.codec.rows(FeatureRow, "trips", "0" * 16, OLDER),
    }
    values: list[bytes | None] = []
    for row in batch:
        if row is None:
            values.append(b"junk")
            continue
        id_, cleared, older, features = row
        rows = layouts[older]
        head = FeatureRow(id=id_, time=1_600_000_000_000, cleared=cleared, flags=())
        values += rows.encode([head], np.array([features[: len(rows.names)]]))
    for number, value in enumerate(values):
        world.broker.append(Message(FEATURES, value, str(number).encode()))
    with pytest.MonkeyPatch.context() as patch:
        if columns:
            patch.setattr(writing, "MANY", 1)
        run(loop)
    found: dict[bytes, list[bytes]] = {}
    for record in world.broker.records(PREDICTIONS):
        found.setdefault(record.key or b"", []).append(record.value or b"")
    expected = one_by_one(whole, world.codec, values)
    assert {key: sorted(each) for key, each in found.items()} == {
        key: sorted(each) for key, each in expected.items()
    }
    assert len(world.broker.records(DEAD)) == values.count(b"junk")


def test_a_prediction_lies_on_the_partition_of_its_row() -> None:
    world = World()
    world.model(1, 0.5)
    world.route(epoch=7, champion=1)
    rows = world.codec.rows(FeatureRow, "trips", PIPELINE.features_digest, NAMES)
    heads = [FeatureRow(id=f"trip-{number:03d}", time=0, cleared=(), flags=()) for number in range(600)]
    payloads = rows.encode(heads, np.zeros((600, len(NAMES))))
    for number, (head, payload) in enumerate(zip(heads, payloads, strict=True)):
        world.broker.append(Message(FEATURES, payload, head.id.encode(), (), number % 3))
    run(world.replica())
    found = [(record.key or b"", record.partition) for record in world.broker.records(PREDICTIONS)]
    assert sorted(found) == [(head.id.encode(), number % 3) for number, head in enumerate(heads)]
    for partition in range(3):
        keys = [key for key, where in found if where == partition]
        assert keys == sorted(keys)  # in the order of the rows

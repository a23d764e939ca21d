"""Stream scoring on the cluster in memory: what is answered, by whom, and what waits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penstock.contracts.records import DeadLetter, Origin, Role, Score
from penstock.inference.domain import Serving, Waiting
from penstock.kernel.hashing import partition_of
from penstock.onnx import digest_of
from penstock.runtime.blobs import chunks
from penstock.runtime.broker import Aborted, Message, Position, TopicPartition
from penstock.runtime.catalog import Catalog
from penstock.runtime.deadletter import HEADER
from penstock.runtime.errors import Unavailable
from penstock.trainer.export import constant
from tests.inference.asking import NAMES, PIPELINE
from tests.inference.world import DEAD, FEATURES, NAMES_OF, PREDICTIONS, World, run

IDS = [f"trip-{number:03d}" for number in range(60)]


@pytest.fixture
def world() -> World:
    return World()


def test_rows_wait_for_version_0_and_are_answered_once_it_is_there(world: World) -> None:
    loop = world.replica()
    world.rows(*IDS)
    run(loop)
    assert world.predictions() == []
    assert world.shelf.directory == {"trips": Waiting(reason="version 0 is not there yet")}

    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    run(loop)
    found = world.predictions()
    assert [prediction.id for prediction in found] == IDS
    assert {(each.version, each.role, each.epoch, each.origin, each.error) for each in found} == {
        (0, Role.CHAMPION, 1, Origin.STREAM, None)
    }
    assert {each.scores for each in found} == {(Score(version=0, values=(0.5,)),)}
    assert {each.cleared for each in found} == {(0,)}


def test_a_prediction_carries_its_row_and_lies_where_the_row_lies(world: World) -> None:
    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    world.rows(*IDS, values=[1.5, float("nan"), 0.0, 3.0, 4.0])
    run(world.replica())
    catalog = Catalog(world.broker, NAMES_OF)
    for record in world.broker.records(PREDICTIONS):
        head, rows = catalog.codec.decode(record.value or b"")
        assert rows is not None
        assert (rows.names, rows.layout) == (NAMES, PIPELINE.features_digest)
        matrix = rows.matrix([record.value or b""])
        assert np.array_equal(matrix, [[1.5, np.nan, 0.0, 3.0, 4.0]], equal_nan=True)
        assert record.key == head.id.encode()
        assert record.partition == partition_of(head.id.encode(), 3)


def test_shadows_score_every_row_and_a_canary_answers_its_share(world: World) -> None:
    for version in (0, 1, 2):
        world.model(version, version / 4)
    world.route(epoch=5, champion=0, canary=1, share=0.5, salt="c1", shadows=(2,))
    world.rows(*IDS)
    run(world.replica())
    found = world.predictions()
    everyone = tuple(Score(version=version, values=(version / 4,)) for version in (0, 1, 2))
    assert {each.scores for each in found} == {everyone}
    answered = {each.id: each.version for each in found if each.role is Role.CANARY}
    assert set(answered.values()) == {1}
    assert 15 < len(answered) < 45


def test_a_new_route_is_followed_between_two_batches(world: World) -> None:
    loop = world.replica()
    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    world.rows("a")
    run(loop)
    world.model(1, 0.75)
    world.route(epoch=2, champion=1, shadows=(0,))
    world.rows("b")
    run(loop)
    assert [(each.id, each.version, each.epoch) for each in world.predictions()] == [("a", 0, 1), ("b", 1, 2)]


def test_an_older_route_does_not_come_back(world: World) -> None:
    world.model(0, 0.5)
    world.route(epoch=2, champion=0)
    world.route(epoch=1, champion=9)
    run(world.replica())
    state = world.shelf.directory["trips"]
    assert isinstance(state, Serving)
    assert state.route.epoch == 2


def test_a_restart_goes_on_behind_what_was_committed(world: World) -> None:
    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    world.rows(*IDS[:30])
    run(world.replica())
    world.rows(*IDS[30:])
    run(world.replica())
    assert [prediction.id for prediction in world.predictions()] == IDS


def test_the_epoch_stands_beside_the_offset(world: World) -> None:
    world.model(0, 0.5)
    world.route(epoch=7, champion=0)
    world.rows(*IDS)
    run(world.replica())
    committed = world.broker.groups["penstock.inference"]
    assert {position.metadata for position in committed.values()} == {"7"}


def test_a_partition_waits_until_the_routes_are_as_far_as_it_was(world: World) -> None:
    # The partition comes from a replica that had seen epoch 8 already; here the routes end at 7.
    world.broker.groups["penstock.inference"] = {
        TopicPartition(FEATURES, partition): Position(0, "8") for partition in range(3)
    }
    world.model(0, 0.5)
    world.model(1, 0.75)
    world.route(epoch=7, champion=0)
    world.rows(*IDS)
    loop = world.replica()
    run(loop)
    assert world.predictions() == []
    world.route(epoch=8, champion=1)
    run(loop)
    assert {(each.version, each.epoch) for each in world.predictions()} == {(1, 8)}
    assert len(world.predictions()) == len(IDS)


def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on(world: World) -> None:
    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    bad = [b"junk", None, world.codec.encode(_any_event())]
    for number, value in enumerate(bad):
        world.broker.append(Message(FEATURES, value, f"bad-{number}".encode()))
    world.rows("good")
    run(world.replica())
    assert [prediction.id for prediction in world.predictions()] == ["good"]
    letters = [
        world.codec.decode(dict(record.headers)[HEADER]).value for record in world.broker.records(DEAD)
    ]
    assert all(isinstance(letter, DeadLetter) for letter in letters)
    assert sorted(letter.reason for letter in letters) == ["empty", "undecodable", "unexpected"]
    assert {letter.service for letter in letters} == {"inference"}


def _any_event() -> object:
    world = World()
    world.model(0, 0.5)
    return world.codec.decode(world.broker.records(NAMES_OF.of("models"))[0].value or b"").value


def test_rows_of_an_older_layout_miss_what_they_do_not_have(world: World) -> None:
    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    world.rows("new")
    world.rows("old", names=NAMES[:2])
    world.publish(*NAMES[:2])
    run(world.replica())
    assert [(each.id, each.version) for each in world.predictions()] == [("new", 0), ("old", 0)]


def test_a_row_that_comes_before_its_schema_waits_for_it(world: World) -> None:
    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    world.rows("first")
    world.rows("later", names=NAMES[:3])
    loop = world.replica()
    for _ in range(20):
        loop.step()
    assert "later" not in {prediction.id for prediction in world.predictions()}
    world.publish(*NAMES[:3])
    run(loop)
    assert [each.id for each in world.predictions()] == ["first", "later"]


def test_an_aborted_batch_is_scored_again_and_seen_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    loop = world.replica()
    run(loop)
    world.rows(*IDS)
    original = world.broker.finish
    failures = iter([True, True, False])

    def finish(transaction: Any, state: str) -> None:
        if state == "committed" and next(failures, False):
            raise Aborted("the coordinator said no")
        original(transaction, state)

    monkeypatch.setattr(world.broker, "finish", finish)
    for _ in range(30):
        loop.step()
    assert [prediction.id for prediction in world.predictions()] == IDS


def test_a_broker_that_is_away_leaves_the_shelf_as_it_is(world: World) -> None:
    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    loop = world.replica()
    run(loop)
    before = world.shelf.directory["trips"]
    world.broker.away = True
    with pytest.raises(Unavailable):
        loop.step()
    assert world.shelf.directory["trips"] is before
    world.broker.away = False
    world.rows("a")
    run(world.replica())
    assert [prediction.id for prediction in world.predictions()] == ["a"]
    after = world.shelf.directory["trips"]
    assert isinstance(before, Serving)
    assert isinstance(after, Serving)
    assert after.models[0] is before.models[0]


def test_the_artifact_is_asked_for_again_until_it_is_there(world: World) -> None:
    body = constant(len(NAMES), [0.5])
    world.register(0, body, 0.5)
    world.route(epoch=1, champion=0)
    loop = world.replica()
    world.rows("a")
    run(loop)
    assert world.predictions() == []
    state = world.shelf.directory["trips"]
    assert isinstance(state, Waiting)
    assert "lacks chunk 0 of 1" in state.reason
    for message in chunks(NAMES_OF.of("chunks"), body, partitions=world.partitions):
        world.broker.append(message)
    run(loop)
    assert world.predictions() == []
    world.now += 5_000
    run(loop)
    assert [prediction.id for prediction in world.predictions()] == ["a"]


def test_the_model_served_is_the_one_the_manifest_names(world: World) -> None:
    world.model(0, 0.5)
    world.route(epoch=1, champion=0)
    run(world.replica())
    state = world.shelf.directory["trips"]
    assert isinstance(state, Serving)
    assert state.models[0].model.digest == digest_of(constant(len(NAMES), [0.5]))  # type: ignore[attr-defined]  # it is a Model

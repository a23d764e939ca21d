"""Models come and go beside the serving: what is in force is always whole, and never worse than before."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from penstock.contracts.records import Golden, ModelRegistered
from penstock.inference.domain import Serving, Waiting
from penstock.inference.loader import RETRY_SECONDS, AtOnce, Shelf, load
from penstock.kernel.pipeline import Pipeline
from penstock.onnx import Refused, digest_of
from penstock.runtime.errors import Unavailable
from penstock.trainer.export import constant
from tests.inference.asking import NAMES, PIPELINE, route
from tests.registry.given import manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from penstock.contracts.records import RouteChanged


def registered(version: int, score: float = 0.5, **changes: Any) -> tuple[ModelRegistered, bytes]:
    """A version and its artifact; `changes` are the manifest's."""
    body = constant(len(NAMES), [score])
    made = manifest(
        digest=digest_of(body),
        size=len(body),
        features=NAMES,
        layout=PIPELINE.features_digest,
        golden=(Golden(features=(float("nan"),) * len(NAMES), scores=(score,)),),
    )
    event = ModelRegistered(
        pipeline="trips", version=version, candidate="c", manifest=replace(made, **changes), causes=()
    )
    return event, body


class Shop:
    """The registry's side: versions, their artifacts, and the shelf that follows them."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.pipelines = {"trips": PIPELINE}
        self.routes: dict[str, RouteChanged] = {}
        self.models: dict[tuple[str, int], ModelRegistered] = {}
        self.artifacts: dict[str, bytes] = {}
        self.fetched: list[int] = []

    def model(self, version: int, score: float = 0.5, **changes: Any) -> None:
        event, body = registered(version, score, **changes)
        self.models["trips", version] = event
        self.artifacts[event.manifest.digest] = body

    def route(self, **changes: Any) -> None:
        self.routes["trips"] = route(**changes)

    def fetch(self, event: ModelRegistered) -> bytes:
        self.fetched.append(event.version)
        try:
            return self.artifacts[event.manifest.digest]
        except KeyError:
            raise Unavailable("not there") from None

    def follow(self) -> Serving | Waiting:
        self.shelf.update(self.pipelines, self.routes, self.models, self.fetch)
        return self.shelf.directory["trips"]

    def settled(self) -> bool:
        return self.shelf.settled

    def serving(self) -> Serving:
        state = self.follow()
        assert isinstance(state, Serving)
        return state


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shop(clock: Clock) -> Shop:
    return Shop(Shelf(AtOnce(), clock=clock))


def test_a_version_is_loaded_and_answers(shop: Shop) -> None:
    shop.model(0, 0.25)
    shop.route(epoch=1, champion=0)
    serving = shop.serving()
    scored = serving.score(["a"], NAMES, np.zeros((1, len(NAMES))))
    assert scored.said(0) == [(0.25,)]


def test_before_a_route_there_is_nothing_to_wait_for(shop: Shop) -> None:
    assert shop.follow() == Waiting(reason="version 0 is not there yet")
    assert shop.settled() is True


def test_a_fresh_process_is_settled_once_every_routed_pipeline_can_be_asked(shop: Shop) -> None:
    shop.route(epoch=1, champion=0)
    assert shop.follow() == Waiting(reason="version 0 is being loaded")
    assert shop.settled() is False
    shop.model(0)
    shop.serving()
    assert shop.settled() is True
    # Later news never takes a process that serves out of service.
    other = Pipeline.read({**PIPELINE.raw(), "pipeline": "other"})
    shop.pipelines["other"] = other
    shop.routes["other"] = route(pipeline="other", champion=3)
    shop.serving()
    assert shop.settled() is True


def test_nothing_is_loaded_twice(shop: Shop) -> None:
    shop.model(0)
    shop.route(epoch=1, champion=0)
    first = shop.serving()
    assert shop.serving() is first
    shop.route(epoch=2, champion=0)
    second = shop.serving()
    assert (second.route.epoch, second.models[0]) == (2, first.models[0])
    assert shop.fetched == [0]


def test_a_new_route_is_in_force_only_when_all_it_names_is_loaded(clock: Clock) -> None:
    with ThreadPoolExecutor(1) as pool:
        gate = threading.Event()
        shop = Shop(Shelf(pool, clock=clock))
        for version in (0, 1, 2):
            shop.model(version, version / 4)
        shop.route(epoch=1, champion=0)
        until(shop.follow, lambda state: isinstance(state, Serving))
        before = shop.serving()

        pool.submit(gate.wait)  # the loads that follow stand behind it
        shop.route(epoch=2, champion=1, shadows=(0, 2))
        for _ in range(3):
            assert shop.serving() is before
        gate.set()
        after = until(shop.follow, lambda state: state is not before)
        assert isinstance(after, Serving)
        assert (after.route.epoch, sorted(after.models)) == (2, [0, 1, 2])


def until(look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """What a thread brings about in a moment."""
    deadline = time.monotonic() + 20
    while not good(found := look()):
        assert time.monotonic() < deadline, "did not happen within 20 s"
    return found


def test_a_champion_that_is_refused_leaves_the_one_before(shop: Shop) -> None:
    shop.model(0)
    shop.route(epoch=1, champion=0)
    before = shop.serving()
    shop.model(1, golden=(Golden(features=(0.0,) * len(NAMES), scores=(0.9,)),))
    shop.route(epoch=2, champion=1, shadows=(0,))
    assert shop.serving() is before
    assert shop.shelf.refused("trips") == {1: "golden vector 0 scores [0.5], expected [0.9]"}
    # And is not tried again: the same bytes would say the same.
    shop.serving()
    assert shop.fetched == [0, 1]
    shop.model(2, 0.75)
    shop.route(epoch=3, champion=2, shadows=(0,))
    assert shop.serving().route.epoch == 3
    assert shop.shelf.refused("trips") == {}


@pytest.mark.parametrize("part", ["canary", "split"])
def test_whoever_answers_a_share_has_to_be_usable_here_too(shop: Shop, part: str) -> None:
    shop.model(0)
    shop.route(epoch=1, champion=0)
    before = shop.serving()
    shop.model(1, golden=(Golden(features=(0.0,) * len(NAMES), scores=(0.9,)),))
    shop.route(epoch=2, champion=0, **{part: 1})
    assert shop.serving() is before
    assert sorted(shop.shelf.refused("trips")) == [1]


def test_the_first_champion_that_is_refused_says_why(shop: Shop) -> None:
    shop.model(0, scores=2)
    shop.route(epoch=1, champion=0)
    state = shop.follow()
    assert isinstance(state, Waiting)
    assert state.reason == "version 0 cannot be loaded: output 'scores' has 1 columns, expected 2"
    assert shop.settled() is False


def test_a_shadow_that_is_refused_does_not_keep_the_route_from_being_followed(shop: Shop) -> None:
    shop.model(0)
    shop.model(1, 0.3, digest="0" * 64)
    shop.route(epoch=2, champion=0, shadows=(1,))
    serving = shop.serving()
    assert (serving.route.epoch, sorted(serving.models)) == (2, [0])
    (reason,) = shop.shelf.refused("trips").values()
    assert "the manifest says 000000000000" in reason


def test_an_artifact_that_is_not_there_is_asked_for_again(shop: Shop, clock: Clock) -> None:
    shop.model(0)
    artifacts, shop.artifacts = shop.artifacts, {}
    shop.route(epoch=1, champion=0)
    for _ in range(3):
        assert shop.follow() == Waiting(reason="version 0 cannot be loaded: not there")
    assert shop.fetched == [0]
    shop.artifacts = artifacts
    clock.now += RETRY_SECONDS
    assert shop.serving().route.epoch == 1
    assert shop.shelf.refused("trips") == {}


def test_a_shadow_that_comes_late_joins(shop: Shop, clock: Clock) -> None:
    shop.model(0)
    shop.model(1, 0.3)
    late = shop.artifacts.pop(shop.models["trips", 1].manifest.digest)
    shop.route(epoch=2, champion=0, shadows=(1,))
    assert sorted(shop.serving().models) == [0]
    shop.artifacts[digest_of(late)] = late
    clock.now += RETRY_SECONDS
    assert sorted(shop.serving().models) == [0, 1]


def test_a_changed_spec_is_in_force_with_the_same_models(shop: Shop) -> None:
    shop.model(0)
    shop.route(epoch=1, champion=0)
    before = shop.serving()
    raw: dict[str, Any] = PIPELINE.raw()
    grown = Pipeline.read({**raw, "features": [*raw["features"], {"rain": "boolean"}]})
    shop.pipelines["trips"] = grown
    after = shop.serving()
    assert after.pipeline == grown
    assert after.models == before.models
    assert shop.fetched == [0]


def test_a_pipeline_that_is_taken_away_is_gone(shop: Shop) -> None:
    shop.model(0)
    shop.route(epoch=1, champion=0)
    shop.serving()
    shop.pipelines.clear()
    shop.shelf.update({}, shop.routes, shop.models, shop.fetch)
    assert shop.shelf.directory == {}
    assert shop.shelf.epochs() == {}


def test_a_directory_once_read_never_changes(shop: Shop) -> None:
    shop.model(0)
    shop.route(epoch=1, champion=0)
    shop.serving()
    before = shop.shelf.directory
    copy = dict(before)
    shop.model(1, 0.75)
    shop.route(epoch=2, champion=1)
    shop.serving()
    assert before == copy
    assert shop.shelf.directory is not before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"features": NAMES[:3]}, "input 'features' has 5 columns, expected 3"),
        ({"golden": (Golden(features=(0.0,), scores=(0.5,)),)}, "golden vector 0 has 1 features"),
        ({"digest": "f" * 64}, "the manifest says ffffffffffff"),
    ],
)
def test_a_manifest_that_does_not_fit_its_artifact_is_refused(changes: dict[str, Any], reason: str) -> None:
    event, body = registered(0, **changes)
    with pytest.raises(Refused, match=reason):
        load(event, body)


def test_at_once_is_an_executor() -> None:
    def fail() -> None:
        raise ValueError("no")

    assert AtOnce().submit(max, 1, 2).result() == 2
    with pytest.raises(ValueError, match="no"):
        AtOnce().submit(fail).result()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() <= before

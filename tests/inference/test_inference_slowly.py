"""A slow version that answers is waited for; a slow one that only scores beside it delays nobody."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import pytest

from penstock.contracts import oip_pb2
from penstock.inference import slowly
from penstock.inference.domain import SLOW, Loaded, Serving
from penstock.inference.loader import load, seconds_of
from penstock.inference.servicer import SERVICE
from tests.inference.asking import NAMES, Adds, Breaks, packed, response, scores_of
from tests.inference.asking import serving as fast_serving
from tests.inference.running import ROW, Running, running, until
from tests.inference.test_inference_loader import registered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from penstock.inference.oip import Served


class Gated(Adds):
    """A model that waits to be let go, and counts its runs."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__(offset)
        self.go = threading.Event()
        self.runs: list[int] = []

    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        self.runs.append(len(matrix))
        assert self.go.wait(30)
        return super().run(matrix)


def serving(*models: Any, **changes: Any) -> Serving:
    """The models as versions 1, 2, …; those that wait to be let go, or break, are slow ones."""
    found = fast_serving(*models, **changes)
    loaded = {
        version: replace(each, seconds=2 * SLOW if isinstance(each.model, Gated | Breaks) else 0.0)
        for version, each in found.models.items()
    }
    return replace(found, models=loaded)


def logged(up: Running) -> Served:
    until(lambda: up.logged)
    (served, headers) = up.logged.pop()
    assert headers == (("traceparent", b"ours"),)
    return served


def test_a_slow_shadow_delays_no_answer_and_its_scores_are_logged_when_they_come() -> None:
    shadow = Gated(100)
    with running({"trips": serving(Adds(), shadow, shadows=(2,))}) as up:
        assert scores_of(response(up.ask("ModelInfer", packed(ROW)))) == [[27.5]]
        until(lambda: shadow.runs == [1])
        assert up.logged == []
        shadow.go.set()
        scored = logged(up).scored
    assert {version: scores.tolist() for version, scores in scored.scores.items()} == {
        1: [[27.5]],
        2: [[127.5]],
    }


def test_a_slow_champion_is_waited_for_and_others_are_answered_meanwhile() -> None:
    champion = Gated()
    with running({"trips": serving(champion), "fast": fast_serving()}) as up, ThreadPoolExecutor(1) as pool:
        first = pool.submit(up.ask, "ModelInfer", packed(ROW, id="a"))
        until(lambda: champion.runs)
        assert up.ask("ModelInfer", packed(ROW, model_name="fast"))
        assert not first.done()
        champion.go.set()
        message = response(first.result(20))
        assert (message.id, scores_of(message)) == ("a", [[27.5]])


def test_rows_of_calls_that_wait_are_scored_together() -> None:
    champion = Gated()
    with running({"trips": serving(champion)}) as up, ThreadPoolExecutor(9) as pool:
        first = pool.submit(up.ask, "ModelInfer", packed(ROW))
        until(lambda: champion.runs)
        rows = [[float(number), 0.0, 0.0, 0.0, 0.0] for number in range(8)]
        others = [pool.submit(up.ask, "ModelInfer", packed(row, row)) for row in rows]
        [batches] = up.server._slowly._batches.values()
        until(lambda: batches.waiting == 16)
        champion.go.set()
        said = [scores_of(response(each.result(20))) for each in others]
        assert said == [[[row[0]], [row[0]]] for row in rows]
        assert first.result(20)
    assert champion.runs == [1, 16]


def test_a_slow_canary_is_waited_for_by_its_own_ids_alone() -> None:
    canary = Gated(1000)
    table = serving(Adds(), canary, canary=2, share=0.5, salt="a")
    with running({"trips": table}) as up, ThreadPoolExecutor(1) as pool:
        # UA-0 is the champion's, UA-1 the canary's: see `arm`.
        message = response(up.ask("ModelInfer", packed(ROW, id="UA-0")))
        assert (message.model_version, scores_of(message)) == ("1", [[27.5]])
        waits = pool.submit(up.ask, "ModelInfer", packed(ROW, id="UA-1"))
        until(lambda: canary.runs)
        assert not waits.done()
        canary.go.set()
        assert response(waits.result(20)).model_version == "2"
        until(lambda: len(up.logged) == 2)
        assert all(set(served.scored.scores) == {1, 2} for served, _ in up.logged)


def test_who_has_gone_is_not_scored() -> None:
    champion = Gated()
    with running({"trips": serving(champion)}) as up, ThreadPoolExecutor(2) as pool:
        first = pool.submit(up.ask, "ModelInfer", packed(ROW))
        until(lambda: champion.runs)
        [batches] = up.server._slowly._batches.values()
        gone = pool.submit(up.refused, packed(ROW), timeout=0.5)
        until(lambda: batches.waiting == 1)
        [waits] = batches._queue
        assert gone.result().code() is grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: waits.scores.done() or waits.until < up.loop.time())
        champion.go.set()
        assert first.result(20)
        assert up.ask("ModelInfer", packed(ROW))
    assert champion.runs == [1, 1]
    assert len(up.logged) == 2


def test_a_slow_champion_that_fails_is_internal_and_a_slow_shadow_is_only_logged() -> None:
    with running({"trips": serving(Breaks())}) as up:
        error = up.refused(packed(ROW))
        assert (error.code().name, error.details()) == (
            "INTERNAL",
            "version 1 could not score: no luck with 1 rows",
        )
        assert logged(up).scored.failed == {1: "no luck with 1 rows"}
        up.directory = {"trips": serving(Adds(), Breaks(), shadows=(2,))}
        assert up.ask("ModelInfer", packed(ROW))
        assert logged(up).scored.failed == {2: "no luck with 1 rows"}


def test_a_shadow_that_cannot_keep_up_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowly, "MOST_BEHIND", 3)
    shadow = Gated()
    with running({"trips": serving(Adds(), shadow, shadows=(2,))}) as up:
        for _ in range(6):
            assert up.ask("ModelInfer", packed(ROW))
        until(lambda: len(up.logged) == 2)  # the first is being scored, three wait
        assert {served.scored.why_not(2) for served, _ in up.logged} == {
            f"version 2 could not score: {slowly.BEHIND}"
        }
        shadow.go.set()
        until(lambda: len(up.logged) == 6)
    assert sum(2 in served.scored.scores for served, _ in up.logged) == 4


def test_a_stop_waits_for_what_is_still_to_be_logged() -> None:
    shadow = Gated()
    up = Running({"trips": serving(Adds(), shadow, shadows=(2,))})
    assert up.ask("ModelInfer", packed(ROW))
    until(lambda: shadow.runs)
    threading.Timer(0.2, shadow.go.set).start()
    up.call(up.server.stop(20))
    assert set(up.logged[0][0].scored.scores) == {1, 2}
    up.close()


def test_a_stop_that_cannot_wait_logs_what_is_there() -> None:
    shadow = Gated()
    up = Running({"trips": serving(Adds(), shadow, shadows=(2,))})
    assert up.ask("ModelInfer", packed(ROW))
    until(lambda: shadow.runs)
    up.call(up.server.stop(0.1))
    until(lambda: up.logged)
    assert set(up.logged[0][0].scored.scores) == {1}
    shadow.go.set()
    up.close()


def test_streams_and_big_requests_go_the_same_way() -> None:
    champion, shadow = Gated(), Gated(100)
    champion.go.set()
    shadow.go.set()
    with running({"trips": serving(champion, shadow, shadows=(2,))}) as up:
        big = [[float(row % 90), 0.0, 0.0, 0.0, 0.0] for row in range(16_384)]
        assert len(scores_of(response(up.ask("ModelInfer", packed(*big))))) == len(big)
        stream = up.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        bodies = [packed(ROW, id=name) for name in "abc"]
        said = [
            oip_pb2.ModelStreamInferResponse.FromString(each) for each in stream(iter(bodies), timeout=20)
        ]
        assert [each.infer_response.id for each in said] == list("abc")
        until(lambda: len(up.logged) == 4)
    assert all(set(served.scored.scores) == {1, 2} for served, _ in up.logged)


class Sleeps(Adds):
    """A model that takes so long for each run."""

    features = len(NAMES)

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.runs = 0

    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        self.runs += 1
        time.sleep(self.seconds)
        return super().run(matrix)


def test_how_fast_a_version_is_is_measured_where_it_is_loaded() -> None:
    assert not load(*registered(1)).slow  # a constant
    model: Any = Sleeps(0.03)
    seconds = seconds_of(model)
    assert seconds >= 0.03
    assert model.runs <= 5  # one that takes long is not tried often
    assert Loaded(version=1, features=NAMES, model=model, seconds=seconds).slow

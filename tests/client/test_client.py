"""The client against a real server in a process of its own: what is asked, comes back and is logged."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from penstock.client import ONCE, Ask, AsyncClient, Client, PenstockError, Prediction, Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.client.conftest import Serving

ROW: Row = {"distance": 61.5, "line": "green", "rush": True}
OTHER: Row = {"distance": 12.0, "line": "red", "rush": False}
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def client(serving: Serving) -> Iterator[Client]:
    with Client(serving.address, pipeline="trips", seconds=30) as found:
        yield found


def test_one_row_is_one_prediction(client: Client, serving: Serving) -> None:
    found = client.predict(ROW, id="one", event_time=NOON)
    assert isinstance(found, Prediction)
    assert (found.id, found.version, found.role, found.epoch) == ("one", 1, "champion", 1)
    assert found.scores == (found.score,)
    assert 0 < found.score < 1
    assert serving.of("one") == [("one", {}, 0)]


def test_rows_and_columns_are_the_same_table(client: Client) -> None:
    rows = client.predict([ROW, OTHER], id=["a", "b"], event_time=[NOON, NOON])
    columns = client.predict(
        {"distance": np.array([61.5, 12.0]), "line": ["green", "red"], "rush": (True, False)},
        id=["a", "b"],
        event_time=NOON,
    )
    assert [each.id for each in rows] == ["a", "b"]
    assert rows == columns
    assert rows[0] == client.predict(ROW, id="a", event_time=NOON)


def test_ids_of_several_rows_are_numbered_under_one(client: Client) -> None:
    assert [each.id for each in client.predict([ROW, OTHER], id="pair")] == ["pair/0", "pair/1"]
    made_up = [each.id for each in client.predict([ROW, OTHER])]
    assert made_up[0][:-2] == made_up[1][:-2]
    assert len(made_up[0]) == 34
    assert client.predict([ROW], id="single")[0].id == "single"


def test_a_missing_value_is_missing_however_it_is_left_out(client: Client) -> None:
    wanted = client.predict({"line": "red"}, event_time=NOON).score
    rows: list[Row] = [{"line": "red", "distance": None}, {"line": "red", "distance": math.nan, "rush": None}]
    for row in rows:
        assert client.predict(row, event_time=NOON).score == wanted
    both = client.predict([{"line": "red"}, {"distance": 3}], event_time=NOON)
    assert both[0].score == wanted


def test_a_version_can_be_pinned(client: Client) -> None:
    assert client.predict(ROW, version=0).scores == (0.5,)
    found = client.predict(ROW, version=2)
    assert (found.version, found.role) == (2, "shadow")
    with pytest.raises(PenstockError, match="has no version '7' here, only 0, 1, 2") as caught:
        client.predict(ROW, version=7)
    assert caught.value.code == "NOT_FOUND"


def test_parameters_are_logged_beside_the_prediction(client: Client, serving: Serving) -> None:
    client.predict(ROW, id="beside", parameters={"screen": "kiosk", "try": 2, "paid": True, "fare": 1.5})
    wanted = {"screen": "kiosk", "try": "2", "paid": "true", "fare": "1.5"}
    assert serving.of("beside") == [("beside", wanted, 0)]
    with pytest.raises(PenstockError, match="parameter 'note' has 300 characters") as caught:
        client.predict(ROW, parameters={"note": "x" * 300})
    assert (caught.value.code, caught.value.fields) == ("INVALID_ARGUMENT", ("note",))


@pytest.mark.parametrize("version", [1, 2])
def test_a_prediction_says_why(client: Client, serving: Serving, version: int) -> None:
    found = client.predict(ROW, id=f"why-{version}", event_time=NOON, version=version, explain=True)
    assert list(found.attributions) == ["distance", "line", "rush", "hour"]
    assert found.explanation.scale == "log-odds"
    assert found.explanation.raw == pytest.approx(math.log(found.score / (1 - found.score)), abs=1e-4)
    assert found.attributions["distance"] > 0 < found.attributions["line"]
    assert serving.of(f"why-{version}") == [(f"why-{version}", {}, 5)]
    with pytest.raises(ValueError, match="ask with explain=True"):
        _ = client.predict(ROW).attributions


def test_of_several_classes_each_score_is_explained(serving: Serving) -> None:
    with Client(serving.address, pipeline="colours", seconds=30) as client:
        found = client.predict({"distance": [61.5, 3.0], "line": ["green", "red"]}, explain=True)
        assert len(found) == 2
        for each in found:
            raw = np.exp([why.raw for why in each.explanations])
            np.testing.assert_allclose(raw / raw.sum(), each.scores, atol=1e-5)
    with pytest.raises(ValueError, match="there are 3 scores, one for each class"):
        _ = found[0].score
    with pytest.raises(ValueError, match="there are 3 explanations, one for each class"):
        _ = found[0].attributions


def test_an_error_names_the_field_and_what_was_expected(client: Client) -> None:
    with pytest.raises(PenstockError) as caught:
        client.predict({"distance": "far", "rush": "yes", "line": "red"}, id="wrong")
    error = caught.value
    assert (error.code, error.fields, error.ids) == ("INVALID_ARGUMENT", ("distance", "rush"), ("wrong",))
    assert error.violations[0].description == "tensor 'distance' is BYTES, expected a numeric type"
    assert str(error).startswith("INVALID_ARGUMENT: tensor 'distance' is BYTES, expected a numeric type; ")
    with pytest.raises(PenstockError, match="did you mean 'distance'"):
        client.predict({"distanec": 1.0})


def test_a_pipeline_that_cannot_answer_yet_is_asked_until_the_deadline(serving: Serving) -> None:
    with Client(serving.address, pipeline="new", seconds=0.6) as client:
        assert client.ready() is False
        with pytest.raises(PenstockError, match=r"version 0 is not there yet \(asked \d times\)") as caught:
            client.predict(ROW)
    assert caught.value.code == "UNAVAILABLE"
    assert caught.value.attempts > 1


def test_what_a_pipeline_takes(client: Client) -> None:
    found = client.inputs()
    assert found.features == {"distance": "FP32", "line": "BYTES", "rush": "BOOL", "hour": "FP32"}
    assert (found.id, found.event_time, found.timestamps) == ("id", "t", frozenset())
    assert client.ready() is True


def asks(count: int) -> Iterator[Ask]:
    return (
        Ask(features={**ROW, "distance": float(place)}, id=f"s-{place}", event_time=NOON)
        for place in range(count)
    )


@pytest.mark.parametrize("batch", [1, 7])
def test_a_stream_answers_every_row_in_order(client: Client, batch: int) -> None:
    found = list(client.stream(asks(200), batch=batch))
    assert [each.id for each in found] == [f"s-{place}" for place in range(200)]
    alone = client.predict({**ROW, "distance": 77.0}, id="s-77", event_time=NOON)
    assert found[77] == alone


def test_a_stream_takes_plain_rows_and_says_why(client: Client) -> None:
    found = list(client.stream([ROW, OTHER], explain=True, version=2, parameters={"screen": "kiosk"}))
    assert [each.version for each in found] == [2, 2]
    assert len({each.id for each in found}) == 2
    assert all(len(each.attributions) == 4 for each in found)


def test_a_wrong_row_ends_a_stream_unless_somebody_is_told(client: Client) -> None:
    rows: list[Ask] = [*asks(3), Ask(features={"distance": "far"}, id="bad"), Ask(features=ROW, id="last")]
    told: list[PenstockError] = []
    found = [each.id for each in client.stream(rows, on_error=told.append)]
    assert found == ["s-0", "s-1", "s-2", "last"]
    assert [(each.code, each.ids) for each in told] == [("INVALID_ARGUMENT", ("bad",))]
    seen: list[str] = []
    with pytest.raises(PenstockError, match="'distance' is BYTES"):
        seen.extend(each.id for each in client.stream(rows))
    assert seen in ([], ["s-0", "s-1", "s-2"])


def test_a_stream_may_be_left(client: Client) -> None:
    taken = []

    def endless() -> Iterator[Ask]:
        place = 0
        while True:
            taken.append(place)
            yield Ask(features=ROW, id=f"e-{place}")
            place += 1

    stream = client.stream(endless())
    assert [next(stream).id for _ in range(3)] == ["e-0", "e-1", "e-2"]
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    assert len(taken) < 200, "rows are taken only a little ahead of the answers"
    assert client.predict(ROW).version == 1


def test_what_the_rows_fail_of_is_what_the_stream_raises(client: Client) -> None:
    def rows() -> Iterator[Ask]:
        yield Ask(features=ROW, id="good")
        raise LookupError("no more of them")

    stream = client.stream(rows())
    found = [next(stream).id]
    with pytest.raises(LookupError, match="no more of them"):
        next(stream)
    assert found == ["good"]
    with pytest.raises(TypeError, match="feature 'distance' has values of type set"):
        list(client.stream([{"distance": {1}}]))  # type: ignore[dict-item]  # that is the point


def test_asyncio_has_the_same_calls(serving: Serving) -> None:
    async def story() -> None:
        async with AsyncClient(serving.address, pipeline="trips", seconds=30) as client:
            assert await client.ready()
            assert (await client.inputs()).id == "id"
            one, two = await asyncio.gather(
                client.predict(ROW, id="async", event_time=NOON, explain=True),
                client.predict({"distance": [1.0, 2.0]}, id="async-many", version=0),
            )
            assert (one.id, next(iter(one.attributions))) == ("async", "distance")
            assert [each.id for each in two] == ["async-many/0", "async-many/1"]
            with pytest.raises(PenstockError, match="'distance' is BYTES") as caught:
                await client.predict({"distance": "far"})
            assert caught.value.fields == ("distance",)

            found = [each.id async for each in client.stream(asks(150), batch=4)]
            assert found == [f"s-{place}" for place in range(150)]

            async def arriving() -> AsyncIterator[Ask]:
                for ask in asks(3):
                    await asyncio.sleep(0)
                    yield ask
                yield Ask(features={"distance": "far"}, id="bad")
                yield Ask(features=ROW, id="last")

            told: list[PenstockError] = []
            found = [each.id async for each in client.stream(arriving(), on_error=told.append)]
            assert (found, [each.ids for each in told]) == (["s-0", "s-1", "s-2", "last"], [("bad",)])
            with pytest.raises(PenstockError, match="'distance' is BYTES"):
                _ = [each async for each in client.stream(arriving())]

    asyncio.run(story())


def test_an_async_stream_raises_what_its_rows_fail_of_and_may_be_left(serving: Serving) -> None:
    async def broken() -> AsyncIterator[Ask]:
        yield Ask(features=ROW, id="good")
        raise LookupError("no more of them")

    async def waiting_for_ever() -> AsyncIterator[Ask]:
        yield Ask(features=ROW, id="first")
        await asyncio.Event().wait()

    async def story() -> None:
        async with AsyncClient(serving.address, pipeline="trips", seconds=30) as client:
            stream: Any = client.stream(broken())
            assert (await anext(stream)).id == "good"
            with pytest.raises(LookupError, match="no more of them"):
                await anext(stream)
            stream = client.stream(waiting_for_ever())
            assert (await anext(stream)).id == "first"
            await stream.aclose()
            assert (await client.predict(ROW)).version == 1

    asyncio.run(story())


def test_to_import_it_is_light() -> None:
    code = (
        "import sys, time; began = time.process_time(); from penstock.client import Client; "
        "spent = time.process_time() - began; "
        "print(spent, *sorted({'grpc', 'google', 'numpy', 'pydantic'} & sys.modules.keys()))"
    )
    spent, *heavy = (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        .stdout.strip()
        .split()
    )
    assert heavy == []
    assert float(spent) < 0.15


def test_a_client_needs_nothing_of_the_server_but_its_messages() -> None:
    """What the extra `client` does not install is not imported, not even when it asks."""
    code = (
        "import sys; from penstock.client import *; c = Client('127.0.0.1:9', pipeline='p', retry=ONCE)\n"
        "try: c.predict({'a': 1}, seconds=0.2)\n"
        "except PenstockError as error: print(error.code)\n"
        "foreign = {'numpy', 'onnx', 'onnxruntime', 'confluent_kafka', 'fastavro', 'pydantic', 'structlog'}\n"
        "print(*sorted(foreign & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout.split() in (["UNAVAILABLE"], ["DEADLINE_EXCEEDED"])


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with (
        Client("127.0.0.1:9", pipeline="trips", retry=ONCE) as client,
        pytest.raises(PenstockError) as caught,
    ):
        client.predict(ROW, id="lost")
    assert (caught.value.code, caught.value.ids, caught.value.attempts) == ("UNAVAILABLE", ("lost",), 1)

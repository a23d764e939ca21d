"""When the client asks again: by itself where that can help, never after its deadline, under the same id."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import pytest

from penstock.client import ONCE, Ask, AsyncClient, Client, PenstockError, Prediction, Retry, Row
from tests.client.scripted import Refuses, Scripted

if TYPE_CHECKING:
    from collections.abc import Callable

ROW: Row = {"age": 41.0}
BUSY = Refuses("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!")
AWAY = Refuses("UNAVAILABLE")
QUICK = Retry(first=0.01)


def by_sync(server: Scripted, seconds: float, retry: Retry, *, id_: str | None = None) -> Prediction:
    with Client(server.address, pipeline="churn", seconds=seconds, retry=retry) as client:
        return client.predict(ROW, id=id_)


def by_asyncio(server: Scripted, seconds: float, retry: Retry, *, id_: str | None = None) -> Prediction:
    async def ask() -> Prediction:
        async with AsyncClient(server.address, pipeline="churn", seconds=seconds, retry=retry) as client:
            return await client.predict(ROW, id=id_)

    return asyncio.run(ask())


@pytest.fixture(params=[by_sync, by_asyncio])
def ask(request: pytest.FixtureRequest) -> Callable[..., Prediction]:
    found: Callable[..., Prediction] = request.param
    return found


def test_what_may_be_otherwise_a_moment_later_is_asked_again_under_the_same_id(
    ask: Callable[..., Prediction],
) -> None:
    with Scripted(AWAY, BUSY, AWAY) as server:
        found = ask(server, 20, QUICK)
        assert len(server.ids) == 4
        assert set(server.ids) == {found.id}
        assert len(found.id) == 32
    with Scripted(AWAY) as server:
        assert ask(server, 20, QUICK, id_="mine").id == "mine"
        assert server.ids == ["mine", "mine"]


def test_what_stays_as_it_is_is_not_asked_again(ask: Callable[..., Prediction]) -> None:
    large = Refuses("RESOURCE_EXHAUSTED", "Received message larger than max (5000000 vs. 4194304)")
    for refusal in (Refuses("INVALID_ARGUMENT"), Refuses("INTERNAL"), Refuses("NOT_FOUND"), large):
        with Scripted(refusal) as server:
            with pytest.raises(PenstockError) as caught:
                ask(server, 20, QUICK, id_="mine")
            assert caught.value.code == refusal.code.name
            assert server.ids == ["mine"]


def test_after_so_many_attempts_it_is_said(ask: Callable[..., Prediction]) -> None:
    with Scripted(*[AWAY] * 9) as server:
        with pytest.raises(PenstockError, match=r"UNAVAILABLE: not now \(asked 3 times\)") as caught:
            ask(server, 20, Retry(attempts=3, first=0.01))
        assert (caught.value.attempts, len(server.ids)) == (3, 3)
    with Scripted(AWAY) as server:
        with pytest.raises(PenstockError, match=r"UNAVAILABLE: not now$"):
            ask(server, 20, ONCE)
        assert len(server.ids) == 1


def test_a_server_that_says_when_is_not_asked_sooner(ask: Callable[..., Prediction]) -> None:
    with Scripted(Refuses("RESOURCE_EXHAUSTED", again=0.3)) as server:
        ask(server, 20, QUICK)
        first, second = server.times
        assert second - first >= 0.3


def test_nothing_is_asked_after_the_deadline(ask: Callable[..., Prediction]) -> None:
    with Scripted(*[AWAY] * 100) as server:
        began = time.monotonic()
        with pytest.raises(PenstockError) as caught:
            ask(server, 0.5, Retry(attempts=100, first=0.1))
        assert caught.value.code == "UNAVAILABLE"
        ended = time.monotonic()
        assert ended - began < 0.5 + 1.0, "grpc's own time aside, it ends with its deadline"
        assert all(asked <= began + 0.5 + 0.1 for asked in server.times)
    with Scripted(Refuses("UNAVAILABLE", again=60)) as server:
        began = time.monotonic()
        with pytest.raises(PenstockError) as caught:
            ask(server, 5, QUICK)
        assert caught.value.retry_after == 60
        assert time.monotonic() - began < 4, "what can only come too late is not waited for"


def test_field_violations_are_told(ask: Callable[..., Prediction]) -> None:
    wrong = Refuses("INVALID_ARGUMENT", "two things", fields=(("age", "is text"), ("plan", "is unknown")))
    with Scripted(wrong) as server, pytest.raises(PenstockError, match="INVALID_ARGUMENT: two") as caught:
        ask(server, 20, QUICK)
    assert caught.value.fields == ("age", "plan")
    assert caught.value.violations[1].description == "is unknown"


def test_a_server_that_comes_back_is_found_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Client(f"127.0.0.1:{port}", pipeline="churn", seconds=30, retry=Retry(attempts=1000)) as client:
        with pytest.raises(PenstockError) as caught:
            client.predict(ROW, seconds=0.3)
        assert caught.value.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
        for _ in range(2):
            with Scripted(port=port) as server:
                assert client.predict(ROW, id="back").id == "back"
                assert server.ids == ["back"]


@pytest.mark.parametrize(
    ("code", "attempt", "left", "wait"),
    [
        ("UNAVAILABLE", 1, 5.0, 0.05),
        ("UNAVAILABLE", 4, 5.0, 0.4),
        ("UNAVAILABLE", 9, 5.0, 1.0),
        ("UNAVAILABLE", 9, 0.9, None),
        ("UNAVAILABLE", 10, 5.0, None),
        ("DEADLINE_EXCEEDED", 1, 5.0, None),
        ("INTERNAL", 1, 5.0, None),
    ],
)
def test_how_long_is_waited(code: str, attempt: int, left: float, wait: float | None) -> None:
    assert Retry().wait(PenstockError(code, ""), attempt=attempt, left=left, chance=1.0) == wait


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    error = PenstockError("UNAVAILABLE", "", retry_after=2.0)
    waits = [Retry().wait(error, attempt=1, left=9.0, chance=chance) for chance in (0.0, 0.5, 1.0)]
    assert waits == [2.0, 2.025, 2.05]
    plain = PenstockError("UNAVAILABLE", "")
    waits = [Retry().wait(plain, attempt=5, left=9.0, chance=chance) for chance in (0.0, 1.0)]
    assert waits == [0.4, 0.8]


# Streams


def test_a_stream_that_breaks_says_what_has_no_answer() -> None:
    asks = [Ask(features=ROW, id=f"r-{place}") for place in range(4)]
    with Scripted(None, None, AWAY) as server, Client(server.address, pipeline="churn") as client:
        found = []
        with pytest.raises(PenstockError, match="not now") as caught:
            found += [each.id for each in client.stream(asks)]
        assert set(caught.value.ids) <= {"r-0", "r-1", "r-2", "r-3"}
        assert "r-2" in caught.value.ids


def test_a_server_that_ends_a_stream_early_has_not_answered() -> None:
    asks = [Ask(features=ROW, id=f"r-{place}") for place in range(4)]
    with Scripted() as server:
        server.ends_stream_after = 2
        with Client(server.address, pipeline="churn") as client, pytest.raises(PenstockError) as caught:
            list(client.stream(asks))
        assert (caught.value.code, caught.value.message) == ("UNAVAILABLE", "the server ended the stream")
        assert caught.value.ids[0] == "r-2"

        async def story() -> list[str]:
            async with AsyncClient(server.address, pipeline="churn") as other:
                return [each.id async for each in other.stream(asks)]

        with pytest.raises(PenstockError) as caught:
            asyncio.run(story())
        # grpc.aio's own word for it, where it had just been writing.
        assert caught.value.code in {"UNAVAILABLE", "INTERNAL"}
        assert "r-2" in caught.value.ids


def test_a_message_without_a_status_in_a_stream_is_an_error_all_the_same() -> None:
    from penstock.client.messages import replied  # noqa: PLC0415 - where it is tested
    from penstock.contracts import oip_pb2  # noqa: PLC0415 - as above

    reply = oip_pb2.ModelStreamInferResponse(error_message="odd: this").SerializeToString()
    with pytest.raises(PenstockError) as caught:
        replied(reply, ["a"])
    assert (caught.value.code, caught.value.message, caught.value.ids) == ("UNKNOWN", "odd: this", ("a",))

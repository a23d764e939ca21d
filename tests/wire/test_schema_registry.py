"""A schema registry is asked, believed, waited for or given up; nobody is held up by one that is ill."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from penstock.kernel.errors import Invalid
from penstock.runtime.errors import NotYet
from penstock.runtime.settings import WrongSetting
from penstock.runtime.wire.client import LARGEST_ANSWER, Access
from penstock.runtime.wire.registry import Found, Registry
from penstock.runtime.wire.settings import RegistrySettings
from tests.wire.fake import NOT_FOUND, QUIET, FakeRegistry, broken_off, dripping, registry, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.wire.fake import Answer, Handler

ORDER: dict[str, Any] = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}
GUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with registry() as there:
        yield there


@pytest.fixture
def clock() -> Clock:
    return Clock()


def client(fake: FakeRegistry, clock: Clock, *, wait: float = 10.0, **access: Any) -> Registry:
    return Registry(fake.url, Access(**access), wait=wait, clock=clock)


def reason(found: object) -> str:
    assert isinstance(found, Invalid)
    return found.reason


def test_an_id_is_asked_for_once(fake: FakeRegistry, clock: Clock) -> None:
    fake.knows(7, ORDER)
    fake.knows(GUID, ORDER, schemaType="AVRO")
    there = client(fake, clock)
    for _ in range(3):
        found = there.find(["7", GUID])
        assert all(isinstance(each, Found) and each.schema is not None for each in found.values())
        clock.now += 1e6
    assert fake.asked == ["/schemas/ids/7", f"/schemas/guids/{GUID}"]


def test_json_schemas_need_no_schema_to_be_read_and_others_cannot_be(
    fake: FakeRegistry, clock: Clock
) -> None:
    fake.knows(1, {"type": "object"}, schemaType="JSON")
    fake.knows(2, "syntax", schemaType="PROTOBUF")
    fake.knows(3, {"type": "array", "items": "null"})
    found = client(fake, clock).find(["1", "2", "3"])
    assert found["1"] == Found(schema=None)
    assert (reason(found["2"]), reason(found["3"])) == ("schema", "schema")
    assert "it is PROTOBUF, expected AVRO or JSON" in str(found["2"])


def test_schemas_are_made_whole_by_those_they_refer_to(fake: FakeRegistry, clock: Clock) -> None:
    buyer = {
        "type": "record",
        "name": "Buyer",
        "fields": [{"name": "home", "type": "geo.Place"}, {"name": "work", "type": ["null", "geo.Place"]}],
    }
    place = {
        "type": "record",
        "name": "Place",
        "namespace": "geo",
        "fields": [{"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}}],
    }
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "buyer", "type": "Buyer"}, {"name": "to", "type": "geo.Place"}],
    }
    references = [
        {"name": "Buyer", "subject": "buyer/value", "version": 3},
        {"name": "geo.Place", "subject": "place", "version": 1},
    ]
    fake.knows(7, order, references=references)
    fake.has("buyer%2Fvalue", 3, buyer, references=references[1:])
    fake.has("place", 1, place)
    found = client(fake, clock).find(["7"])["7"]
    assert isinstance(found, Found)
    assert found.schema is not None
    home = {"kind": "B"}
    record = {"buyer": {"home": home, "work": None}, "to": home}
    assert found.schema.read(found.schema.write(record)) == record
    assert fake.asked.count("/subjects/place/versions/1") == 1


def test_references_in_a_circle_end(fake: FakeRegistry, clock: Clock) -> None:
    refer = [{"name": "A", "subject": "a", "version": 1}]
    fake.knows(7, {**ORDER, "fields": [{"name": "a", "type": "A"}]}, references=refer)
    fake.has(
        "a", 1, {"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]}, references=refer
    )
    assert reason(client(fake, clock).find(["7"])["7"]) == "schema"


def test_an_unknown_id_is_waited_for_and_then_given_up(fake: FakeRegistry, clock: Clock) -> None:
    there = client(fake, clock)
    for _ in range(10):
        with pytest.raises(NotYet, match="schema 7 is not known"):
            there.find(["7"])
        clock.now += 1.0
    assert reason(there.find(["7"])["7"]) == "unknown_schema"
    asked = len(fake.asked)
    assert asked <= 11
    for _ in range(100):
        there.find(["7"])
    assert len(fake.asked) == asked, "an id that was given up is not asked for with each batch"
    fake.knows(7, ORDER)
    clock.now += 60
    assert isinstance(there.find(["7"])["7"], Found)


def test_a_schema_that_comes_in_time_is_read_with(fake: FakeRegistry, clock: Clock) -> None:
    there = client(fake, clock)
    with pytest.raises(NotYet):
        there.find(["7"])
    fake.knows(7, ORDER)
    clock.now += 1.5
    assert isinstance(there.find(["7"])["7"], Found)


def test_a_flood_of_unknown_ids_costs_one_wait(fake: FakeRegistry, clock: Clock) -> None:
    there = client(fake, clock)
    stalled = 0.0
    for name in range(1000):
        while True:
            try:
                assert reason(there.find([str(name)])[str(name)]) == "unknown_schema"
            except NotYet:
                clock.now += 0.5
                stalled += 0.5
            else:
                break
        clock.now += 0.05
    assert stalled <= 10.5


def test_after_a_while_an_unknown_id_is_waited_for_again(fake: FakeRegistry, clock: Clock) -> None:
    there = client(fake, clock)
    with pytest.raises(NotYet):
        there.find(["1"])
    clock.now += 11
    there.find(["1"])
    assert reason(there.find(["2"])["2"]) == "unknown_schema"
    clock.now += 61
    with pytest.raises(NotYet):
        there.find(["3"])


def test_a_number_that_is_no_id_is_not_asked_for(fake: FakeRegistry, clock: Clock) -> None:
    assert reason(client(fake, clock).find([str(2**31)])[str(2**31)]) == "unknown_schema"
    assert fake.asked == []


def garbage(handler: Handler) -> None:
    handler.wfile.write(b"\x00\x01\x02 garbage\r\n\r\n")


def hang_up(handler: Handler) -> None:
    handler.close_connection = True


ILL: dict[str, tuple[Answer, str]] = {
    "an error": ((500, b'{"error_code": 50001}'), "it answers 500"),
    "no registry": ((404, b"<html>Not here</html>"), "it answers 404"),
    "another api": ((404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'), "it answers 404"),
    "a login page": ((200, b"<html>Log in</html>"), "no JSON object"),
    "a list": ((200, b"[]"), "no JSON object"),
    "no schema": ((200, b"{}"), "no schema in it"),
    "moved": ((302, b""), "it answers 302"),
    "too many": ((429, b"{}"), "it answers 429"),
    "stranger": ((401, b"{}"), r"refuses these credentials \(401\)"),
    "forbidden": ((403, b"{}"), r"refuses these credentials \(403\)"),
    "garbage": (garbage, "."),
    "hangs up": (hang_up, "."),
    "breaks off": (broken_off, "breaks off"),
    "silent": (silent, f"no answer within {QUIET} s"),
    "dripping": (dripping, f"no answer within {QUIET} s"),
}


@pytest.mark.parametrize(("answer", "why"), ILL.values(), ids=ILL)
def test_a_registry_that_is_ill_is_waited_for(
    fake: FakeRegistry, clock: Clock, answer: Answer, why: str
) -> None:
    fake.otherwise = answer
    there = client(fake, clock, seconds=QUIET if answer in (silent, dripping) else 5.0)
    began = time.monotonic()
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(NotYet, match=f"at {fake.url} does not answer: .*{why}"):
                there.find(["7"])
            clock.now += 0.1
        assert len(fake.asked) == 1, "it is left alone for a moment"
        clock.now += 100
        with pytest.raises(NotYet):
            there.find(["7"])
        fake.otherwise = NOT_FOUND
        fake.knows(7, ORDER)
        clock.now += 100
        assert isinstance(there.find(["7"])["7"], Found)
    assert [line["event"] for line in lines] == ["registry_unavailable", "registry_unavailable_ended"]
    assert time.monotonic() - began < 20 * QUIET


def test_no_registry_there_at_all(clock: Clock) -> None:
    with registry() as gone:
        pass
    with pytest.raises(NotYet, match="Connection refused"):
        client(gone, clock).find(["7"])


def test_what_is_known_is_read_while_the_registry_is_away(fake: FakeRegistry, clock: Clock) -> None:
    fake.knows(7, ORDER)
    there = client(fake, clock)
    there.find(["7"])
    fake.answers.clear()
    fake.otherwise = (500, b"")
    assert isinstance(there.find(["7"])["7"], Found)


def test_a_registry_without_guids_has_none_of_them(fake: FakeRegistry, clock: Clock) -> None:
    fake.otherwise = (404, b"<html>no such resource</html>")
    there = client(fake, clock)
    with pytest.raises(NotYet, match="is not known to"):
        there.find([GUID])
    clock.now += 11
    assert reason(there.find([GUID])[GUID]) == "unknown_schema"


def test_an_answer_without_end_is_not_read_to_its_end(fake: FakeRegistry, clock: Clock) -> None:
    fake.answers["/schemas/ids/7"] = (200, b'{"schema": "' + b" " * (LARGEST_ANSWER + 9) + b'"}')
    assert reason(client(fake, clock).find(["7"])["7"]) == "schema"


def test_asking_for_many_gives_way_now_and_then(fake: FakeRegistry, clock: Clock) -> None:
    """The loop has to show that it is alive, and what was learned is kept."""

    def slow(handler: Any) -> None:
        clock.now += 4
        status, body = FakeRegistry.written(ORDER)
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    fake.otherwise = slow
    there = client(fake, clock)
    names = [str(each) for each in range(7)]
    rounds = 1
    while True:
        try:
            found = there.find(names)
        except NotYet:
            rounds += 1
        else:
            break
    assert (len(found), rounds, len(fake.asked)) == (7, 3, 7)


# -- who asks


def _setting(folder: Path, **settings: str) -> RegistrySettings:
    environment = {}
    for name, value in settings.items():
        text = value
        if name.endswith("_file"):
            path = folder / name
            path.write_text(value)
            text = str(path)
        environment[f"PENSTOCK_{name.upper()}"] = text
    return RegistrySettings.read(environment)


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"registry_user": "ann", "registry_password_file": "s3cret\n"}, "Basic YW5uOnMzY3JldA=="),
        ({"registry_token_file": "t0ken\n"}, "Bearer t0ken"),
        ({}, None),
    ],
)
def test_credentials_go_to_the_registry_they_are_for(
    fake: FakeRegistry, tmp_path: Path, settings: dict[str, str], header: str | None
) -> None:
    with registry() as other:
        for each in (fake, other):
            each.knows(7, ORDER)
        set_for = _setting(tmp_path, registry_url=f"{fake.url}/", **settings)
        registries = set_for.registries()
        registries.at(fake.url).find(["7"])
        registries.at(other.url).find(["7"])
        assert fake.headers[0].get("Authorization") == header
        assert "Authorization" not in other.headers[0]


def test_a_changed_secret_counts_at_once(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.knows(1, ORDER)
    fake.knows(2, ORDER)
    secret = {"registry_token_file": "old"}
    set_for = _setting(tmp_path, registry_url=fake.url, **secret)
    there = set_for.registries().at(fake.url)
    there.find(["1"])
    (tmp_path / "registry_token_file").write_text("new")
    there.find(["2"])
    assert [each["Authorization"] for each in fake.headers] == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("secret", ["two\nlines", "é", "\x7f"])
def test_a_secret_that_cannot_be_sent_is_not_shown(fake: FakeRegistry, tmp_path: Path, secret: str) -> None:
    there = _setting(tmp_path, registry_url=fake.url, registry_token_file=secret).registries().at(fake.url)
    with pytest.raises(NotYet, match="holds no secret of one line") as told:
        there.find(["1"])
    assert secret not in str(told.value)
    assert fake.asked == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"registry_user": "ann"}, "credentials are set, but not PENSTOCK_REGISTRY_URL"),
        (
            {"registry_url": "http://r", "registry_user": "ann", "registry_token_file": "t"},
            "both PENSTOCK_REGISTRY_USER and PENSTOCK_REGISTRY_TOKEN_FILE",
        ),
    ],
)
def test_credentials_that_do_not_fit_together(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    with pytest.raises(WrongSetting, match=told):
        _setting(tmp_path, **settings).registries()


def test_a_secret_that_is_not_there() -> None:
    settings = RegistrySettings.read(
        {"PENSTOCK_REGISTRY_URL": "http://r", "PENSTOCK_REGISTRY_TOKEN_FILE": "/nowhere/token"}
    )
    with pytest.raises(
        WrongSetting, match="PENSTOCK_REGISTRY_TOKEN_FILE names '/nowhere/token', which is no"
    ):
        settings.registries()

"""`init --from-topics`: what is proposed is what the topics hold, and `check` accepts it as it is."""

from __future__ import annotations

import io
import json
import re
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import numpy as np
import pytest
from ruamel.yaml import YAML

from penstock.cli import main
from penstock.cli.demo.flights import flights
from penstock.cli.exits import Exit
from penstock.cli.specfile import load
from penstock.kernel.kinds import Boolean, Category, Number, TimePart
from penstock.runtime.avro import Schema, read_container
from tests.cli.sampling import BEGUN, DAY, HOUR, NOW, Producers, customers, outcomes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.kernel.pipeline import Pipeline

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
TOPICS = ("crm.events", "crm.outcomes")
INIT = ("init", "--from-topics", *TOPICS)


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> Producers:
    """Two thousand customers, and what became of them."""
    made = Producers(monkeypatch, *TOPICS)
    events = list(customers(2_000))
    made.send("crm.events", [*events, (NOW, b"{oops")], key="event_id")
    made.send("crm.outcomes", outcomes(events), key="event_id")
    return made


def proposed(folder: Path, *words: str) -> tuple[Pipeline, str]:
    """The file that is written, as it is and as `check` reads it."""
    path = folder / "proposed.yaml"
    assert main([*(words or INIT), "-o", str(path)]) == Exit.OK
    assert main(["check", str(path)]) == Exit.OK
    return load(path), path.read_text("utf-8")


@pytest.mark.usefixtures("producers")
def test_what_the_topics_hold_is_proposed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline, text = proposed(tmp_path)
    assert (pipeline.name, pipeline.task) == ("crm", "binary")
    assert (pipeline.events.id, pipeline.events.time) == ("event_id", "at")
    assert (pipeline.labels.id, pipeline.labels.time, pipeline.labels.value) == ("event_id", "at", "churned")
    assert pipeline.labels.horizon == 14 * DAY, "99% of exp(normal / 2) * 4 days: within 12.8"
    assert {each.name: (type(each.kind), each.field) for each in pipeline.features} == {
        "age": (Number, "age"),
        "visits": (Number, "visits"),
        "plan": (Category, "plan"),
        "vip": (Boolean, "vip"),
        "user_country": (Category, "user.country"),
        "user_since_hour": (TimePart, "user.since"),
        "user_since_weekday": (TimePart, "user.since"),
        "hour": (TimePart, "at"),
        "weekday": (TimePart, "at"),
    }
    kinds = {each.name: each.kind for each in pipeline.features}
    assert kinds["plan"] == Category(values=("free", "plus", "pro"))
    country = kinds["user_country"]
    assert isinstance(country, Category)
    assert country.values == ("DE", "FR", "NO"), "Norway is no boolean"
    assert pipeline.pii == (("user.email", "drop"),)
    for path, why in {
        "note": "2,000 different texts in 2,000 rows",
        "source": "it is the same in every row",
        "zip": "numbers written as text",
        "mixed": "its values are of several types: 66.",
        "tags": "it is a list",
        "signup": "seconds since 1970, it seems",
        "user.email": "it looks like personal data",
    }.items():
        assert re.search(rf"#   {re.escape(path)}: .*{re.escape(why)}", text), path
    assert "written otherwise: 1 record of the sample" in text
    assert "@example.com" not in text + capsys.readouterr().out


@pytest.mark.usefixtures("producers")
def test_nearly_all_of_the_sample_would_be_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proposed(tmp_path)
    capsys.readouterr()
    assert main(["check", str(tmp_path / "proposed.yaml"), "--sample", "5000", "-o", "json"]) == Exit.OK
    sample = json.loads(capsys.readouterr().out)["sample"]
    assert [(each["reason"], each["count"]) for each in sample["events"]["refused"]] == [("undecodable", 1)]
    assert sample["labels"]["refused"] == []
    assert sample["met"]["found"] == sample["met"]["labels"]
    assert sample["met"]["late"] <= 0.01 * sample["met"]["labels"]


@pytest.mark.usefixtures("producers")
def test_yaml_goes_to_stdout_and_the_rest_to_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert main([*INIT]) == Exit.OK
    said = capsys.readouterr()
    path = tmp_path / "x.yaml"
    path.write_text(said.out, "utf-8")
    assert main(["check", str(path)]) == Exit.OK
    assert "labels find their event (100%)" in said.err
    bars = [line for line in said.err.splitlines() if "█" in line]
    assert 4 <= len(bars) <= 15
    assert max(map(len, bars)) <= 72
    assert "\x1b" not in said.err
    [marked] = [line for line in bars if "half" in line]
    assert "3d – 4d" in marked or "4d – 5d" in marked


@pytest.mark.usefixtures("producers")
def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "-o", "json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert told["pipeline"]["labels"]["value"] == "churned"
    assert told["ids"][0] == {"events": "event_id", "labels": "event_id", "unique": 1.0, "shared": 1.0}
    assert sum(each["count"] for each in told["delays"]["bins"]) == told["delays"]["counted"]
    assert YAML(typ="safe", pure=True).load(told["yaml"])["pipeline"] == "crm"


@pytest.mark.usefixtures("producers")
def test_a_file_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    assert main([*INIT, "-o", str(path)]) == Exit.CONFLICT
    assert capsys.readouterr().err == f"{path} is there already: --force overwrites it\n"
    assert path.read_text() == "mine"
    assert main([*INIT, "-o", str(path), "--force", "--name", "churn"]) == Exit.OK
    assert load(path).name == "churn"


def test_nothing_is_written_to_the_topics(producers: Producers) -> None:
    before = {where: log.end for where, log in producers.broker.logs.items()}
    assert main([*INIT]) == Exit.OK
    assert {where: log.end for where, log in producers.broker.logs.items()} == before
    assert producers.broker.groups == {}


# -- the flights


def flown(producers: Producers, *, avro: bool) -> list[str]:
    """Three days of flights as their example has them; the words that name their schemas."""
    with (EXAMPLE / "flights.avro").open("rb") as file:
        chosen = list(flights(read_container(file), days=3, every=1))
    landed = [each.label for each in chosen if each.label]
    for topic, schema, records in (
        ("flights.departures", "departure.avsc", [each.event for each in chosen]),
        ("flights.arrivals", "arrival.avsc", sorted(landed, key=lambda each: each["t"])),
    ):
        read = Schema((EXAMPLE / schema).read_text("utf-8"))
        encode = (lambda record, read=read: read.header + read.write(record)) if avro else json_of
        producers.send(topic, [(NOW, record) for record in records], encode=encode, key="id")
    files = [EXAMPLE / name for name in ("departure.avsc", "arrival.avsc")]
    return [word for file in files for word in ("--schema", str(file))] if avro else []


def json_of(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record).encode()


@pytest.mark.parametrize("avro", [True, False])
def test_the_flights_are_proposed_as_their_example_has_them(
    avro: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    producers = Producers(monkeypatch, "flights.departures", "flights.arrivals")
    words = flown(producers, avro=avro)
    command = ("init", "--from-topics", "flights.departures", "flights.arrivals", *words)
    pipeline, text = proposed(tmp_path, *command)
    example = load(EXAMPLE / "flights.yaml")
    assert (pipeline.name, pipeline.events.id, pipeline.events.time) == ("flights", "id", "t")
    assert pipeline.events.format == example.events.format if avro else pipeline.events.format.wire == "json"
    assert (pipeline.labels.id, pipeline.labels.time, pipeline.labels.value) == ("id", "t", "arr_delay")
    assert pipeline.task == "regression"
    assert re.search(r'# For a yes or no: task: binary, and here positive: ">= \d+"', text)
    assert 3 * HOUR <= pipeline.labels.horizon <= 36 * HOUR
    ours = {each.name: type(each.kind) for each in pipeline.features}
    theirs = {each.name: type(each.kind) for each in example.features if each.field != "t"}
    del theirs["precip"]
    assert "precip: it is the same in every row" in text, "three dry days"
    assert {name: kind for name, kind in ours.items() if name in theirs} == theirs


# -- other ways of writing


USER: dict[str, Any] = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "order", "type": {"type": "record", "name": "Order", "fields": [
            {"name": "ref", "type": "string"}, {"name": "total", "type": ["null", "double"]},
        ]}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}  # fmt: skip
LABEL: dict[str, Any] = {
    "type": "record",
    "name": "Label",
    "fields": [
        {"name": "ref", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "returned", "type": "boolean"},
    ],
}


def orders(count: int = 200) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
    """Events and labels of the schemas above; their times are microseconds."""
    events, labels = [], []
    for number in range(count):
        at = BEGUN + number * HOUR
        event = {"order": {"ref": f"o-{number}", "total": number * 1.5}, "at": at * 1000}
        events.append((at, event))
        known = at + (2 + number % 5) * HOUR
        labels.append((known, {"ref": f"o-{number}", "at": known * 1000, "returned": number % 7 == 0}))
    return events, sorted(labels, key=lambda pair: pair[0])


def is_orders(pipeline: Pipeline) -> None:
    assert (pipeline.events.id, pipeline.events.time, pipeline.labels.id) == ("order.ref", "at", "ref")
    assert pipeline.labels.value == "returned"
    assert pipeline.labels.horizon == 6 * HOUR
    assert {each.name: each.field for each in pipeline.features} == {
        "order_total": "order.total",
        "hour": "at",
        "weekday": "at",
    }


def sent(monkeypatch: pytest.MonkeyPatch, folder: Path, prefix: Mapping[str, bytes]) -> None:
    producers = Producers(monkeypatch, *TOPICS)
    for topic, schema, records in zip(TOPICS, (USER, LABEL), orders(), strict=True):
        (folder / f"{schema['name']}.avsc").write_text(json.dumps(schema))
        plain = Schema(json.dumps(schema))
        before = prefix.get(topic, plain.header)
        producers.send(topic, records, encode=partial(prefixed, before, plain))


def prefixed(before: bytes, schema: Schema, record: Mapping[str, Any]) -> bytes:
    return before + schema.write(record)


def test_single_objects_need_their_schemas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent(monkeypatch, tmp_path, {})
    assert main([*INIT]) == Exit.USAGE
    said = capsys.readouterr().err
    assert re.match(
        r"crm\.events holds single-object Avro of 1 schema \([0-9a-f]{16}\): give --schema FILE", said
    )
    schemas = [word for name in ("Label", "Event") for word in ("--schema", str(tmp_path / f"{name}.avsc"))]
    pipeline, text = proposed(tmp_path, *INIT, *schemas)
    is_orders(pipeline)
    assert "format: {avro: Event.avsc}" in text, "as it is named beside the file"


def test_ids_of_a_registry_need_files_or_a_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guid = uuid.UUID(int=9)
    sent(monkeypatch, tmp_path, {TOPICS[0]: b"\0\0\0\0\7", TOPICS[1]: b"\1" + guid.bytes})
    assert main([*INIT]) == Exit.USAGE
    assert (
        "with the schemas 7 of a registry: give --registry URL, or --schema 7=FILE" in capsys.readouterr().err
    )
    files = {"7": "Event.avsc", str(guid): "Label.avsc"}
    schemas = [word for name, file in files.items() for word in ("--schema", f"{name}={tmp_path / file}")]
    pipeline, text = proposed(tmp_path, *INIT, *schemas)
    is_orders(pipeline)
    assert "format: {confluent: {7: Event.avsc}}" in text
    assert main([*INIT, "--registry", "http://127.0.0.1:1", "--seconds", "1"]) == Exit.UNREACHABLE
    assert "the schema registry at http://127.0.0.1:1 does not answer" in capsys.readouterr().err


def test_containers_say_themselves_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    producers = Producers(monkeypatch, *TOPICS)
    for topic, schema, records in zip(TOPICS, (USER, LABEL), orders(), strict=True):
        producers.send(topic, records, encode=partial(contained, schema))
    pipeline, text = proposed(tmp_path)
    is_orders(pipeline)
    assert "format: {avro: container}" in text


def contained(schema: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, dict(schema), [record])
    return out.getvalue()


@pytest.mark.parametrize("structured", [True, False])
def test_cloud_events_are_taken_out_of_their_envelopes(
    structured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    producers = Producers(monkeypatch, *TOPICS)
    events = list(customers(300))
    stamps = {
        str(event["event_id"]): np.datetime64(at, "ms").item().isoformat() + "Z" for at, event in events
    }

    def enveloped(record: Mapping[str, Any]) -> bytes:
        name = record["event_id"]
        data = {key: value for key, value in record.items() if key not in {"event_id", "at"}}
        if not structured:
            return json_of(data)
        head = {"specversion": "1.0", "id": name, "source": "/crm", "type": "crm.event", "time": stamps[name]}
        return json_of({**head, "data": data})

    def headers(record: Mapping[str, Any]) -> tuple[tuple[str, bytes], ...]:
        name = record["event_id"]
        head = {"specversion": "1.0", "id": name, "source": "/crm", "type": "crm.event", "time": stamps[name]}
        return () if structured else tuple((f"ce_{key}", value.encode()) for key, value in head.items())

    producers.send("crm.events", events, encode=enveloped, headers=headers)
    producers.send("crm.outcomes", outcomes(events))
    pipeline, text = proposed(tmp_path)
    assert (pipeline.events.id, pipeline.events.time) == ("ce.id", "ce.time")
    assert "format: {cloudevents: json}" in text
    assert "visits" in pipeline.feature_names


# -- what a sample cannot say


def test_where_the_last_records_do_not_meet_more_events_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    producers = Producers(monkeypatch, *TOPICS)
    events = list(customers(6_000))
    producers.send("crm.events", events, key="event_id")
    producers.send("crm.outcomes", outcomes(events, median=20 * DAY), key="event_id")
    pipeline, text = proposed(tmp_path, *INIT, "--sample", "150")
    assert "from the last 450 records of crm.events" in text
    assert "# 99% came within" in text
    assert pipeline.labels.horizon in {45 * DAY, 60 * DAY, 90 * DAY}, "20 days * exp(1.16) are 64"


def test_a_horizon_that_is_a_guess_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    producers = Producers(monkeypatch, *TOPICS)
    producers.send("crm.events", list(customers(100)))
    strangers = [(at, {**label, "event_id": f"x-{at}"}) for at, label in outcomes(customers(100))]
    producers.send("crm.outcomes", strangers)
    pipeline, text = proposed(tmp_path)
    assert pipeline.labels.horizon == 30 * DAY
    assert "# a guess: only 0 labels found an event in the sample" in text
    assert "the horizon is a guess" in capsys.readouterr().err


def test_what_gives_the_answer_away_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    producers = Producers(monkeypatch, *TOPICS)
    events = list(customers(200))
    labels = outcomes(events)
    known = {label["event_id"]: label["churned"] for _, label in labels}
    events = [(at, {**each, "state": known.get(each["event_id"], False)}) for at, each in events]
    producers.send("crm.events", events)
    producers.send("crm.outcomes", labels)
    pipeline, text = proposed(tmp_path)
    assert "state" not in pipeline.feature_names
    assert "#   state: it says what the label says" in text


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([0, 1], "binary", ()),
        (["won", "lost", "drawn"], "multiclass", ("drawn", "lost", "won")),
        ([1.5, 2, 3, 4, 5, 6], "regression", ()),
    ],
)
def test_the_task_follows_from_the_labels(
    values: list[Any], task: str, classes: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    producers = Producers(monkeypatch, *TOPICS)
    events = list(customers(120))
    producers.send("crm.events", events)
    labels = [
        (at, {"event_id": label["event_id"], "at": at, "result": values[number % len(values)]})
        for number, (at, label) in enumerate(outcomes(events))
    ]
    producers.send("crm.outcomes", labels)
    pipeline, _ = proposed(tmp_path)
    assert (pipeline.task, pipeline.classes) == (task, classes)


@pytest.mark.parametrize(
    ("events", "labels", "code", "message"),
    [
        ([], [], Exit.FAILED, "crm.events holds no record: there is nothing to learn from"),
        (
            [b"\xff\xfe"],
            [b"{}"],
            Exit.FAILED,
            "crm.events: no wire format is recognised: values begin with fffe",
        ),
        (
            [b'{"id": "a", "at": 1750000000}'],
            [b'{"id": "a", "at": 1750000000, "y": true}'],
            Exit.FAILED,
            "no field of crm.events is a time in every record: ISO-8601 or milliseconds",
        ),
        (
            [b'{"at": 1750000000000}'],
            [b'{"at": 1750000000000, "y": true}'],
            Exit.FAILED,
            "no field names the same in crm.events and crm.outcomes",
        ),
        (
            [b'{"id": "a", "at": 1750000000000}'],
            [b'{"id": "a", "at": 1750000000000}'],
            Exit.FAILED,
            "no field of crm.outcomes can be the label: id, at",
        ),
    ],
)
def test_what_cannot_be_proposed_is_one_line(  # noqa: PLR0917 - what a case is made of
    events: list[bytes],
    labels: list[bytes],
    code: Exit,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    producers = Producers(monkeypatch, *TOPICS)
    producers.send("crm.events", [(NOW, each) for each in events])
    producers.send("crm.outcomes", [(NOW, each) for each in labels])
    assert main([*INIT]) == code
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["init"], Exit.USAGE, "required: --from-topics"),
        (["init", "--from-topics", "a", "a"], Exit.USAGE, "labels need a topic of their own"),
        (
            ["init", "--from-topics", "crm.event", "crm.outcomes"],
            Exit.NOT_FOUND,
            "did you mean 'crm.events'?",
        ),
        ([*INIT, "--name", "No!"], Exit.USAGE, "--name: expected a name of lower case letters"),
        ([*INIT, "--schema", "nowhere.avsc"], Exit.USAGE, "there is no file 'nowhere.avsc'"),
    ],
)
@pytest.mark.usefixtures("producers")
def test_wrong_usage_is_one_line(
    words: list[str], code: Exit, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)

"""`produce` and `tail` on the in-memory broker."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import fastavro
import numpy as np
import pytest

from penstock.cli import main, produce, tail
from penstock.cli.apply import apply
from penstock.cli.exits import Exit, Failure
from penstock.cli.recordfile import read
from penstock.contracts.records import FeatureRow, JoinAdvanced, Label
from penstock.ingest.domain.intake import event_paths, label_paths, take_events, take_labels
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.avro import Schema
from penstock.runtime.broker import Message, Topic, TopicPartition
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.codec import Codec
from penstock.runtime.memory import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from penstock.runtime.settings import Settings

NAMES = Names("penstock.")
TITANIC = Pipeline.read(
    {
        "pipeline": "titanic",
        "task": "binary",
        "events": {"topic": "titanic.passengers", "id": "id", "time": "at"},
        "labels": {
            "topic": "titanic.fates",
            "id": "id",
            "time": "at",
            "value": "survived",
            "horizon": "30d",
        },
        "features": {
            "pclass": {"category": ["1", "2", "3"]},
            "trial": "boolean",
            "fare": "number",
            "hour": {"hour": "boarded"},
        },
    }
)
PERSON = json.dumps(
    {
        "type": "record",
        "name": "Person",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "born", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    }
)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    memory = MemoryBroker(now=iter(range(1_000_000)).__next__)
    memory.create(
        [Topic(name=name, partitions=3) for name in ("people", "penstock.schemas", "penstock.labels")]
    )

    @contextmanager
    def connected(_settings: Settings) -> Iterator[MemoryBroker]:
        yield memory

    monkeypatch.setattr(produce, "connected", connected)
    monkeypatch.setattr(tail, "connected", connected)
    return memory


def values(broker: MemoryBroker, topic: str) -> list[Any]:
    return [json.loads(record.value or b"") for record in broker.records(topic)]


def test_json_lines_are_sent_with_their_key(broker: MemoryBroker, tmp_path: Path) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text('{"id": "a", "age": 1}\n\n{"id": "b", "age": null}\n')
    assert main(["produce", str(file), "--topic", "people", "--key", "id"]) == Exit.OK
    sent = {record.key: json.loads(record.value or b"") for record in broker.records("people")}
    assert sent == {b"a": {"id": "a", "age": 1}, b"b": {"id": "b", "age": None}}


def test_csv_cells_are_numbers_where_json_writes_them_so(broker: MemoryBroker, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("id,age,weight,plan,badge,seats\n7,41,70.5,,007,1_000\n")
    assert main(["produce", str(file), "--topic", "people", "--key", "id"]) == Exit.OK
    assert values(broker, "people") == [
        {"id": "7", "age": 41, "weight": 70.5, "plan": None, "badge": "007", "seats": "1_000"}
    ]


def test_csv_cells_are_what_the_applied_pipeline_says(broker: MemoryBroker, tmp_path: Path) -> None:
    apply(TITANIC, broker, NAMES)
    events, labels = tmp_path / "events.csv", tmp_path / "labels.csv"
    events.write_text("id,at,pclass,trial,fare,boarded\n007,1357016400000,3,1,0072,2013-01-01T05:00:00Z\n")
    labels.write_text("id,at,survived\n007,1357016400000,0\n")
    assert main(["produce", str(events), "--topic", "titanic.passengers"]) == Exit.OK
    assert main(["produce", str(labels), "--topic", "titanic.fates"]) == Exit.OK
    [event], [label] = values(broker, "titanic.passengers"), values(broker, "titanic.fates")
    assert event == {
        "id": "007",
        "at": 1357016400000,
        "pclass": "3",
        "trial": True,
        "fare": 72,
        "boarded": "2013-01-01T05:00:00Z",
    }
    assert label == {"id": "007", "at": 1357016400000, "survived": False}
    now = 1357016400000
    taken = take_events(TITANIC, {path: [event[path]] for path in event_paths(TITANIC)}, [now])
    assert (taken.refused, taken.matrix.tolist()) == ({}, [[3.0, 1.0, 72.0, 5.0]])
    labelled = take_labels(TITANIC, {path: [label[path]] for path in label_paths(TITANIC)}, [now])
    assert [each.label for each in labelled.labels] == [0.0]


def test_csv_cells_are_what_the_schema_says(broker: MemoryBroker, tmp_path: Path) -> None:
    file, schema = tmp_path / "people.csv", tmp_path / "person.avsc"
    file.write_text("id,born\n7,1357028100000\n")
    schema.write_text(PERSON)
    assert main(["produce", str(file), "--topic", "people", "--schema", str(schema)]) == Exit.OK
    [record] = broker.records("people")
    assert Schema(PERSON).read((record.value or b"")[10:]) == {"id": "7", "born": 1357028100000}


def test_a_row_with_too_many_cells_says_where(
    broker: MemoryBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("id,age\n7,41\n8,1,2\n")
    assert main(["produce", str(file), "--topic", "people"]) == Exit.INVALID
    assert capsys.readouterr().err.endswith("people.csv:3:5: more cells than the header has\n")
    assert len(broker.records("people")) == 1


def test_a_container_becomes_single_object_avro_of_the_schema(broker: MemoryBroker, tmp_path: Path) -> None:
    container, schema = tmp_path / "people.avro", tmp_path / "person.avsc"
    schema.write_text(PERSON)
    with container.open("wb") as file:
        fastavro.writer(file, json.loads(PERSON), [{"id": "a", "born": 1357028100000}])
    assert main(["produce", str(container), "--topic", "people", "--schema", str(schema)]) == Exit.OK
    [record] = broker.records("people")
    assert record.value is not None
    assert record.value[:2] == b"\xc3\x01"
    broker.producer().send(Message("penstock.schemas", PERSON.encode(), b"fingerprint"))
    decoder = tail.Decoder(broker, "penstock.")
    assert decoder.decode(record.value) == ("Person", {"id": "a", "born": 1357028100000})


@pytest.mark.parametrize(
    ("text", "arguments", "code", "message"),
    [
        ("{}\n", ["--topic", "peeple"], Exit.NOT_FOUND, "no topic 'peeple' (did you mean 'people'?)"),
        ("{\n", ["--topic", "people"], Exit.INVALID, "x.jsonl:1:"),
        ("[1]\n", ["--topic", "people"], Exit.INVALID, "x.jsonl:1:1: expected a JSON object"),
        ('{"a": 1}\n', ["--topic", "people", "--key", "id"], Exit.INVALID, "a record has no field 'id'"),
    ],
)
def test_what_cannot_be_sent_is_one_line(  # noqa: PLR0917 - what a case is made of
    text: str,
    arguments: list[str],
    code: Exit,
    message: str,
    broker: MemoryBroker,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(text)
    assert main(["produce", str(file), *arguments]) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert broker.records("people") == []


def test_a_record_that_does_not_fit_the_schema_names_itself(broker: MemoryBroker, tmp_path: Path) -> None:
    file, schema = tmp_path / "x.jsonl", tmp_path / "person.avsc"
    file.write_text('{"id": "a"}\n')
    schema.write_text(PERSON)
    assert main(["produce", str(file), "--topic", "people", "--schema", str(schema)]) == Exit.INVALID
    assert broker.records("people") == []


def test_an_ending_that_says_nothing_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"cannot read '\.parquet'") as failure:
        list(read(tmp_path / "x.parquet", {}))
    assert failure.value.code == Exit.USAGE


def test_a_missing_topic_is_created_when_asked_to(broker: MemoryBroker, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("{}\n")
    assert main(["produce", str(file), "--topic", "fresh", "--create", "2"]) == Exit.OK
    assert broker.topics()["fresh"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topic", "a b", "--create", "2"], "--topic: expected a topic's name of letters"),
        (["--topic", "fresh", "--create", "0"], "'0' is not a whole number, 1 or more"),
        (["--topic", "fresh", "--create", "-1"], "'-1' is not a whole number, 1 or more"),
    ],
)
def test_a_topic_that_cannot_be_created_is_wrong_usage(
    arguments: list[str],
    message: str,
    broker: MemoryBroker,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = broker.topics()
    file = tmp_path / "x.jsonl"
    file.write_text("{}\n")
    assert main(["produce", str(file), *arguments]) == Exit.USAGE
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert broker.topics() == before


def test_one_record_is_said_to_be_one(
    broker: MemoryBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("{}\n")
    assert main(["produce", str(file), "--topic", "people"]) == Exit.OK
    assert capsys.readouterr().err == "1 record sent to people\n"
    assert len(broker.records("people")) == 1


def test_tail_decodes_by_the_schemas_topic(broker: MemoryBroker, capsys: pytest.CaptureFixture[str]) -> None:
    codec = Codec()
    producer = broker.producer()
    for fingerprint, text in codec.texts().items():
        producer.send(Message("penstock.schemas", text, fingerprint))
    producer.send(Message("penstock.labels", codec.encode(Label(id="a", time=7, label=1.0)), b"a"))
    assert main(["tail", "labels", "-o", "json"]) == Exit.OK
    shown = json.loads(capsys.readouterr().out)
    assert (shown["topic"], shown["key"]) == ("penstock.labels", "a")
    assert (shown["record"], shown["value"]) == ("Label", {"id": "a", "time": 7, "label": 1.0})


def test_a_line_says_which_record_it_is(broker: MemoryBroker, capsys: pytest.CaptureFixture[str]) -> None:
    apply(TITANIC, broker, NAMES)
    catalog = Catalog(broker, NAMES)
    rows = catalog.codec.rows(FeatureRow, "titanic", TITANIC.features_digest, TITANIC.feature_names)
    producer = broker.producer()
    [row] = rows.encode([FeatureRow(id="a", time=7, cleared=(), flags=())], np.array([[3.0, 1.0, 7.5, 5.0]]))
    producer.send(Message("penstock.titanic.features", row, b"a", partition=0))
    advanced = JoinAdvanced(watermark=7, idle=True, repeats=0, duplicate_labels=0, stale_labels=0)
    producer.send(Message("penstock.titanic.outcomes", catalog.codec.encode(advanced), b"b", partition=0))
    producer.send(Message("people", b'{"age":1}', None, partition=0))
    producer.send(Message("people", None, b"c", partition=1))
    for topic in ("titanic.features", "titanic.outcomes", "people"):
        assert main(["tail", topic]) == Exit.OK
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()] == [
        ["0:0", "a", "FeatureRow"],
        ["0:0", "b", "JoinAdvanced"],
        ["0:0", "–", "–"],
        ["1:0", "c", "–"],
    ]


def test_a_raw_topic_is_decoded_by_the_schema_of_the_pipeline(
    broker: MemoryBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    form = {"avro": {"schema": json.loads(PERSON)}}
    pipeline = {
        "pipeline": "people",
        "task": "regression",
        "events": {"topic": "town.people", "id": "id", "time": "born", "format": form},
        "labels": {"topic": "town.ends", "id": "id", "time": "t", "value": "age", "horizon": "30d"},
        "features": {"month": {"month": "born"}},
    }
    apply(Pipeline.read(pipeline), broker, NAMES)
    person = Schema(PERSON)
    payload = person.header + person.write({"id": "a", "born": 7})
    broker.producer().send(Message("town.people", payload, b"a"))
    broker.producer().send(Message("penstock.schemas", b"no schema", b"x"))
    assert main(["tail", "town.people", "-o", "json"]) == Exit.OK
    shown = json.loads(capsys.readouterr().out)
    assert (shown["record"], shown["value"]) == ("Person", {"id": "a", "born": 7})


def test_a_count_below_zero_is_wrong_usage(broker: MemoryBroker, capsys: pytest.CaptureFixture[str]) -> None:
    assert broker.topics()
    assert main(["tail", "people", "-n", "-3"]) == Exit.USAGE
    assert "'-3' is not a whole number, 0 or more" in capsys.readouterr().err


def test_tail_shows_what_nobody_can_decode_as_hexadecimal(
    broker: MemoryBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.producer().send(Message("people", b"\x00\x01", None))
    assert main(["tail", "people"]) == Exit.OK
    assert capsys.readouterr().out.rstrip().endswith('"0001"')


def test_tail_finds_the_last_records_behind_markers_and_across_partitions(broker: MemoryBroker) -> None:
    transactions = broker.transactional("t")
    for number in range(40):  # every one followed by a marker
        transactions.begin()
        transactions.send([Message("people", str(number).encode(), partition=number % 3)])
        transactions.commit()
    ends = broker.ends(TopicPartition("people", number) for number in range(3))
    assert [record.value for record in tail.last(broker, ends, 5)] == [b"35", b"36", b"37", b"38", b"39"]
    assert len(tail.last(broker, ends, 1_000)) == 40
    assert tail.last(broker, ends, 0) == []


def test_an_unknown_topic_is_not_found(broker: MemoryBroker, capsys: pytest.CaptureFixture[str]) -> None:
    assert broker.topics()
    assert main(["tail", "peple"]) == Exit.NOT_FOUND
    assert "did you mean 'people'?" in capsys.readouterr().err

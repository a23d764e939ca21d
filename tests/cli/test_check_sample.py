"""`check` on real topics: what of a sample would be accepted, what refused, and which labels find events."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from penstock.cli import check, main
from penstock.cli.exits import Exit, Failure
from penstock.cli.sampled.reading import read_columns, read_sample
from penstock.runtime.broker import Message, Record, Topic
from penstock.runtime.errors import NotYet
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.wire import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from penstock.runtime.settings import Settings

NOW = 1_772_500_000_000  # 2026-03-03
DAY = 86_400_000
SPEC: dict[str, Any] = {
    "pipeline": "churn",
    "task": "binary",
    "events": {"topic": "crm.events", "id": "event_id", "time": "at"},
    "labels": {"topic": "crm.outcomes", "id": "event_id", "time": "at", "value": "churned", "horizon": "30d"},
    "features": {
        "age": {"number": {"required": True}},
        "visits": {"number": {"min": 0}},
        "plan": {"category": ["free", "plus", "pro"]},
        "weekday": {"weekday": "at"},
    },
}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    memory = MemoryBroker(now=iter(range(NOW, NOW + 1_000_000)).__next__)
    memory.create([Topic(name=name, partitions=2) for name in ("crm.events", "crm.outcomes")])

    @contextmanager
    def connected(_settings: Settings) -> Iterator[MemoryBroker]:
        yield memory

    monkeypatch.setattr(check, "connected", connected)
    return memory


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, SPEC)


def written(folder: Path, spec: dict[str, Any]) -> Path:
    path = folder / "churn.yaml"
    YAML(typ="safe", pure=True).dump(spec, path)
    return path


def event(number: int, **fields: object) -> dict[str, object]:
    at = NOW - 20 * DAY + number
    return {"event_id": f"c-{number}", "at": at, "age": 20 + number, "visits": 3, "plan": "pro", **fields}


def send(broker: MemoryBroker, topic: str, *records: object) -> None:
    for number, record in enumerate(records):
        value = record if isinstance(record, bytes) else json.dumps(record).encode()
        broker.append(Message(topic, value, None, (), number % 2))


def sampled(capsys: pytest.CaptureFixture[str], *words: str, code: Exit = Exit.OK) -> dict[str, Any]:
    assert main(["check", *words, "-o", "json"]) == code
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    sample: dict[str, Any] = told["sample"]
    return sample


def test_what_would_be_refused_is_told_with_its_first_place(
    broker: MemoryBroker, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [event(4, age="old"), b"{", event(6, age="older"), event(7, age=None)]
    send(broker, "crm.events", *map(event, range(4)), *bad)
    events = sampled(capsys, str(file), "--sample", "100")["events"]
    assert (events["seen"], events["accepted"], events["whole"]) == (8, 4, True)
    assert [tuple(each.values()) for each in events["refused"]] == [
        ("wrong_type", "age", 2, "crm.events/0/2", "feature 'age' is 'old', expected a number"),
        ("missing", "age", 1, "crm.events/1/3", "feature 'age' is required, and missing"),
        (
            "undecodable",
            None,
            1,
            "crm.events/1/2",
            "not JSON: unexpected end of data: line 1 column 2 (char 1)",
        ),
    ]
    assert events["times"] == {"first": "2026-02-11T01:06:40Z", "last": "2026-02-11T01:06:40Z"}


def test_rules_that_are_broken_are_told_by_feature(
    broker: MemoryBroker, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = [event(4, visits=-1), event(5, plan="gold"), event(6, visits=None), event(7, plan="gold")]
    send(broker, "crm.events", *map(event, range(4)), *odd)
    told = {
        each["feature"]: each for each in sampled(capsys, str(file), "--sample", "9")["events"]["features"]
    }
    assert told["visits"]["missing"] == 2
    assert told["visits"]["broken"] == [{"rule": "range", "count": 1, "action": "set_missing"}]
    assert told["plan"]["unseen"] == {"gold": 2}
    assert told["plan"]["words"] == {"pro": 6}
    assert told["age"]["numbers"] == {"least": 20, "median": 23.5, "most": 27}
    assert main(["check", str(file), "--sample", "9"]) == Exit.OK
    text = capsys.readouterr().out
    assert "range broken by 12.5% (set missing)" in text
    assert "not in the list, 25%: gold" in text


def test_labels_that_find_their_event_are_counted(
    broker: MemoryBroker, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(broker, "crm.events", *map(event, range(8)), event(7))
    known = [{"event_id": f"c-{n}", "at": NOW - 10 * DAY, "churned": n % 4 == 0} for n in range(4)]
    others = [
        {"event_id": "c-5", "at": NOW - 30 * DAY, "churned": True},  # before its event
        {"event_id": "elsewhere", "at": NOW - DAY, "churned": False},
        {"event_id": "c-6", "at": NOW, "churned": "maybe"},
    ]
    send(broker, "crm.outcomes", *known, *others)
    sample = sampled(capsys, str(file), "--sample", "9")
    assert sample["events"]["repeats"] == 1
    assert [(each["reason"], each["count"]) for each in sample["labels"]["refused"]] == [("wrong_type", 1)]
    met = sample["met"]
    assert (met["labels"], met["found"], met["late"], met["early"]) == (6, 5, 0, 1)
    assert met["delay"]["median"] == pytest.approx(10 * DAY, abs=10)
    assert main(["check", str(file), "--sample", "9"]) == Exit.OK
    text = capsys.readouterr().out
    assert "5 of 6 labels find their event in the sample (83.3%)" in text
    assert "half of these came within 10d, 99% within 10d" in text
    assert "1 are older than their event" in text
    assert "33.3% are positive" in text


@pytest.mark.parametrize(("topic", "what"), [("crm.events", "events"), ("crm.outcomes", "labels")])
def test_where_nearly_nothing_would_be_accepted_it_fails(
    topic: str, what: str, broker: MemoryBroker, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(broker, topic, *[b"nonsense"] * 20)
    assert sampled(capsys, str(file), "--sample", "30", code=Exit.FAILED)[what]["accepted"] == 0
    assert main(["check", str(file), "--sample", "30"]) == Exit.FAILED
    assert capsys.readouterr().err == f"100% of the {what} would be refused: ingest would stop at them\n"


def test_a_wrong_file_is_told_before_anything_is_read(
    broker: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "reader", lambda _: pytest.fail("read"))
    path = written(tmp_path, {**SPEC, "features": {"age": "nubmer"}})
    assert main(["check", str(path), "--sample", "9"]) == Exit.INVALID


def test_offline_no_broker_is_asked(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_BROKER", "127.0.0.1:1")
    assert main(["check", str(file)]) == Exit.OK
    assert "crm.events" in capsys.readouterr().out
    assert main(["check", str(file), "--sample", "1"]) == Exit.UNREACHABLE
    assert main(["check", str(file), "--broker", "127.0.0.1:1"]) == Exit.UNREACHABLE


@pytest.mark.usefixtures("broker")
def test_a_topic_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, {**SPEC, "events": {**SPEC["events"], "topic": "crm.event"}})
    assert main(["check", str(path), "--sample", "9"]) == Exit.NOT_FOUND
    assert capsys.readouterr().err == "no topic 'crm.event' (did you mean 'crm.events'?)\n"


@pytest.mark.usefixtures("broker")
def test_empty_topics_are_no_failure(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file), "--sample", "9"]) == Exit.OK
    said = capsys.readouterr().out
    assert "events: crm.events holds no record\n" in said
    assert "labels: crm.outcomes holds no record\n" in said


def test_categories_that_are_learned_later_are_learned_of_the_sample(
    broker: MemoryBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = {"plan": {"category": "from_first_rows"}, "never": {"category": "from_first_rows"}}
    path = written(tmp_path, {**SPEC, "features": features})
    send(broker, "crm.events", event(0), event(1, plan="free"), event(2, plan=7))
    events = sampled(capsys, str(path), "--sample", "9")["events"]
    assert events["learned"] == {"plan": 2, "never": 0}
    assert (events["accepted"], [each["field"] for each in events["refused"]]) == (2, ["plan"])


def test_personal_data_are_not_shown(
    broker: MemoryBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, {**SPEC, "pii": {"event_id": "hash", "email": "drop"}})
    send(broker, "crm.events", event(0), {**event(1), "event_id": ["ann@example.com"]}, b'"ann@example.com')
    for words in ([], ["-o", "json"]):
        assert main(["check", str(path), "--sample", "9", *words]) == Exit.OK
        text = capsys.readouterr().out
        assert "ann@" not in text
        assert "wrong_type" in text


def test_a_sample_is_bounded_in_rows_and_in_seconds(broker: MemoryBroker) -> None:
    send(broker, "crm.events", *map(event, range(20)))
    sample = read_sample(broker, "crm.events", rows=3, seconds=9)
    assert [(each.partition, each.offset) for each in sample.records] == [
        *((0, offset) for offset in (7, 8, 9)),
        *((1, offset) for offset in (7, 8, 9)),
    ]
    assert sample.told() == "the last 6 records of crm.events (2 partitions)"
    assert broker.groups == {}, "nobody is a member of anything"


def test_time_may_run_out(broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    send(broker, "crm.events", *map(event, range(5000)))
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr("penstock.cli.sampled.reading.time.monotonic", lambda: next(clock))
    sample = read_sample(broker, "crm.events", rows=5000, seconds=5)
    assert sample.hurried
    assert not sample.whole
    assert 0 < len(sample.records) < 5000
    assert sample.told().endswith(": time ran out before there were more")


class Away:
    """A wire whose registry does not answer at first."""

    def __init__(self, times: int) -> None:
        self.times = times

    def read(self, records: Sequence[Record]) -> Columns:
        if self.times:
            self.times -= 1
            raise NotYet("the schema registry at http://r:1 does not answer: refused")
        return Columns.gather(["id"], {place: {"id": each.offset} for place, each in enumerate(records)}, {})


def test_a_registry_that_does_not_answer_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [Record("crm", 0, 0, 0, None, b"!")]
    monkeypatch.setattr("penstock.cli.sampled.reading._AGAIN", 0.0)
    read = read_columns(Away(2), records, seconds=30)  # type: ignore[arg-type] # reads as a Wire does
    assert list(read.values["id"]) == [0]
    with pytest.raises(Failure, match="does not answer: refused") as failed:
        read_columns(Away(10**9), records, seconds=0.01)  # type: ignore[arg-type] # as above
    assert failed.value.code == Exit.UNREACHABLE

"""`apply` on the in-memory broker: what it writes, and what it refuses."""

from __future__ import annotations

import json
import pathlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from penstock.cli import apply as verb
from penstock.cli import main
from penstock.cli.apply import apply
from penstock.cli.exits import Exit, Failure
from penstock.cli.learning import FIRST_ROWS, MOST_CATEGORIES, learn
from penstock.cli.specfile import load
from penstock.kernel.kinds import Category
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.avro import Schema
from penstock.runtime.broker import Message, Topic
from penstock.runtime.catalog import Catalog, Names
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.topics import topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.runtime.settings import Settings

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples/flights"
NAMES = Names("penstock.")

SPEC = """\
pipeline: churn
task: binary
events: {topic: crm.events, id: id, time: at}
labels: {topic: crm.outcomes, id: id, time: at, value: churned, horizon: 30d}
features:
  age: number
  plan: {category: from_first_rows}
"""


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    memory = MemoryBroker(now=iter(range(1_000_000)).__next__)

    @contextmanager
    def connected(_settings: Settings) -> Iterator[MemoryBroker]:
        yield memory

    monkeypatch.setattr(verb, "connected", connected)
    return memory


@pytest.fixture
def spec(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "churn.yaml"
    path.write_text(SPEC)
    return path


def events(broker: MemoryBroker, *rows: object, topic: str = "crm.events") -> None:
    broker.create([Topic(name=topic, partitions=2)])
    for index, row in enumerate(rows):
        value = row if isinstance(row, bytes) else json.dumps(row).encode()
        broker.append(Message(topic, value, partition=index % 2))


def in_force(broker: MemoryBroker, name: str = "churn") -> Pipeline:
    """As a service sees it."""
    return Catalog(broker, NAMES).pipelines[name]


def edited(spec: pathlib.Path, old: str, new: str) -> Pipeline:
    assert old in SPEC
    spec.write_text(SPEC.replace(old, new))
    return load(spec)


def refused(pipeline: Pipeline, broker: MemoryBroker, code: Exit) -> str:
    broker.create(topics("penstock."))
    applied = list(broker.records("penstock.pipelines"))
    with pytest.raises(Failure) as failure:
        apply(pipeline, broker, NAMES)
    assert failure.value.code is code
    assert list(broker.records("penstock.pipelines")) == applied
    return str(failure.value)


def test_a_new_pipeline_is_learned_written_and_seen_by_the_services(
    broker: MemoryBroker, spec: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events(broker, {"plan": "pro"}, {"plan": "free"}, b"not JSON", {"plan": None}, {"plan": "free"})
    assert main(["apply", str(spec)]) == 0
    assert in_force(broker).features[1].kind == Category(values=("free", "pro"))
    there = broker.topics()
    assert {"penstock.churn.features", "penstock.decisions", "crm.outcomes"} <= there.keys()
    assert there["crm.events"] == 2  # a topic that is there stays as it is
    told = capsys.readouterr().out
    assert "learned 2 categories of plan" in told
    assert "created topic penstock.churn.features" in told
    assert "created topic crm.events" not in told


def test_schemas_of_the_rows_are_there_before_the_pipeline(broker: MemoryBroker, spec: pathlib.Path) -> None:
    events(broker, {"plan": "pro"})
    pipeline = apply(load(spec), broker, NAMES).pipeline
    [applied] = broker.records("penstock.pipelines")
    schemas = broker.records("penstock.schemas")
    rows = [record for record in schemas if record.value and b"Values_" in record.value]
    assert len(rows) == 3
    assert all(record.timestamp < applied.timestamp for record in rows)
    assert all(pipeline.features_digest in Schema(record.value or b"").name for record in rows)


def test_applying_again_changes_nothing(
    broker: MemoryBroker, spec: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events(broker, {"plan": "pro"})
    assert main(["apply", str(spec)]) == 0
    before = in_force(broker)
    events(broker, {"plan": "a category that came later"})
    capsys.readouterr()
    assert main(["apply", str(spec), "-o", "json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["new"], told["changed"], told["differences"], told["created"]) == (False, False, [], [])
    assert in_force(broker) == before
    assert len(list(broker.records("penstock.pipelines"))) == 1


def test_a_change_is_shown(
    broker: MemoryBroker, spec: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events(broker, {"plan": "pro"})
    apply(load(spec), broker, NAMES)
    edited(spec, "age: number\n", "age: {number: {min: 0}}\n")
    spec.write_text(spec.read_text() + "  visits: number\nowner: me\n")
    assert main(["apply", str(spec)]) == 0
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "owner: '' → 'me'",
        "features.age.number.min: added, 0.0",
        "features.visits: added, number",
    ]
    assert in_force(broker).feature_names == ("age", "plan", "visits")


def test_another_meaning_is_refused_and_nothing_is_written(broker: MemoryBroker, spec: pathlib.Path) -> None:
    events(broker, {"plan": "pro"})
    apply(load(spec), broker, NAMES)
    before = in_force(broker)
    why = refused(edited(spec, "value: churned", "value: left"), broker, Exit.CONFLICT)
    assert why == "churn: labels.value cannot change: churned → left"
    assert in_force(broker) == before


def test_categories_cannot_be_learned_from_nothing(broker: MemoryBroker, spec: pathlib.Path) -> None:
    why = refused(load(spec), broker, Exit.INVALID)
    assert why.startswith("the categories of 'plan' cannot be learned: none in the 0 rows of crm.events")
    events(broker, {"plan": 3})
    assert "feature 'plan' is 3 in crm.events, expected text" in refused(load(spec), broker, Exit.INVALID)


def test_the_first_rows_are_enough_and_an_id_is_no_category(spec: pathlib.Path) -> None:
    pipeline = load(spec)
    rows = ({"plan": "late" if index >= FIRST_ROWS else "early"} for index in range(2 * FIRST_ROWS))
    assert learn(pipeline, rows, "a file") == {"plan": ["early"]}
    assert next(rows) == {"plan": "late"}
    with pytest.raises(Failure, match="is it an id"):
        learn(pipeline, [{"plan": str(index)} for index in range(MOST_CATEGORIES + 1)], "a file")


def test_the_example_learns_from_its_history(broker: MemoryBroker) -> None:
    applied = apply(load(EXAMPLE / "flights.yaml"), broker, NAMES, history=EXAMPLE / "flights.avro")
    assert 80 < applied.learned["dest"] < 105
    assert in_force(broker, "flights") == applied.pipeline


def test_events_in_avro_are_learned_from_too(broker: MemoryBroker) -> None:
    flights = load(EXAMPLE / "flights.yaml")
    schema = Schema(flights.events.format.schema)
    row = {"id": "a", "t": 0, "carrier": "AA", "origin": "JFK", "distance": 1, "block_min": 2}
    payloads = [schema.header + schema.write({**row, "dest": dest}) for dest in ("MIA", "BOS")]
    events(broker, *payloads, b"\xc3\x01 and what is not", topic="flights.departures")
    apply(flights, broker, NAMES)
    kinds = {feature.name: feature.kind for feature in in_force(broker, "flights").features}
    assert kinds["dest"] == Category(values=("BOS", "MIA"))


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        (
            Topic(name="penstock.churn.features", partitions=5),
            "penstock.churn.features has 5 partitions, and needs 3",
        ),
        (
            Topic(name="penstock.churn.labels", partitions=3, config={"retention.ms": "86400000"}),
            "penstock.churn.labels keeps records for 1d, and has to keep them for 37d",
        ),
        (
            Topic(name="penstock.churn.outcomes", partitions=3, config={"retention.ms": "86400000"}),
            "penstock.churn.outcomes keeps records for 1d, and has to keep them for ever",
        ),
    ],
)
def test_topics_that_would_lose_records_are_refused(
    broker: MemoryBroker, spec: pathlib.Path, topic: Topic, why: str
) -> None:
    events(broker, {"plan": "pro"})
    broker.create([topic])
    assert refused(load(spec), broker, Exit.CONFLICT).startswith(why)


def test_a_broker_that_takes_nothing_is_told(
    broker: MemoryBroker, spec: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events(broker, {"plan": "pro"})
    pipeline = load(spec)
    real = broker.append

    def gone(message: Message, *rest: Any) -> None:
        if message.topic == "penstock.pipelines":
            broker.away = True
        real(message, *rest)

    monkeypatch.setattr(broker, "append", gone)
    with pytest.raises(Failure, match="did not take") as failure:
        apply(pipeline, broker, NAMES)
    assert failure.value.code is Exit.UNREACHABLE

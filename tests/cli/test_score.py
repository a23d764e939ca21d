"""`score`: files and stretches of topics, scored as inference scores them, on the in-memory broker."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from penstock.cli import main, score
from penstock.cli.exits import Exit
from penstock.cli.scoring.writing import SCHEMA
from penstock.contracts.records import Golden
from penstock.onnx import Model, digest_of
from penstock.runtime.avro import read_container
from penstock.runtime.avrofile import write_container
from penstock.runtime.broker import Message, Topic
from penstock.trainer.export import constant, export
from penstock.trainer.linear import logistic
from tests.inference.asking import NAMES
from tests.inference.world import World, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from penstock.runtime.settings import Settings

NOON = 1_357_041_600_000
CHANCE = np.random.default_rng(7)
LEARNED = np.column_stack(
    [
        CHANCE.uniform(0, 100, 400),
        CHANCE.integers(0, 3, 400),
        CHANCE.integers(0, 2, 400),
        *CHANCE.integers(0, 24, (2, 400)),
    ]
)
ARTIFACT = export(
    logistic(
        "binary",
        LEARNED,
        (LEARNED[:, 0] + 30 * LEARNED[:, 2] > 60).astype(np.float64),
        categories=[0, 2, 0, 0, 0],
        outputs=1,
        seed=0,
    )
)
MODEL = Model.load(ARTIFACT, digest=digest_of(ARTIFACT))
EVENTS = [
    {"id": "a", "t": NOON, "distance": 12.5, "line": "red", "rush": True, "planned": NOON},
    {"id": "b", "t": NOON + 1, "distance": 99, "line": None, "rush": False, "planned": NOON},
    {"id": "c", "t": NOON + 2, "distance": None, "line": "green", "rush": None, "planned": None},
]
BAD = {"id": "d", "t": "yesterday", "distance": 1, "line": "red", "rush": True, "planned": NOON}
MATRIX = np.array(
    [[12.5, 1, 1, 12, 12], [99, np.nan, 0, 12, 12], [np.nan, 2, np.nan, 12, np.nan]], dtype=np.float32
)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Version 1, learned, is champion; version 0 answers .25."""
    found = World()
    found.now = NOON
    found.model(0, 0.25)
    ones = np.ones((1, len(NAMES)), dtype=np.float32)
    golden = Golden(features=(1.0,) * len(NAMES), scores=tuple(MODEL.run(ones)[0].tolist()))
    found.model(1, 0.5, artifact=ARTIFACT, golden=(golden,))
    found.route(epoch=1, champion=0)
    found.route(epoch=2, champion=1)
    found.broker.create([Topic(name="city.starts", partitions=2), Topic(name="city.scores", partitions=2)])

    @contextmanager
    def connected(_settings: Settings) -> Iterator[Any]:
        yield found.broker

    monkeypatch.setattr(score, "connected", connected)
    return found


def expected(matrix: Any = MATRIX) -> list[float]:
    return [float(value) for value in MODEL.run(matrix)[:, 0]]


def jsonl(path: Path, events: Any = EVENTS) -> Path:
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    return path


def lines(text: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.usefixtures("world")
def test_json_lines_to_stdout_by_the_champion(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["score", "trips", str(jsonl(tmp_path / "events.jsonl"))]) == Exit.OK
    out, err = capsysbinary.readouterr()
    found = lines(out)
    assert [(line["id"], line["time"], line["version"]) for line in found] == [
        ("a", NOON, 1),
        ("b", NOON + 1, 1),
        ("c", NOON + 2, 1),
    ]
    assert np.allclose([line["scores"] for line in found], np.array(expected())[:, None], rtol=1e-6)
    assert b"3 rows scored by version 1" in err


@pytest.mark.usefixtures("world")
def test_what_comes_out_is_what_the_stream_says(world: World, tmp_path: Path) -> None:
    path, out = jsonl(tmp_path / "events.jsonl"), tmp_path / "scores.avro"
    assert main(["score", "trips", str(path), "-o", str(out)]) == Exit.OK
    with out.open("rb") as file:
        found = {record["id"]: record["scores"] for record in read_container(file)}
    for row, event in zip(MATRIX, EVENTS, strict=True):
        world.rows(str(event["id"]), values=row.tolist())
    run(world.replica())
    streamed = {
        each.id: list(score.values)
        for each in world.predictions()
        for score in each.scores
        if score.version == each.version
    }
    assert found == streamed


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("form", ["csv", "avro"])
def test_any_form_in_and_out(tmp_path: Path, form: str) -> None:
    source, out = tmp_path / f"events.{form}", tmp_path / "scores.csv"
    if form == "csv":
        with source.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(EVENTS[0]))
            writer.writeheader()
            writer.writerows(EVENTS)
    else:
        kinds = {"id": "string", "t": "long", "distance": "double", "line": "string", "rush": "boolean"}
        fields = [
            {"name": name, "type": ["null", kind]} for name, kind in {**kinds, "planned": "long"}.items()
        ]
        with source.open("wb") as file:
            write_container(file, {"type": "record", "name": "Event", "fields": fields}, EVENTS)
    assert main(["score", "trips", str(source), "-o", str(out)]) == Exit.OK
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert set(rows[0]) == {"id", "time", "version", "score"}
    assert [np.float32(row["score"]) for row in rows] == [np.float32(value) for value in expected()]


@pytest.mark.usefixtures("world")
def test_another_version_and_why(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    source = jsonl(tmp_path / "events.jsonl")
    assert main(["score", "trips", str(source), "--version", "0"]) == Exit.OK
    assert [line["scores"] for line in lines(capsysbinary.readouterr().out)] == [[0.25]] * 3
    assert main(["score", "trips", str(source), "--explain"]) == Exit.OK
    for line, value in zip(lines(capsysbinary.readouterr().out), expected(), strict=True):
        [why] = line["explanations"]
        assert set(why["attributions"]) == set(NAMES)
        raw = why["base"] + sum(why["attributions"].values())
        assert abs(1 / (1 + np.exp(-raw)) - value) < 1e-5
    out = tmp_path / "why.csv"
    assert main(["score", "trips", str(source), "--explain", "-o", str(out)]) == Exit.OK
    heads = out.read_text().splitlines()[0].split(",")
    assert heads[3:] == ["score", *(f"score_{name}" for name in NAMES), "score_base"]


@pytest.mark.usefixtures("world")
def test_what_cannot_be_scored_is_told_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = jsonl(tmp_path / "events.jsonl", [EVENTS[0], BAD, {**EVENTS[1], "id": ""}, EVENTS[2]])
    out, rejects = tmp_path / "scores.jsonl", tmp_path / "rejects.jsonl"
    assert main(["score", "trips", str(source), "-o", str(out), "--rejects", str(rejects)]) == Exit.OK
    assert [line["id"] for line in lines(out.read_bytes())] == ["a", "c"]
    told = lines(rejects.read_bytes())
    assert [(line["place"], line["reason"], line["field"]) for line in told] == [
        (f"{source}:2:1", "wrong_type", "t"),
        (f"{source}:3:1", "missing_id", "id"),
    ]
    err = capsys.readouterr().err
    assert "2 rows scored by version 1" in err
    assert f"2 records rejected, all in {rejects}" in err
    assert f"{source}:2:1" in err
    only = jsonl(tmp_path / "bad.jsonl", [BAD])
    assert main(["score", "trips", str(only), "-o", str(tmp_path / "none.csv")]) == Exit.FAILED


@pytest.mark.usefixtures("world")
def test_a_file_without_ids_and_times(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    bare = [{name: value for name, value in event.items() if name not in {"id", "t"}} for event in EVENTS]
    source = jsonl(tmp_path / "bare.jsonl", bare)
    assert main(["score", "trips", str(source)]) == Exit.FAILED
    assert b"3 missing_time" in capsysbinary.readouterr().err
    assert main(["score", "trips", str(source), "--event-time", "2013-01-01T12:00:00Z"]) == Exit.OK
    found = lines(capsysbinary.readouterr().out)
    assert [(line["id"], line["time"]) for line in found] == [("0", NOON), ("1", NOON), ("2", NOON)]
    assert np.allclose([line["scores"][0] for line in found], expected(), rtol=1e-6)


def test_a_version_that_has_no_answer_rejects_the_row(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert world
    original = Model.run

    def sometimes(self: Any, matrix: Any) -> Any:
        found = original(self, matrix).copy()
        found[matrix[:, 0] == np.float32(99)] = np.nan
        return found

    monkeypatch.setattr(Model, "run", sometimes)
    assert main(["score", "trips", str(jsonl(tmp_path / "events.jsonl"))]) == Exit.OK
    out, err = capsysbinary.readouterr()
    assert [line["id"] for line in lines(out)] == ["a", "c"]
    assert b"1 unscored" in err
    assert b"events.jsonl:2:1" in err


def send(world: World, events: Any, *, at: int) -> None:
    world.now = at
    for number, event in enumerate(events):
        world.broker.append(Message("city.starts", orjson.dumps(event), None, (), number % 2))


def test_a_stretch_of_a_topic_by_time_and_by_offset(
    world: World, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    send(world, EVENTS, at=NOON)
    send(world, [{**EVENTS[0], "id": "later"}, BAD], at=NOON + 60_000)
    argv = ["score", "trips", "--topic", "city.starts"]
    found = {}
    for bounds in (
        (),
        ("--from", "2013-01-01T12:00:30Z"),
        ("--to", "2013-01-01T12:00:30Z"),
        ("--from", "1"),
        ("--from", "0", "--to", "1"),
    ):
        assert main([*argv, *bounds]) == Exit.OK
        out, err = capsysbinary.readouterr()
        found[bounds] = sorted(line["id"] for line in lines(out)), b"rejected" in err
    assert list(found.values()) == [
        (["a", "b", "c", "later"], True),
        (["later"], True),
        (["a", "b", "c"], False),
        (["c", "later"], True),
        (["a", "b"], False),
    ]
    assert main(argv) == Exit.OK
    assert b"city.starts/1/1" in capsysbinary.readouterr().err


def test_scores_go_to_a_topic(world: World, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "events.jsonl")
    assert main(["score", "trips", str(source), "--to-topic", "city.scores"]) == Exit.OK
    records = world.broker.records("city.scores")
    found = {record.key or b"": json.loads(record.value or b"") for record in records}
    assert sorted(found) == [b"a", b"b", b"c"]
    assert found[b"a"]["version"] == 1
    assert dict(records[0].headers) == {"content-type": b"application/json"}


def test_its_own_topics_are_not_written_to(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world
    source = jsonl(tmp_path / "events.jsonl")
    argv = ["score", "trips", str(source), "--to-topic", "penstock.trips.predictions"]
    assert main(argv) == Exit.REFUSED
    assert "Penstock's own" in capsys.readouterr().err


WRONG = [
    (["tips", "FILE"], Exit.NOT_FOUND, "did you mean 'trips'"),
    (["trips", "FILE", "--version", "9"], Exit.NOT_FOUND, "no version 9, but 0, 1"),
    (["trips"], Exit.USAGE, "either FILE or --topic"),
    (["trips", "FILE", "--from", "1"], Exit.USAGE, "are of a topic"),
    (["trips", "--topic", "city.starts", "--from", "noon"], Exit.USAGE, "--from is 'noon'"),
    (["trips", "--topic", "city.strats"], Exit.NOT_FOUND, "did you mean 'city.starts'"),
    (["trips", "FILE", "-o", "x.parquet"], Exit.USAGE, "expected .csv, .jsonl or .avro"),
    (["trips", "missing.csv"], Exit.NOT_FOUND, "missing.csv"),
    (["trips", "FILE", "-o", "x.csv", "--to-topic", "t"], Exit.USAGE, "either -o or --to-topic"),
]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(("argv", "code", "says"), WRONG)
def test_mistakes_are_one_line(
    argv: list[str], code: Exit, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(jsonl(tmp_path / "events.jsonl"))
    assert main(["score", *(source if word == "FILE" else word for word in argv)]) == code
    assert says in capsys.readouterr().err


@pytest.mark.usefixtures("world")
def test_a_file_of_something_else_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = jsonl(tmp_path / "events.jsonl", [{"x": 1}])
    assert main(["score", "trips", str(source)]) == Exit.INVALID
    assert "no column of a feature" in capsys.readouterr().err


def test_a_version_whose_golden_vectors_differ_here_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.model(2, 0.5, artifact=constant(len(NAMES), [0.75]))
    source = str(jsonl(tmp_path / "events.jsonl"))
    assert main(["score", "trips", source, "--version", "2"]) == Exit.FAILED
    assert "version 2 is refused: golden vector 0" in capsys.readouterr().err


@pytest.mark.usefixtures("world")
def test_parquet_needs_pyarrow(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "events.parquet"
    source.write_bytes(b"PAR1 and so on")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert main(["score", "trips", str(source)]) == Exit.USAGE
    assert b"pip install pyarrow" in capsysbinary.readouterr().err

    class ParquetFile:
        """As pyarrow's: it hands out batches, times as datetimes."""

        def __init__(self, path: Path) -> None:
            assert path == source
            self.schema_arrow = SimpleNamespace(names=list(EVENTS[0]))

        def iter_batches(self, *, batch_size: int) -> Iterator[Any]:
            assert batch_size > 0
            rows = [{**event, "t": datetime.fromtimestamp(NOON / 1000, UTC)} for event in EVENTS]
            yield SimpleNamespace(to_pylist=lambda: rows)

    monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", SimpleNamespace(ParquetFile=ParquetFile))
    assert main(["score", "trips", str(source)]) == Exit.OK
    found = lines(capsysbinary.readouterr().out)
    assert [line["time"] for line in found] == [NOON] * 3
    assert np.allclose([line["scores"][0] for line in found], expected(), rtol=1e-6)


def test_the_schema_of_a_container_is_what_is_written() -> None:
    assert [field["name"] for field in SCHEMA["fields"]] == [
        "id",
        "time",
        "version",
        "scores",
        "attributions",
    ]

"""What a backtest makes of files: formats, times, ids, labels, delays, and mistakes by line and column."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING

import fastavro
import orjson
import pytest

from penstock.cli.backtest.baselines import baselines
from penstock.cli.backtest.feed import arrivals, step_length, steps
from penstock.cli.backtest.history import History, read_history
from penstock.cli.backtest.labels import Delay, Told, labels_of_column, labels_of_file
from penstock.cli.backtest.spec import read_spec
from penstock.cli.exits import Failure
from penstock.kernel.mistakes import Wrong
from penstock.kernel.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from penstock.cli.backtest.history import Row

SPEC = """\
pipeline: churn
task: binary
features:
  age: number
  plan: {category: [free, pro]}
"""
SCHEMA = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "age", "type": ["null", "double"]},
        {"name": "plan", "type": "string"},
    ],
}
ROWS = [
    {"id": "a", "time": 1_357_016_400_000, "age": 41.0, "plan": "pro"},
    {"id": "b", "time": 1_357_016_460_000, "age": None, "plan": "free"},
]


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return spec(tmp_path, SPEC)


def spec(folder: Path, text: str, label_column: str | None = "left") -> Pipeline:
    path = folder / "churn.yaml"
    path.write_text(text)
    return read_spec(path, label_column=label_column).pipeline


def history(folder: Path, name: str, content: str | bytes, pipeline: Pipeline, **columns: str) -> History:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_history(path, pipeline, **columns)


def payloads(rows: Sequence[Row]) -> list[object]:
    return [orjson.loads(row.payload) for row in rows]


def avro() -> bytes:
    out = BytesIO()
    fastavro.writer(out, SCHEMA, ROWS)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("events.avro", avro()),
        ("events.dat", avro()),  # known by its first bytes
        ("events.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("events.txt", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("events.csv", "id,time,age,plan\na,2013-01-01T05:00:00Z,41.0,pro\nb,1357016460000,,free\n"),
        (
            "events.csv",
            "plan,extra,age,time,id\r\npro,1,41.0,1357016400000,a\r\n\r\nfree,2,,1357016460000,b\r\n",
        ),
    ],
)
def test_every_form_gives_the_same_events(
    name: str, content: str | bytes, pipeline: Pipeline, tmp_path: Path
) -> None:
    found = history(tmp_path, name, content, pipeline)
    assert [(row.id, row.time) for row in found.rows] == [(row["id"], row["time"]) for row in ROWS]
    assert payloads(found.rows) == ROWS
    assert found.notes == ()


def test_without_columns_of_ids_and_times_a_row_has_its_number_and_its_second(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    found = history(tmp_path, "events.csv", "age,plan\n1,pro\n2,pro\n3,free\n", pipeline)
    assert [(row.id, row.time) for row in found.rows] == [("0", 0), ("1", 1000), ("2", 2000)]
    assert found.notes == (
        "no column 'id': the id of a row is its number",
        "no column 'time': row n is second n",
    )


def test_what_is_doubtful_is_told(pipeline: Pipeline, tmp_path: Path) -> None:
    found = history(tmp_path, "events.csv", "id,time,age\na,0,1\na,5,2\n", pipeline)
    assert found.notes == (
        "missing in every row: plan",
        "1 row with the id of another: only the first of an id counts",
    )


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.csv", "", "x.csv:1:1: no header line"),
        ("x.csv", "id,time,age,id\n", "x.csv:1:1: column 'id' stands here twice"),
        ("x.csv", "id,time,age\na,0,1\nb,1\n", "x.csv:3:4: the cell of 'age' is missing"),
        ("x.csv", 'id,time,age\n"a, b",0,1,7\n', "x.csv:2:12: more cells than the header has"),
        ("x.csv", 'id,time,age\na,0,1\n"b,1,2\n', "x.csv:3:1: not CSV: unexpected end of data"),
        ("x.csv", b"id,time,age\na,0,\xff\n", "x.csv:2:5: not UTF-8 text"),
        ("x.csv", "id,time,age\na,0,1\nb,soon,2\n", "x.csv:3:3: time is 'soon', expected a time"),
        ("x.csv", "id,time,age\na,,1\n", "x.csv:2:3: time 'time' is missing"),
        ("x.csv", "id,time,age\n,0,1\n", "x.csv:2:1: id 'id' is missing"),
        ("x.csv", "id,time,age\n", "x.csv: no events in it"),
        (
            "x.csv",
            "1,2,3\n4,5,6\n",
            "x.csv: no column of a feature in it (age, plan): is there a header line?",
        ),
        ("x.jsonl", '{"id": "a", "time": 0, "age": 1}\n{"id": \n', "x.jsonl:2:1: not JSON"),
        ("x.jsonl", '{"id": "a", "time": 0, "age": 1}\n[1]\n', "x.jsonl:2:1: expected a JSON object"),
        ("x.jsonl", '{"id": "a", "time": {}, "age": 1}\n', "x.jsonl:1:13: time is a mapping"),
        ("x.avro", b"Obj\x01rubbish", "x.avro: not an Avro container"),
        ("x.parquet", b"PAR1....", "x.parquet is a Parquet file"),
        ("x.csv", b"\x1f\x8b\x08", "x.csv is packed with gzip: unpack it first"),
        ("x.xyz", "?", "x.xyz: cannot read '.xyz', expected .avro, .jsonl, .ndjson or .csv"),
    ],
)
def test_what_is_no_event_is_told_with_its_place(
    name: str, content: str | bytes, told: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    with pytest.raises(Failure) as failure:
        history(tmp_path, name, content, pipeline)
    assert str(failure.value).removeprefix(f"{tmp_path}/").startswith(told)


def test_a_column_that_is_not_there_has_a_likely_name(pipeline: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"no column 'lft' \(did you mean 'left'\?\)"):
        history(tmp_path, "x.csv", "age,left\n1,0\n", pipeline, label_column="lft")


def test_a_label_that_is_a_feature_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="the model would be shown the answer"):
        history(tmp_path, "x.csv", "age,left\n1,0\n", pipeline, label_column="age")


def told(
    folder: Path, content: str, pipeline: Pipeline, delay: Delay | str
) -> tuple[Sequence[Row], list[Told]]:
    columns = {"delay_column": delay} if isinstance(delay, str) else {}
    found = history(folder, "events.csv", content, pipeline, label_column="left", **columns)
    return found.rows, list(labels_of_column(pipeline, found.rows, column="left", delay=delay))


def test_a_label_becomes_known_when_so_many_more_rows_have_arrived(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    # Row 1 arrives last; rows 0 and 3 are of one instant; row 2 has no label.
    content = "time,age,left\n0,1,1\n9000,1,1\n4000,1,\n0,1,0\n"
    rows, labels = told(tmp_path, content, pipeline, Delay(rows=2))
    assert [(each.row, each.label, each.time, each.before) for each in labels] == [
        (0, 1.0, 4000, 2),
        (1, 1.0, None, None),
        (3, 0.0, 9000, 1),
    ]
    fed = arrivals(pipeline, rows, labels)
    assert [(each.row, each.told.row if each.told else None) for each in fed] == [
        (0, None),
        (3, None),
        (-1, 0),
        (2, None),
        (-1, 3),
        (1, None),
    ]


@pytest.mark.parametrize(
    ("delay", "order"),
    [
        (Delay(rows=0), ["e0", "l0", "e1", "l1", "e2", "l2"]),
        (Delay(rows=1), ["e0", "l0", "e1", "l1", "e2"]),
        (Delay(ms=0), ["e0", "l0", "e1", "l1", "e2", "l2"]),
        (Delay(ms=1000), ["e0", "l0", "e1", "l1", "e2", "l2"]),
        (Delay(ms=1500), ["e0", "e1", "l0", "e2", "l1", "l2"]),
    ],
)
def test_at_one_instant_labels_come_first_but_never_before_their_event(
    delay: Delay, order: list[str], pipeline: Pipeline, tmp_path: Path
) -> None:
    rows, labels = told(tmp_path, "age,left\n1,1\n2,0\n3,1\n", pipeline, delay)
    fed = arrivals(pipeline, rows, labels)
    assert [f"l{each.told.row}" if each.told else f"e{each.row}" for each in fed] == order
    assert [each.time for each in fed] == sorted(each.time for each in fed)


def test_a_delay_column_holds_seconds_durations_rows_or_times(pipeline: Pipeline, tmp_path: Path) -> None:
    cells = ["2.5", "36h", "2rows", "1970-01-01T01:00:00Z", "1357016400000", ""]
    content = "age,left,late\n" + "".join(f"1,1,{cell}\n" for cell in cells)
    _, labels = told(tmp_path, content, pipeline, "late")
    assert [(each.row, each.time) for each in labels] == [
        (0, 2500),
        (1, 1000 + 36 * 3_600_000),
        (2, 4000),
        (3, 3_600_000),
        (4, 1_357_016_400_000),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("age,left,late\n1,1,1\n1,1,soon\n", "events.csv:3:5: late is 'soon', expected seconds"),
        ("age,left,late\n1,maybe,1\n", "events.csv:2:3: label 'left' is 'maybe', expected true, false"),
    ],
)
def test_a_label_that_is_none_is_told_with_its_place(
    content: str, message: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    with pytest.raises(Failure) as failure:
        told(tmp_path, content, pipeline, "late")
    assert message in str(failure.value)


@pytest.mark.parametrize("text", ["48", "rows", "-3h", "48 lines", ""])
def test_a_delay_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Wrong, match="48rows"):
        Delay.read(text)


def test_a_file_of_labels_has_the_fields_that_the_pipeline_names(tmp_path: Path) -> None:
    named = "labels: {id: who, time: at, value: delay, positive: '>= 15'}\n"
    pipeline = spec(tmp_path, SPEC + named, None)
    rows = history(tmp_path, "events.csv", "id,time,age\na,0,1\nb,1,1\n", pipeline).rows
    (tmp_path / "labels.jsonl").write_text(
        '{"who": "b", "at": 7, "delay": 15}\n{"who": "zz", "at": 8, "delay": 1}\n{"who": "a", "at": 9}\n'
    )
    labels = list(labels_of_file(tmp_path / "labels.jsonl", pipeline, rows))
    assert labels == [Told("b", 1, 1.0, 15, 7), Told("zz", -1, 0.0, 1, 8)]
    (tmp_path / "labels.jsonl").write_text('{"who": "b", "at": 7, "delay": "x"}\n')
    with pytest.raises(Failure, match=r"labels.jsonl:1:23: label 'delay' is 'x', expected a number"):
        list(labels_of_file(tmp_path / "labels.jsonl", pipeline, rows))


def test_baselines_know_what_had_come_when_a_row_arrived(pipeline: Pipeline, tmp_path: Path) -> None:
    rows, labels = told(tmp_path, "age,left\n1,1\n1,1\n1,0\n1,1\n", pipeline, Delay(rows=2))
    known = baselines(arrivals(pipeline, rows, labels), task="binary", outputs=1)
    assert known.prior[:, 0].tolist() == [0.5, 0.5, 2 / 3, 3 / 4]  # (ones + 1) / (labels + 2)
    assert known.last.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_steps_are_of_whole_blocks_and_no_longer_than_the_horizon(pipeline: Pipeline, tmp_path: Path) -> None:
    content = "age,left\n" + "1,1\n" * 100
    rows, labels = told(tmp_path, content, pipeline, Delay(rows=1))
    assert step_length(rows, base=1000, horizon=1_000_000) == 64_000
    assert step_length(rows, base=1000, horizon=8_500) == 8_000
    assert step_length(rows, base=60_000, horizon=1000) == 60_000
    fed = arrivals(pipeline, rows, labels)
    parts = list(steps(fed, 32_000))
    assert [each for part in parts for each in part] == fed
    assert [part[0].time for part in parts] == [0, 32_000, 64_000, 96_000]

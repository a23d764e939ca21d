"""The pipeline file of a backtest: what may be missing, and what is wrong as in every other verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from penstock.cli.backtest.spec import read_spec
from penstock.cli.exits import Failure
from penstock.kernel.formats import Format

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "pipeline: churn\ntask: binary\nfeatures: {age: number}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "churn.yaml"
    path.write_text(text)
    return path


def test_events_and_labels_may_be_missing(tmp_path: Path) -> None:
    spec = read_spec(written(tmp_path, HEAD), label_column="left")
    pipeline = spec.pipeline
    assert (pipeline.events.topic, pipeline.events.id, pipeline.events.time) == ("churn.events", "id", "time")
    assert (pipeline.labels.topic, pipeline.labels.value) == ("churn.labels", "left")
    assert not spec.horizon_given


def test_what_stands_there_counts(tmp_path: Path) -> None:
    more = "events: {id: who, time: at}\nlabels: {value: gone, horizon: 30d, positive: '> 3'}\n"
    spec = read_spec(written(tmp_path, HEAD + more), label_column="left")
    pipeline = spec.pipeline
    assert (pipeline.labels.id, pipeline.labels.time, pipeline.labels.value) == ("who", "at", "gone")
    assert (str(pipeline.labels.positive), pipeline.labels.horizon) == ("> 3", 30 * 86_400_000)
    assert spec.horizon_given


def test_the_file_of_production_is_one(tmp_path: Path) -> None:
    (tmp_path / "left.avsc").write_text(
        '{"type": "record", "name": "Left", "fields": [{"name": "id", "type": "string"},'
        ' {"name": "at", "type": "long"}, {"name": "left", "type": "boolean"}]}'
    )
    more = (
        "events: {topic: crm.events, id: id, time: at, format: json}\n"
        "labels: {topic: crm.left, format: {avro: left.avsc}, id: id, time: at, value: left, horizon: 3d}\n"
    )
    pipeline = read_spec(written(tmp_path, HEAD + more), label_column=None).pipeline
    assert (pipeline.events.topic, pipeline.labels.topic) == ("crm.events", "crm.left")
    assert pipeline.labels.format == Format()  # sent as JSON, whatever production sends


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("evnts: {id: who}\n", "churn.yaml:4:1: evnts: unknown key 'evnts' (did you mean 'events'?)"),
        ("events: {topc: a}\n", "churn.yaml:4:10: events.topc: unknown key 'topc' (did you mean 'topic'?)"),
        ("events: 3\n", "churn.yaml:4:9: events: expected keys and values, got 3"),
        ("labels: {horizon: soon}\n", "churn.yaml:4:19: labels.horizon: expected a duration"),
        ("", "churn.yaml:1:1: labels: 'value' is missing"),
    ],
)
def test_mistakes_are_shown_as_check_shows_them(more: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Failure) as failure:
        read_spec(written(tmp_path, HEAD + more), label_column=None)
    assert message in str(failure.value)


def test_nobody_is_there_to_approve(tmp_path: Path) -> None:
    more = "labels: {value: left, available: after_action}\npolicy: {approval: four_eyes}\n"
    spec = read_spec(written(tmp_path, HEAD + more), label_column=None)
    assert spec.pipeline.policy.approval == "automatic"
    assert spec.notes == ("approval is four_eyes: here every challenger is agreed to at once",)

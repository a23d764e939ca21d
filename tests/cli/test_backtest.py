"""`penstock backtest` from files to a result: the loop notices a changed concept, and the metrics add up."""

from __future__ import annotations

import csv
import json
import math
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from penstock.cli import main
from penstock.cli.backtest import feed
from penstock.cli.backtest.result import of_labels, of_scores
from penstock.cli.backtest.trial import Trial, trial
from penstock.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS, DRIFT, DELAY = 2200, 1500, 30
SPEC = """\
pipeline: turned
task: binary
features:
  a: number
  kind: {category: from_first_rows}
lanes:
  linear: {algorithm: logistic_regression, window: expanding, every: 1h}
policy:
  first_training: 1000s
  alarm: {average_run_length: 1000, block: 10rows}
  compare: {block: 10rows, level: 0.05, margin: 0.005, half_life: 500}
  canary: {shares: [0.5], each: 60s}
  watch: 300s
  retrain: {cool_down: 100s, at_most: 8 per 2000s}
"""
THREE = """\
pipeline: three
task: multiclass
classes: [calm, gale, storm]
features: {wind: number}
"""
NUMBER = """\
pipeline: number
task: regression
features: {wind: number}
labels: {value: damage}
"""


def rows() -> Iterator[dict[str, Any]]:
    """Who says yes is decided by one number and one word, and from one row on by their contrary."""
    dice = random.Random(1)  # noqa: S311 - a stream, no secret
    for number in range(ROWS):
        a, kind = dice.gauss(0, 1), dice.choice("xyz")
        z = (2 * a + (kind == "x")) * (1 if number < DRIFT else -1)
        yield {"a": f"{a:.3f}", "kind": kind, "y": int(dice.random() < 1 / (1 + math.exp(-2 * z)))}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backtest")
    (folder / "turned.yaml").write_text(SPEC)
    with (folder / "turned.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["a", "kind", "y"])
        writer.writeheader()
        writer.writerows(rows())
    return folder


def asked(folder: Path) -> Trial:
    return Trial(
        spec=folder / "turned.yaml",
        events=folder / "turned.csv",
        label_column="y",
        label_delay=f"{DELAY}rows",
    )


@pytest.fixture(scope="module")
def told(files: Path) -> dict[str, Any]:
    found = trial(asked(files)).result.as_object()
    return json.loads(json.dumps(found))  # type: ignore[no-any-return] # what a program sees of it


def test_the_loop_notices_and_comes_back(told: dict[str, Any]) -> None:
    assert told["rows"] == ROWS
    [alarm, *_] = [row for row in told["alarms"] if row > DRIFT]
    [retrain, *_] = [row for row in told["retrains"] if row > DRIFT]
    [promotion, *_] = [row for row in told["promotions"] if row > DRIFT]
    assert DRIFT < alarm <= retrain < promotion < DRIFT + 400
    assert [row for row in told["alarms"] if row < DRIFT] == []
    assert told["rollbacks"] == []
    champion = max(line["version"] for line in told["versions"] if line["answered"])
    [line] = [line for line in told["versions"] if line["version"] == champion]
    assert (line["lane"], line["purpose"]) == ("alarm", "alarm")
    assert [line["lane"] for line in told["lanes"]] == ["linear", "baseline", "alarm"]
    assert told["dead_letters"] == 0


def test_the_metrics_are_those_of_the_rows(told: dict[str, Any]) -> None:
    labels = [row["y"] for row in rows()]
    scored = range(ROWS // 10, ROWS)
    assert told["scored"] == len(scored)
    metrics = told["metrics"]
    # When row n arrives, that of row n - 30 has just become known.
    last = np.mean([labels[row] == labels[row - DELAY] for row in scored])
    assert metrics["no_change"] == {"accuracy": pytest.approx(last, abs=1e-6), "log_loss": None, "auc": None}
    means = [(sum(labels[: row - DELAY + 1]) + 1) / (row - DELAY + 3) for row in scored]
    surprise = -np.mean(
        [math.log(mean if labels[row] else 1 - mean) for row, mean in zip(scored, means, strict=True)]
    )
    assert metrics["prior"]["log_loss"] == pytest.approx(surprise, abs=1e-6)
    assert metrics["system"]["log_loss"] < metrics["static"]["log_loss"] - 0.1
    assert metrics["system"]["auc"] > metrics["static"]["auc"]
    assert set(metrics) == {"system", "static", "prior", "no_change"}


def test_a_second_run_says_the_same(
    files: Path, told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["backtest", str(files / "turned.yaml"), "--events", str(files / "turned.csv")]
    options = ["--label-column", "y", "--label-delay", f"{DELAY}rows", "-o", "json"]
    assert main([*arguments, *options]) == Exit.OK
    printed = capsys.readouterr()
    again = json.loads(printed.out)
    assert {**again, "seconds": None} == {**told, "seconds": None}
    assert "row n is second n" in printed.err


def test_decisions_do_not_hang_on_how_much_arrives_at_a_time(
    files: Path, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_ROWS_A_STEP", 7)
    found = trial(asked(files)).result.as_object()
    essence = ("type", "version", "lane", "event_time")
    assert [[line[key] for key in essence] for line in found["decisions"]] == [
        [line[key] for key in essence] for line in told["decisions"]
    ]


def small(folder: Path, spec: str, events: str, *options: str) -> list[str]:
    (folder / "spec.yaml").write_text(spec)
    (folder / "events.csv").write_text(events)
    return ["backtest", str(folder / "spec.yaml"), "--events", str(folder / "events.csv"), *options]


def test_several_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = "wind,sky\n" + "1,calm\n2,gale\n1,calm\n3,storm\n1,calm\n" * 4
    options = ["--label-column", "sky", "--label-delay", "1rows", "-o", "json"]
    assert main(small(tmp_path, THREE, events, *options)) == Exit.OK
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["system"] == metrics["static"]
    assert metrics["system"]["log_loss"] == pytest.approx(math.log(3), abs=1e-5)
    assert metrics["system"]["auc"] == 0.5
    assert metrics["no_change"]["accuracy"] == pytest.approx(3 / 18, abs=1e-6)


def test_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = "wind,damage,known\n" + "1,2.0,10\n2,4.0,10\n" * 10
    options = ["--label-column", "damage", "--delay-column", "known", "--score-from", "0", "-o", "json"]
    assert main(small(tmp_path, NUMBER, events, *options)) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    nothing = {"accuracy": None, "log_loss": None, "auc": None}
    assert told["metrics"]["system"] == {**nothing, "squared_error": 10.0}  # version 0 says 0
    assert told["metrics"]["no_change"].items() >= nothing.items()


def test_the_table_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = "time,wind,damage\n" + "".join(f"2013-01-01T{hour:02}:00:00Z,1,2\n" for hour in range(20))
    options = ["--label-column", "damage", "--label-delay", "2h"]
    assert main(small(tmp_path, NUMBER, events, *options)) == Exit.OK
    printed = capsys.readouterr()
    assert "number: 20 rows in " in printed.out
    assert "the last label" in printed.out
    assert "Nothing was decided: no training was due." in printed.out
    assert "no training will be due: policy.first_training is 28d" in printed.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], Exit.USAGE, "give the labels: either --labels FILE or --label-column C"),
        (["--label-column", "damage"], Exit.USAGE, "say when the labels of the column became known"),
        (["--labels", "x.csv", "--label-delay", "3h"], Exit.USAGE, "says itself when each became known"),
        (["--label-column", "damage", "--label-delay", "soon"], Exit.USAGE, "--label-delay: expected a dura"),
        (
            ["--label-column", "damage", "--label-delay", "1h", "--score-from", "later"],
            Exit.USAGE,
            "--score-from: expected a row, a time or a share such as 10%, got 'later'",
        ),
        (
            ["--label-column", "damage", "--label-delay", "1h", "--score-from", "20"],
            Exit.USAGE,
            "--score-from: no row is left from 20 on",
        ),
        (["--labels", "no.csv"], Exit.NOT_FOUND, "no.csv: No such file or directory"),
    ],
)
def test_what_cannot_be_asked_for(
    options: list[str], code: Exit, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(small(tmp_path, NUMBER, "wind,damage\n" + "1,2\n" * 20, *options)) == code
    assert message in capsys.readouterr().err


def test_records_that_nobody_can_read_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = "wind,damage\n1,2\nstrong,3\n" + "1,2\n" * 20
    options = ["--label-column", "damage", "--label-delay", "1rows", "-o", "json"]
    assert main(small(tmp_path, NUMBER, events, *options)) == Exit.OK
    printed = capsys.readouterr()
    assert json.loads(printed.out)["dead_letters"] == 1
    assert "1 record became dead letters, the first: feature 'wind' is 'strong'" in printed.err


def test_metrics_of_nothing_are_none() -> None:
    nothing = {"accuracy": None, "log_loss": None, "auc": None}
    assert of_scores("binary", np.empty((0, 1)), np.empty(0)) == nothing
    assert of_labels("binary", np.empty(0), np.empty(0)) == nothing

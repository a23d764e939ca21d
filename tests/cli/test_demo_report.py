"""The demo's account: it holds when nothing is missing, and says so when something is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from penstock.cli.demo.course import Course
from penstock.cli.demo.quality import Quality
from penstock.cli.demo.report import Account, Expected, Learned, Report, Seen, account
from penstock.cli.replay import Replayed
from penstock.contracts.records import JoinAdvanced, Origin, Outcome, OutcomeKind, Prediction

HORIZON = 100


def prediction(name: str, time: int = 0, origin: Origin = Origin.STREAM) -> Prediction:
    return Prediction(
        id=name, origin=origin, time=time, epoch=1, version=0, role=None, scores=(), error=None, cleared=()
    )


def outcome(name: str, kind: OutcomeKind, origin: Origin = Origin.STREAM) -> Outcome:
    return Outcome(
        id=name,
        origin=origin,
        kind=kind,
        time=0,
        label=None,
        label_time=None,
        epoch=1,
        version=0,
        role=None,
        scores=(),
    )


def watermark(time: int) -> JoinAdvanced:
    return JoinAdvanced(watermark=time, idle=False, repeats=0, duplicate_labels=0, stale_labels=0)


@pytest.fixture
def seen() -> Seen:
    """Of five predictions one is labelled, one revised after expiry, one expired, one waits, one is gRPC."""
    seen = Seen(horizon=HORIZON)
    for name, time in (("labelled", 0), ("revised", 0), ("expired", 0), ("waits", 150)):
        seen.predicted(prediction(name, time), 0)
    seen.predicted(prediction("labelled", 0), 0)  # once more
    seen.predicted(prediction("labelled", 200, Origin.GRPC), 0)  # same id, another origin
    for name, kind in (
        ("labelled", OutcomeKind.LABELLED),
        ("revised", OutcomeKind.EXPIRED),
        ("revised", OutcomeKind.REVISED),
        ("expired", OutcomeKind.EXPIRED),
    ):
        seen.became(outcome(name, kind), 0)
    seen.became(watermark(250), 0)
    return seen


def test_every_prediction_is_accounted_for_once(seen: Seen) -> None:
    assert account(seen, Origin.STREAM) == Account(
        predictions=4, outcomes=2, waiting=1, never_labelled=1, lost=0, unasked=0
    )
    assert account(seen, Origin.GRPC) == Account(
        predictions=1, outcomes=0, waiting=1, never_labelled=0, lost=0, unasked=0
    )
    assert seen.repeats == 1


def test_a_prediction_waits_as_long_as_its_horizon_and_then_is_lost(seen: Seen) -> None:
    seen.became(watermark(251), 0)
    assert account(seen, Origin.STREAM).lost == 1
    assert not account(seen, Origin.STREAM).holds
    assert account(seen, Origin.GRPC).holds


def test_a_watermark_speaks_for_its_own_partition_only(seen: Seen) -> None:
    seen.became(watermark(10_000), 1)
    assert account(seen, Origin.STREAM).holds


def test_an_outcome_of_a_prediction_nobody_made_breaks_the_account(seen: Seen) -> None:
    seen.became(outcome("invented", OutcomeKind.LABELLED), 0)
    assert account(seen, Origin.STREAM).unasked == 1
    assert not account(seen, Origin.STREAM).holds


WHOLE = Account(predictions=10, outcomes=7, waiting=2, never_labelled=1, lost=0, unasked=0)
COURSE = Course(
    versions=[
        {
            "version": 1,
            "lane": "everything",
            "purpose": "first",
            "algorithm": "hist_gradient_boosting",
            "rows": 7962,
            "since_day": None,
            "cut_day": 28.0,
            "asked_day": 29.5,
            "verdict": "passed",
            "champion": [{"id": "d2", "type": "Promoted", "day": 35.0, "by": "governor"}],
        }
    ],
    decisions=[
        {
            "id": "d2d2d2d2d2",
            "type": "Promoted",
            "version": 1,
            "lane": "everything",
            "event_time": "2013-02-05T00:00:00Z",
            "day": 35.0,
            "reason": "it went the whole way",
            "said": "",
            "causes": ["penstock.lifecycle/0/2"],
        }
    ],
    alarms=[],
    first=1,
    went_the_whole_way=True,
    forced=True,
    taken_back=True,
    why="penstock why d2d2d2d2",
    explained="Promoted d2d2d2d2",
)
LEARNED = Learned(
    course=COURSE,
    quality=Quality(
        rows=7,
        log_loss={"system": 0.52, "static": 0.54, "prior": 0.58, "baseline": 0.69},
        auc={"system": 0.71, "static": 0.68, "prior": 0.51, "baseline": 0.5},
    ),
    replayed=Replayed(pipeline="flights", facts=9, count=1),
    expected=Expected(champion=True, take_back=True),
)
REPORT = Report(
    events=11,
    features=10,
    dead_letters=1,
    unpredicted=0,
    repeats=0,
    stream=WHOLE,
    grpc=replace(WHOLE, predictions=3, outcomes=0, waiting=3, never_labelled=0),
    asked=3,
    answered=3,
    asked_again=0,
    restarts=0,
    phases={"replay": 2.0},
    seconds=2.0,
    learned=LEARNED,
)


@pytest.mark.parametrize(
    "broken",
    [
        replace(REPORT, events=12),
        replace(REPORT, unpredicted=1),
        replace(REPORT, stream=replace(WHOLE, lost=1)),
        replace(REPORT, stream=replace(WHOLE, unasked=1)),
        replace(REPORT, answered=2),
        replace(REPORT, asked=4, answered=4),
    ],
)
def test_conservation_fails_when_any_of_its_sums_does(broken: Report) -> None:
    assert REPORT.conserved
    assert not broken.conserved
    assert "CONSERVATION DOES NOT HOLD" in broken.as_text()


def test_the_report_as_an_object_has_the_keys_that_programs_read() -> None:
    shown = json.loads(json.dumps(REPORT.as_object()))
    assert {
        "events": 11,
        "features": 10,
        "dead_letters": 1,
        "predictions": 10,
        "outcomes": 7,
        "waiting": 2,
        "never_labelled": 1,
        "seconds": 2.0,
        "rows_per_s": 5.5,
    }.items() <= shown.items()
    assert {"asked": 3, "answered": 3}.items() <= shown["grpc"].items()


TOO_SHORT = Expected(champion=False, take_back=False)


@pytest.mark.parametrize(
    ("learned", "good"),
    [
        (LEARNED, True),
        (replace(LEARNED, course=replace(COURSE, went_the_whole_way=False)), False),
        (replace(LEARNED, course=replace(COURSE, taken_back=False)), False),
        (replace(LEARNED, replayed=replace(LEARNED.replayed, difference="decision 1 of 1 differs")), False),
        (replace(LEARNED, course=replace(COURSE, went_the_whole_way=False), expected=TOO_SHORT), True),
        (replace(LEARNED, course=replace(COURSE, taken_back=False), expected=TOO_SHORT), True),
    ],
)
def test_all_is_good_only_if_everything_there_was_time_for_has_happened(
    learned: Learned, *, good: bool
) -> None:
    report = replace(REPORT, learned=learned)
    assert report.good is good
    assert ("AND IT DID NOT HAPPEN" in report.as_text() or "DIFFERS" in report.as_text()) is not good


def test_what_is_not_conserved_is_not_good() -> None:
    assert REPORT.good
    assert not replace(REPORT, events=12).good


def test_the_loop_is_in_the_object() -> None:
    shown = json.loads(json.dumps(REPORT.as_object()))
    assert shown["log_loss"]["system"] < shown["log_loss"]["static"] < shown["log_loss"]["prior"]
    assert shown["auc"].keys() >= {"system", "static", "prior"}
    assert [each["version"] for each in shown["versions"]] == [1]
    assert {"id", "type", "version", "lane", "event_time", "day", "causes"} <= shown["decisions"][0].keys()
    assert shown["why"] == "penstock why d2d2d2d2"


def test_people_read_the_loop_before_the_account() -> None:
    text = REPORT.as_text()
    parts = ["everything", "Promoted 1 (everything)", "$ penstock why", "log loss", "stream", "Conservation"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)

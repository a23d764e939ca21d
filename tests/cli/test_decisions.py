"""What the verbs tell of a pipeline's life: history, decisions, why, drift, replay."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock import onnx
from penstock.cli import (
    decisions_list,
    decisions_show,
    drift_status,
    main,
    model_history,
    model_list,
    model_show,
    why,
)
from penstock.cli import replay as replay_verb
from penstock.cli.exits import Exit
from penstock.contracts import records as r
from penstock.registry import task as registry
from penstock.runtime.broker import TopicPartition
from tests.cli.story import Story
from tests.scenarios.system import CHURN

MODULES = (
    decisions_list,
    decisions_show,
    drift_status,
    model_history,
    model_list,
    model_show,
    replay_verb,
    why,
)
GOLDEN = Path(__file__).parent / "golden"


def tell() -> Story:
    """A whole story of its own, for a test that writes into it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "check", functools.cache(onnx.check))
        return Story().whole()


@pytest.fixture(scope="module")
def told() -> Story:
    return tell()


@pytest.fixture(autouse=True)
def story(told: Story, monkeypatch: pytest.MonkeyPatch) -> Story:
    show(told, monkeypatch)
    return told


def show(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES:
        monkeypatch.setattr(module, "connected", story.connected)


def output(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "-o", "json"]) == Exit.OK
    return json.loads(capsys.readouterr().out)


def text(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == Exit.OK
    return capsys.readouterr().out


def rollback(story: Story) -> r.RolledBack:
    [decision] = story.decided(r.RolledBack)
    assert isinstance(decision, r.RolledBack)
    return decision


# -- versions


def test_the_list_says_what_each_version_is_and_since_when(capsys: pytest.CaptureFixture[str]) -> None:
    rows = output(capsys, "model", "list", "churn")
    assert [(row["version"], row["lane"], row["stage"], row["since"], row["verdict"]) for row in rows] == [
        (0, "baseline", "shadow", "2013-02-11T18:00:00Z", "none"),
        (1, "everything", "champion", "2013-02-11T18:00:00Z", "passed"),
        (2, "recent", "shadow", "2013-01-30T18:00:00Z", "passed"),
    ]
    assert (rows[1]["rows"], rows[1]["trained_from"], rows[1]["trained_until"]) == (
        2_800,
        None,
        "2013-01-29T06:00:00Z",
    )


def test_the_only_pipeline_needs_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "model", "show", "2") == output(capsys, "model", "show", "churn", "2")
    assert output(capsys, "model", "show")["version"] == 1


def test_the_history_says_who_made_which_version_champion_when_and_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = output(capsys, "model", "history")
    reigns = [
        (effect["version"], line["type"], line["day"], line["by"], line["reason"])
        for line in lines
        for effect in line["effects"]
        if effect["stage"] == "champion"
    ]
    assert reigns == [
        (0, "VersionRegistered", None, "registry", ""),
        (1, "Promoted", 35, "governor", "it went the whole way"),
        (0, "Promoted", 35, "ada", "forced by ada: a drill"),
        (1, "RolledBack", 41, "governor", "version 1 was better by more than the margin on 8 blocks"),
    ]
    table = text(capsys, "model", "history").splitlines()
    assert len(table) == 1 + len(lines)
    assert "0 champion, 1 shadow" in table[-2]


# -- decisions


def test_decisions_are_listed_in_their_order(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    listed = output(capsys, "decisions", "list", "churn")
    assert [each["id"] for each in listed] == [each.id for each in story.decided()]
    last = listed[-1]
    assert (last["type"], last["version"], last["lane"], last["day"]) == ("RolledBack", 1, "everything", 41)
    assert last["event_time"] == "2013-02-11T18:00:00Z"
    assert [cause.rpartition("/")[0] for cause in last["causes"]] == ["penstock.evidence/2"] * 2
    assert output(capsys, "decisions", "list", "-n", "1") == [last]
    some = output(capsys, "decisions", "list", "--type", "Promoted,RolledBack")
    assert [each["type"] for each in some] == ["Promoted", "Promoted", "RolledBack"]


def test_a_table_of_decisions_is_for_people(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    head, *lines = text(capsys, "decisions", "list").splitlines()
    assert head.split() == ["id", "day", "event", "time", "type", "version", "lane", "reason"]
    assert lines[-1].startswith(rollback(story).id[:8])


def test_a_decision_is_shown_by_the_beginning_of_its_id(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = output(capsys, "decisions", "show", rollback(story).id[:6].upper())
    assert shown["id"] == rollback(story).id
    assert shown["route"]["champion"] == 1
    assert shown["compared"].startswith("mean difference -0.1700, e-value better 24.5")
    assert shown["previous"] == rollback(story).previous


# -- why


def masked(tree: str) -> str:
    """Ids hang on where facts came to lie, which is not what a story is about."""
    return re.sub(r"\b[0-9a-f]{8}(?= )", "········", tree)


def test_why_of_a_rollback_is_told_down_to_the_offsets(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    told = masked(text(capsys, "why", rollback(story).id))
    assert told.rstrip("\n") == (GOLDEN / "why.txt").read_text(encoding="utf-8").rstrip("\n")


def test_the_page_shows_what_why_prints() -> None:
    page = (Path(__file__).parents[2] / "docs" / "decisions.md").read_text(encoding="utf-8")
    [tree] = re.findall(r"^```\n(RolledBack .*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert masked(tree) == (GOLDEN / "why.txt").read_text(encoding="utf-8")


def test_why_of_anything_leads_to_the_log(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    for word in (
        "1",
        "churn/1",
        "candidate-1",
        rollback(story).id[:8],
        "evidence/2/13",
        "penstock.evidence/2/13",
        "c0ffee",
    ):
        found = output(capsys, "why", word)
        while found["causes"]:
            found = found["causes"][-1]
        assert found["type"] in {"Summary", "PromoteVersion"}, word
        assert len(found["place"].split("/")) == 3


def test_the_chain_of_a_version_passes_its_training(capsys: pytest.CaptureFixture[str]) -> None:
    link, kinds = output(capsys, "why", "1"), []
    assert link["notes"][-1].startswith("champion from 2013-02-11T18:00:00Z by RolledBack ")
    while True:
        kinds.append(link["type"])
        if not link["causes"]:
            break
        [link] = link["causes"]
    assert kinds == ["VersionRegistered", "CandidateTrained", "RetrainRequested", "Heartbeat", "Summary"]


def test_the_first_decision_leads_to_the_pipeline_that_was_applied_even_when_that_is_compacted_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = tell()
    show(story, monkeypatch)
    first = story.decided(r.BaselineRequested)[0]
    before = output(capsys, "why", first.id)
    assert before["causes"][0]["type"] == "PipelineApplied"
    where = TopicPartition("penstock.pipelines", story.partition)
    again = story.system.broker.logs[where].entries[0].record
    assert again is not None
    story.system.apply({**CHURN, "owner": "somebody@else.example"})
    story.system.broker.logs[where].entries[0].record = None  # as compaction leaves it
    assert output(capsys, "why", first.id) == before


def test_what_leads_to_two_things_is_told_where_it_is_met_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = tell()
    show(story, monkeypatch)
    [back] = story.decided(r.RolledBack)
    twice = replace(back, id="twice", causes=(back.causes[0], back.causes[1], back.causes[1]))
    story.write("decisions", twice)
    lines = text(capsys, "why", "twice").splitlines()
    [first, again] = [number for number, line in enumerate(lines) if "VersionsCompared" in line]
    assert lines[again].endswith(", see above")
    assert "Summary" not in lines[again + 1]
    assert first < again < next(number for number, line in enumerate(lines) if "Heartbeat" in line)


def test_a_cause_that_is_gone_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = tell()
    show(story, monkeypatch)
    for entry in story.system.broker.logs[TopicPartition("penstock.summaries", story.partition)].entries:
        entry.record = None
    assert "summaries/2/13, which is no longer in the log" in text(capsys, "why", rollback(story).id)


# -- drift


def test_drift_is_told_from_the_evidence(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    status = output(capsys, "drift", "status")
    assert (status["champion"], status["judged_until"]) == (1, "2013-02-10T06:00:00Z")
    assert [(row["version"], row["rows"], row["loss"]) for row in status["quality"]] == [
        (1, 200, 0.52),
        (0, 200, 0.69),
    ]
    assert [(alarm["version"], alarm["blocks"]) for alarm in status["alarms"]] == [(0, 12)]
    assert [warned["feature"] for warned in status["warnings"]] == ["age"]
    assert status["versions"] == [], "version 1 was compared with another champion"
    assert status["holes"] == []
    said = text(capsys, "drift", "status", "churn")
    assert "version 0 (baseline) fails since 2013-02-06T00:00:00Z" in said
    assert "Holes in the summaries: none" in said
    assert len(story.decided(r.RolledBack)) == 1


def test_what_is_over_is_not_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = tell()
    show(story, monkeypatch)
    end = 1_360_540_800_000
    story.evidence(r.PerformanceRecovered, end, version=0, lane="baseline", statistic=0.0)
    story.evidence(r.DriftCleared, end, version=1, feature="age", statistic="mean")
    story.evidence(r.HoleFound, end, partition=1, expected=7, found=9)
    story.compare(0, against=1, better=-3.0, blocks=4)
    status = output(capsys, "drift", "status")
    assert (status["alarms"], status["warnings"]) == ([], [])
    assert [(hole["expected"], hole["found"]) for hole in status["holes"]] == [(7, 9)]
    assert [(row["version"], row["blocks"]) for row in status["versions"]] == [(0, 4)]
    assert "summaries of partition 1 are missing" in text(capsys, "drift", "status")


# -- replay


def test_a_replay_gives_every_decision_again(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    count = len(story.decided())
    assert re.fullmatch(rf"{count} decisions from \d+ facts, identical\n", text(capsys, "replay", "churn"))
    assert output(capsys, "replay")["identical"] is True


def test_a_decision_that_was_changed_is_shown_field_by_field(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = tell()
    show(story, monkeypatch)
    log = story.system.broker.logs[TopicPartition("penstock.decisions", story.partition)]
    entry = next(each for each in log.entries if each.record is not None and _is_rollback(story, each.record))
    assert entry.record is not None
    forged = replace(rollback(story), reason="nothing to see here")
    entry.record = entry.record._replace(value=story.system.codec.encode(forged))
    assert main(["replay"]) == Exit.FAILED
    told = capsys.readouterr().out
    count = len(story.decided())
    assert told.startswith(f"decision {count} of {count} differs\n")
    assert "nothing to see here" in told
    assert "better by more than the margin" in told
    assert main(["replay", "-o", "json"]) == Exit.FAILED
    assert [each["field"] for each in json.loads(capsys.readouterr().out)["fields"]] == ["reason"]


def _is_rollback(story: Story, record: Any) -> bool:
    return isinstance(story.system.decode(record.value), r.RolledBack)


def test_a_decision_that_nobody_made_and_a_fact_that_is_missing_are_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = tell()
    show(story, monkeypatch)
    count = len(story.decided())
    story.write("decisions", replace(rollback(story), id="forged"))
    assert main(["replay"]) == Exit.FAILED
    said = capsys.readouterr().out
    assert said == (
        f"the log has {count + 1} decisions, the journal gives {count};"
        " the first without a match is RolledBack forged\n"
    )
    journal = story.system.broker.logs[TopicPartition("penstock.governor-journal", story.partition)]
    next(each for each in journal.entries if each.visible).record = None
    assert main(["replay"]) == Exit.FAILED
    assert capsys.readouterr().out == "the journal has a hole: fact 1 stands where 0 is due\n"


# -- what is not there


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["decisions", "list", "chrun"], 4, "no pipeline 'chrun' is applied (did you mean 'churn'?)\n"),
        (["decisions", "show", "zzz"], 4, "no decision has an id that begins with 'zzz'\n"),
        (["why", "zzz"], 4, "no event has an id that begins with 'zzz'\n"),
        (["why", ""], 4, "no event has an id that begins with ''\n"),
        (["why", "churn/9"], 4, "there is no version churn/9\n"),
        (["why", "evidence/2/999"], 4, "there is no event at evidence/2/999\n"),
        (["why", "nothing/0/0"], 4, "there is no event at nothing/0/0\n"),
        (["replay", "other"], 4, "no pipeline 'other' is applied\n"),
        (["model", "show", "9"], 4, "pipeline 'churn' has no version 9\n"),
    ],
)
def test_what_is_not_there_is_one_line(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    assert capsys.readouterr().err == message


def test_an_id_that_may_be_several_things_and_a_kind_that_is_none_are_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["why", "0000"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "'0000' may be Heartbeat 00000000-" in said
    assert " more: give more of the id" in said
    assert main(["decisions", "list", "--type", "Demoted"]) == Exit.USAGE
    assert "--type: there is no 'Demoted', expected some of BaselineRequested" in capsys.readouterr().err


def test_with_two_pipelines_one_has_to_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = tell()
    show(story, monkeypatch)
    story.system.apply({**CHURN, "pipeline": "renewal"})
    story.system.settle()
    for verb in (["decisions", "list"], ["model", "history"], ["drift", "status"], ["replay"]):
        assert main(verb) == Exit.USAGE
        assert capsys.readouterr().err == "which pipeline? There are churn, renewal\n"
    [only] = output(capsys, "decisions", "list", "renewal")
    assert only["type"] == "BaselineRequested"
    assert output(capsys, "replay", "renewal")["decisions"] == 1
    assert text(capsys, "drift", "status", "renewal").startswith("renewal: no time block is sealed yet\n")

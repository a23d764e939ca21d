"""What operators ask of the governor, and how they hear its answer."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest

from penstock import onnx
from penstock.cli import command, main, model_list
from penstock.cli.exits import Exit
from penstock.contracts import records as r
from penstock.governor import task as governor
from penstock.kernel.errors import Invalid
from penstock.registry import task as registry
from tests.cli.story import HORIZON, SPEC, Story

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture(autouse=True)
def _checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "check", functools.cache(onnx.check))


def alive(monkeypatch: pytest.MonkeyPatch, spec: Mapping[str, object] = SPEC) -> Story:
    """A pipeline with a champion that has learned, and services that answer."""
    story = Story(spec)
    monkeypatch.setattr(command, "connected", story.alive)
    monkeypatch.setenv("LOGNAME", "ada")
    story.train()
    story.day(28.25)
    story.train(purpose=r.Purpose.FIRST)
    story.train()
    return story


def champion(story: Story) -> int:
    return int(story.system.events("routes")[-1].champion)


def said(capsys: pytest.CaptureFixture[str], code: Exit, *words: str) -> str:
    assert main([*words]) == code
    captured = capsys.readouterr()
    assert bool(captured.out) != bool(captured.err)
    return captured.out or captured.err


def test_a_forced_promotion_and_its_rollback_name_who_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = alive(monkeypatch)
    assert main(["model", "promote", "churn", "2", "--force", "--reason", "a drill", "-o", "json"]) == Exit.OK
    answer: Any = json.loads(capsys.readouterr().out)
    [asked] = story.system.events("commands")
    assert (asked.version, asked.force, asked.operator, asked.reason) == (2, True, "ada", "a drill")
    assert answer["command"]["id"] == asked.id
    [promoted] = answer["decisions"]
    assert (promoted["type"], promoted["version"], promoted["causes"]) == (
        "Promoted",
        2,
        [answer["command"]["place"]],
    )
    story.system.settle()
    assert champion(story) == 2

    told = said(capsys, Exit.OK, "model", "rollback", "--operator", "bo")
    assert told.startswith("RolledBack ")
    assert told.endswith("version 0 (baseline) is the champion again instead of version 2: asked for by bo\n")
    story.system.settle()
    assert champion(story) == 0


def test_a_share_of_the_ids_is_given_and_taken_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = alive(monkeypatch)
    told = said(capsys, Exit.OK, "model", "split", "churn", "2", "--share", "0.3", "--reason", "a field test")
    assert told.startswith("TrafficSplit ")
    said_so = (
        ": version 2 (recent) answers 30% of the ids until told otherwise: asked for by ada: a field test\n"
    )
    assert told.endswith(said_so)
    [asked] = story.system.events("commands")
    assert (asked.version, asked.share) == (2, 0.3)
    story.system.settle()
    assert story.system.events("routes")[-1].split == 2
    monkeypatch.setattr(model_list, "connected", story.connected)
    assert main(["model", "list", "-o", "json"]) == Exit.OK
    stages = {each["version"]: each["stage"] for each in json.loads(capsys.readouterr().out)}
    assert stages[2] == "split"

    assert said(capsys, Exit.REFUSED, "model", "split", "2", "--share", "0.3").startswith(
        "version 2 has that"
    )
    assert "the split of the traffic to end" in said(capsys, Exit.OK, "model", "split", "--end", "--no-wait")
    story.system.settle()
    assert story.system.events("routes")[-1].split is None


def test_a_pipeline_is_held_and_resumed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = alive(monkeypatch)
    told = said(capsys, Exit.OK, "hold", "churn", "--reason", "the crm moves")
    assert "held by ada: the crm moves" in told
    assert said(capsys, Exit.REFUSED, "hold") == "the pipeline is held: there is nothing to hold\n"
    assert said(capsys, Exit.OK, "resume").startswith("Resumed ")
    assert [type(each) for each in story.decided(r.Held, r.Resumed)] == [r.Held, r.Resumed]


def test_what_the_governor_refuses_is_exit_code_8_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = alive(monkeypatch)
    assert said(capsys, Exit.REFUSED, "model", "promote", "7").startswith("there is no version 7")
    assert said(capsys, Exit.REFUSED, "model", "rollback").startswith("no former champion is watched")
    assert main(["model", "promote", "7", "-o", "json"]) == Exit.REFUSED
    [alerted] = json.loads(capsys.readouterr().out)["decisions"]
    assert alerted["type"] == "Alerted"
    assert champion(story) == 0


def test_agreeing_to_a_challenger_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = alive(monkeypatch, {**SPEC, "policy": {"approval": "manual"}})
    told = said(capsys, Exit.OK, "model", "promote", "1", "--reason", "looks right")
    assert told.startswith("Approved ")
    assert told.endswith(": version 1 is agreed to: approved of by ada: looks right\n")
    [approved] = story.decided(r.Approved)
    assert approved.version == 1
    assert main(["model", "promote", "1", "-o", "json"]) == Exit.OK, "twice is no refusal either"
    [answer] = json.loads(capsys.readouterr().out)["decisions"]
    assert (answer["type"], answer["version"]) == ("Approved", 1)
    story.day(28.25 + HORIZON / 86_400_000)
    assert len(story.decided(r.CanaryStarted)) == 1


def test_without_waiting_the_command_is_only_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = alive(monkeypatch)
    monkeypatch.setattr(command, "connected", story.connected)
    assert said(capsys, Exit.OK, "hold", "--no-wait").startswith("ada asked for nothing to be decided")
    assert story.decided(r.Held) == []
    story.system.settle()
    assert len(story.decided(r.Held)) == 1


def test_a_governor_that_does_not_answer_is_exit_code_7(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = alive(monkeypatch)
    monkeypatch.setattr(command, "connected", story.connected)
    told = said(capsys, Exit.TIMEOUT, "hold", "--timeout", "1")
    assert told == (
        "no answer within 1 s: the command is penstock.commands/2/0,"
        " and will be answered once a governor runs\n"
    )


def test_a_command_that_became_a_dead_letter_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = alive(monkeypatch)

    def refuse(*_: object) -> None:
        raise Invalid("a command of nobody", reason="unknown")

    monkeypatch.setattr(governor, "decide", refuse)
    assert said(capsys, Exit.REFUSED, "resume") == "a command of nobody\n"
    assert story.decided(r.Resumed) == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["hold", "chrun"], Exit.NOT_FOUND, "no pipeline 'chrun' is applied (did you mean 'churn'?)"),
        (
            ["model", "promote"],
            Exit.USAGE,
            "the following arguments are required: VERSION",
        ),
        (
            ["model", "promote", "churn", "latest"],
            Exit.USAGE,
            "argument VERSION: 'latest' is not a whole number, 0 or more",
        ),
        (
            ["model", "split", "churn", "2", "--share", "30"],
            Exit.USAGE,
            "argument --share: '30' is not a number between 0 and 1",
        ),
        (["model", "split", "churn", "--share", "0.3"], Exit.USAGE, "which version?"),
        (["model", "split", "churn", "2"], Exit.USAGE, "one of the arguments --share --end is required"),
        (["model", "split", "churn", "2", "--end"], Exit.USAGE, "leave out 2"),
    ],
)
def test_what_cannot_be_asked_is_not_written(
    words: list[str],
    code: Exit,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    story = alive(monkeypatch)
    assert message in said(capsys, code, *words)
    assert story.system.events("commands") == []

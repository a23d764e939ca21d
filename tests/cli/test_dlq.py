"""`dlq list`, `dlq show` and the retry of one, on letters that ingest itself wrote."""

from __future__ import annotations

import shlex

import pytest

from penstock.cli import main
from penstock.cli.exits import Exit
from penstock.runtime.broker import Gap, Message, TopicPartition
from penstock.runtime.codec import Codec
from penstock.runtime.deadletter import gap_letter
from tests.cli.lettered import HELD, NO_ID, NOT_JSON, lettered, origin_of, output, raw
from tests.scenarios.system import System


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return lettered(monkeypatch)


@pytest.mark.parametrize("word", [[], ["churn"], ["churn.dead-letters.ingest"], [HELD]])
def test_letters_are_listed_by_pipeline_by_topic_or_all(
    word: list[str], system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = output(capsys, "list", *word)
    assert [(each["topic"], each["origin"], each["reason"]) for each in listed] == [
        (HELD, origin_of(system, NO_ID), "missing_id"),
        (HELD, origin_of(system, NOT_JSON), "undecodable"),
    ]


@pytest.mark.usefixtures("system")
def test_a_table_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "list", "churn", "-n", "1"]) == Exit.OK
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["time", "topic", "origin", "reason", "message"]
    assert "churn.dead-letters.ingest" in line
    assert "penstock." not in line
    assert "not JSON" in line


@pytest.mark.parametrize(
    ("words", "count"), [(["--reason", "missing_id"], 1), (["-n", "1"], 1), (["-n", "0"], 0)]
)
def test_a_list_is_as_long_as_asked_for(
    words: list[str], count: int, system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(raw(system)) == 3
    assert len(output(capsys, "list", *words)) == count


@pytest.mark.usefixtures("system")
def test_nothing_to_list_is_not_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "list", "dead-letters.trainer"]) == Exit.OK
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "no dead letters\n")


def test_one_is_shown_as_it_came(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, "show", HELD, "--origin", origin_of(system, NOT_JSON))
    assert (shown["value"], shown["bytes"], shown["key"]) == ("{oops", 5, "k\\xff")
    assert shown["headers"] == {"tenant": "north", "trace": "\x00"}
    assert shown["reason"] == "undecodable"
    assert "not JSON" in shown["message"]


def test_the_command_in_a_letter_works_as_written(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    before = raw(system)
    commands = [each["retry"] for each in output(capsys, "list", "churn")]
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "penstock"
        assert main(words) == Exit.OK
    sent = [Message(each.topic, each.value, each.key, each.headers, each.partition) for each in raw(system)]
    for message in (NO_ID, NOT_JSON):
        assert sent.count(message) == 1
        again = message._replace(headers=(*message.headers, ("penstock.retries", b"1")))
        assert sent.count(again) == 1, "key, value, headers and partition are the producer's own"
    assert len(sent) == len(before) + 2


def test_a_retry_that_is_refused_again_is_a_letter_of_its_own(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    first = origin_of(system, NOT_JSON)
    assert main(["dlq", "retry", HELD, "--origin", first]) == Exit.OK
    assert capsys.readouterr().err == "5 bytes sent to crm.events, partition 1\n"
    system.settle()
    listed = output(capsys, "list", "--reason", "undecodable", "--state", "all")
    assert [(each["origin"] == first, each["state"], each["retries"]) for each in listed] == [
        (True, "retried", 0),
        (False, "open", 1),
    ]


@pytest.mark.parametrize("verb", ["show", "retry"])
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            [HELD, "--origin", "crm.events/0/99"],
            Exit.NOT_FOUND,
            f"no dead letter of crm.events/0/99 on {HELD}",
        ),
        (
            ["crm.events", "--origin", "crm.events/0/0"],
            Exit.NOT_FOUND,
            "'crm.events' is neither a pipeline nor a dead-letter topic",
        ),
        (
            ["chrun.dead-letters.ingest", "--origin", "crm.events/0/0"],
            Exit.NOT_FOUND,
            "(did you mean 'churn.dead-letters.ingest'?)",
        ),
        ([HELD, "--origin", "a/b"], Exit.USAGE, "'a/b' is no origin, expected TOPIC[/PARTITION[/OFFSET]]"),
        ([HELD, "--origin", "crm.events/0/-1"], Exit.USAGE, "'crm.events/0/-1' is no origin"),
    ],
)
def test_what_is_not_there_is_one_line(  # noqa: PLR0917 - what a case is made of
    verb: str,
    words: list[str],
    code: Exit,
    message: str,
    system: System,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["dlq", verb, *words]) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert len(raw(system)) == 3


def test_a_gap_has_nothing_to_retry(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    gap = Gap(partition=TopicPartition("crm.events", 1), start=5, end=9)
    system.broker.append(gap_letter(gap, service="ingest", topic=HELD, codec=Codec()))
    assert main(["dlq", "retry", HELD, "--origin", "crm.events/1/5"]) == Exit.NOT_FOUND
    assert capsys.readouterr().err == (
        "nothing to retry: crm.events/1/5: records 5 to 8 are gone: retention removed them unread\n"
    )


def test_to_show_one_it_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "show", HELD]) == Exit.USAGE
    assert "the following arguments are required: --origin" in capsys.readouterr().err
    assert main(["dlq", "show", HELD, "--origin", "crm.events/1"]) == Exit.USAGE
    assert "'crm.events/1' is no place, expected TOPIC/PARTITION/OFFSET" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["-3", "x", "1.5"])
def test_a_count_that_is_none_is_wrong_usage(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "list", "-n", count]) == Exit.USAGE
    assert capsys.readouterr().err == (
        f"penstock dlq list: argument -n: {count!r} is not a whole number, 0 or more"
        " (see penstock dlq list --help)\n"
    )


def test_a_topic_that_is_gone_is_nowhere_to_retry(
    system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = origin_of(system, NOT_JSON)
    left = {topic: count for topic, count in system.broker.topics().items() if topic != "crm.events"}
    monkeypatch.setattr(system.broker, "topics", lambda: left)
    assert main(["dlq", "retry", HELD, "--origin", where]) == Exit.NOT_FOUND
    missing = where.rpartition("/")[0]
    assert capsys.readouterr().err == f"nothing to retry: {where}: there is no {missing}\n"


def test_what_others_wrote_to_the_topic_is_left_out(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    for headers in ((), (("penstock.dead_letter", b"nonsense"),)):
        system.broker.append(Message(HELD, b"hello", None, headers))
    assert len(output(capsys, "list", "churn")) == 2

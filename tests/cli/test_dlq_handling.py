"""Several letters at once: chosen by filters, sent back and marked, given up, exported."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from penstock.cli import main
from penstock.cli.exits import Exit, Failure
from penstock.cli.letters.marks import marking
from penstock.contracts.records import DeadLetterMarked, LetterAction, Source
from penstock.kernel.errors import Invalid
from penstock.runtime.broker import Gap, Message, Record, TopicPartition
from penstock.runtime.codec import Codec
from penstock.runtime.deadletter import Refused, gap_letter, letter
from penstock.runtime.errors import Unavailable
from tests.cli.lettered import GOOD, HELD, NO_ID, NOT_JSON, connect, lettered, origin_of, output, raw
from tests.scenarios.system import CHURN, System

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = 60_000


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return lettered(monkeypatch)


def marks(system: System) -> list[DeadLetterMarked]:
    return system.events("dead-letter-marks")


def refuse(system: System, value: bytes = b"{again", **fields: Any) -> None:
    """One more record that is no event."""
    system.broker.append(Message("crm.events", value, **fields))
    system.settle()


# -- which


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        ([], ["missing_id", "undecodable"]),
        (["--reason", "missing_id"], ["missing_id"]),
        (["--reason", "missing_id", "--reason", "undecodable"], ["missing_id", "undecodable"]),
        (["--origin", "crm.events"], ["missing_id", "undecodable"]),
        (["--origin", "crm.events/1"], ["undecodable"]),
        (["--origin", "crm.outcomes"], []),
        (["--service", "intake"], ["missing_id", "undecodable"]),  # the service is called so in memory
        (["--service", "inference"], []),
        (["--state", "retried"], []),
        (["--state", "all"], ["missing_id", "undecodable"]),
        (["--since", "2096-10-02T07:06:40Z"], ["missing_id", "undecodable"]),
        (["--since", "2096-10-03"], []),
        (["--until", "2096-10-03"], ["missing_id", "undecodable"]),
        (["--until", "2h"], []),
    ],
)
@pytest.mark.usefixtures("system")
def test_letters_are_chosen(words: list[str], reasons: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert [each["reason"] for each in output(capsys, "list", "churn", *words)] == reasons


def test_a_duration_is_counted_from_now(
    system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("penstock.cli.dlq_list.time.time_ns", lambda: system.now * 1_000_000)
    assert len(output(capsys, "list", "--since", "1h")) == 2
    assert len(output(capsys, "list", "--until", "1h")) == 0
    system.now += 90 * MINUTE
    refuse(system)
    monkeypatch.setattr("penstock.cli.dlq_list.time.time_ns", lambda: system.now * 1_000_000)
    assert len(output(capsys, "list", "--since", "1h")) == 1
    assert len(output(capsys, "list", "--until", "1h")) == 2


@pytest.mark.parametrize("word", ["yesterday", "-2h", "2013-13-01"])
def test_a_time_that_is_none_is_wrong_usage(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "list", f"--since={word}"]) == Exit.USAGE
    assert f"'{word}' is no time, expected one such as 2026-03-02T09:00:00Z, or 2h" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--reason", "undecodeable"],
            "no such dead letters (did you mean 'undecodable'?); there are 1 missing_id, 1 undecodable",
        ),
        (["--origin", "crm.event"], "(did you mean 'crm.events'?)"),
        (["--state", "dropped"], "no dead letters but 2 open (--state all)"),
    ],
)
@pytest.mark.usefixtures("system")
def test_where_none_is_meant_it_says_what_there_is(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in (["list"], ["retry", "--yes"], ["drop", "--yes", "--because", "x"]):
        assert main(["dlq", *verb, "churn", *words]) == Exit.OK
        captured = capsys.readouterr()
        assert said in captured.err
        assert captured.out == ""


def test_reasons_are_counted(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(system)
    refuse(system, json.dumps({**GOOD, "age": "old"}).encode())
    assert [
        (each["from"], each["reason"], each["field"], each["letters"])
        for each in output(capsys, "list", "churn", "--count")
    ] == [
        ("crm.events", "undecodable", None, 2),
        ("crm.events", "missing_id", "event_id", 1),
        ("crm.events", "wrong_type", "age", 1),
    ]
    assert main(["dlq", "list", "--count"]) == Exit.OK
    assert capsys.readouterr().out.splitlines()[0].split() == [
        *("from", "service", "reason", "field", "letters", "first", "last")
    ]


def test_a_table_says_what_it_does_not_show(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "drop", "--origin", origin_of(system, NO_ID), "--because", "a test"]) == Exit.OK
    refuse(system)
    capsys.readouterr()
    assert main(["dlq", "list", "-n", "1"]) == Exit.OK
    said = capsys.readouterr()
    assert said.err == (
        "the newest 1 of 2 dead letters; -n shows more, --count how many of each reason\n"
        "not shown: 1 dropped (--state all)\n"
    )
    assert main(["dlq", "list", "--state", "all"]) == Exit.OK
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["time", "topic", "origin", "state", "reason", "message"]
    assert [line.split()[3] for line in lines] == ["dropped", "open", "open"]


# -- retry


def test_all_that_are_meant_go_back_marked(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(system)
    before = len(raw(system))
    assert main(["dlq", "retry", "churn", "--reason", "undecodable", "--yes", "--operator", "ada"]) == Exit.OK
    assert capsys.readouterr().err == "2 records sent to crm.events (11 bytes)\n"
    assert len(raw(system)) == before + 2
    assert [(mark.action, mark.by) for mark in marks(system)] == [(LetterAction.RETRIED, "ada")] * 2
    keys = {record.key for record in system.broker.records("penstock.dead-letter-marks")}
    assert keys == {
        f"{m.letter.topic}/{m.letter.partition}/{m.letter.offset}".encode() for m in marks(system)
    }
    assert {(each["state"], each["by"]) for each in output(capsys, "list", "--state", "retried")} == {
        ("retried", "ada")
    }
    assert [each["reason"] for each in output(capsys, "list", "churn")] == ["missing_id"]


def test_the_same_words_do_not_send_twice(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "retry", "churn", "--yes"]) == Exit.OK
    count = len(raw(system))
    assert main(["dlq", "retry", "churn", "--yes"]) == Exit.OK
    assert capsys.readouterr().err.endswith("no dead letters but 2 retried (--state all)\n")
    assert main(["dlq", "retry", "churn", "--origin", origin_of(system, NO_ID)]) == Exit.CONFLICT
    assert ": --state retried takes it again\n" in capsys.readouterr().err
    assert len(raw(system)) == count
    assert main(["dlq", "retry", "churn", "--yes", "--state", "retried"]) == Exit.OK
    assert len(raw(system)) == count + 2


def test_without_a_yes_somebody_is_asked(
    system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    count = len(raw(system))
    question = "send back 2 records (1 missing_id, 1 undecodable; 35 bytes)"
    assert main(["dlq", "retry", "churn"]) == Exit.USAGE
    assert capsys.readouterr().err == f"{question}: --yes does it, --dry-run shows what it would be\n"
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    assert main(["dlq", "retry", "churn"]) == Exit.FAILED
    assert capsys.readouterr().err == f"{question}? [y/N] nothing was done\n"
    assert len(raw(system)) == count
    assert marks(system) == []
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert main(["dlq", "retry", "churn"]) == Exit.OK
    assert len(raw(system)) == count + 2


class Terminal:
    """Somebody who answers."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._answer


def test_a_dry_run_only_shows(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    count = len(raw(system))
    would = output(capsys, "retry", "churn", "--dry-run")
    assert [
        (each["origin"], each["reason"], each["retries"], each["bytes"], each["from"]) for each in would
    ] == [
        (origin_of(system, NO_ID), "missing_id", 1, 30, "its letter"),
        (origin_of(system, NOT_JSON), "undecodable", 1, 5, "its letter"),
    ]
    assert output(capsys, "drop", "churn", "--because", "x", "--dry-run")
    assert (len(raw(system)), marks(system)) == (count, [])


def test_what_is_refused_again_and_again_is_left(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["dlq", "retry", "churn", "--reason", "undecodable", "--yes"]
    for times in (1, 2, 3):
        assert main(words) == Exit.OK
        system.settle()
        [open_] = output(capsys, "list", "--reason", "undecodable")
        assert open_["retries"] == times
    count = len(raw(system))
    assert main(words) == Exit.REFUSED
    assert capsys.readouterr().err == (
        f"nothing to retry: {open_['origin']}: retried 3 times already, and refused each time"
        " (--force sends it once more)\n"
    )
    assert len(raw(system)) == count
    assert main([*words, "--limit", "4"]) == Exit.OK
    system.settle()
    assert main([*words, "--force"]) == Exit.OK
    system.settle()
    headers = [record.headers for record in raw(system) if record.value == NOT_JSON.value]
    said = [[value for name, value in each if name == "penstock.retries"] for each in headers]
    assert said == [[], [b"1"], [b"2"], [b"3"], [b"4"], [b"5"]], "one header, however often"


def test_what_cannot_go_back_does_not_keep_the_others(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    gap = Gap(partition=TopicPartition("crm.events", 1), start=5, end=9)
    system.broker.append(gap_letter(gap, service="ingest", topic=HELD, codec=Codec()))
    said = output(capsys, "retry", "churn", "--yes")
    assert [each["retries"] for each in said["sent"]] == [1, 1]
    assert said["left"] == [
        {"origin": "crm.events/1/5", "why": "records 5 to 8 are gone: retention removed them unread"}
    ]
    assert len(marks(system)) == 2


def test_a_record_that_two_pipelines_refused_goes_back_once(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {**CHURN["labels"], "topic": "crm.other"}  # type: ignore[dict-item] # a mapping
    system.apply({**CHURN, "pipeline": "churn2", "labels": labels})
    refuse(system)
    two = [each for each in output(capsys, "list") if each["reason"] == "undecodable"][-2:]
    assert two[0]["origin"] == two[1]["origin"]
    count = len(raw(system))
    assert main(["dlq", "retry", "--origin", two[0]["origin"]]) == Exit.OK
    assert len(raw(system)) == count + 1
    assert len(marks(system)) == 2


def test_of_two_operators_only_one_sends(
    system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each step of the first may be overtaken by the whole of the second."""
    count = len(raw(system))
    begun: list[bool] = []

    def overtaken(*arguments: Any) -> Any:
        if not begun:
            begun.append(True)
            assert main(["dlq", "retry", "churn", "--yes"]) == Exit.OK
        return marking(*arguments)

    monkeypatch.setattr("penstock.cli.dlq_retry.marking", overtaken)
    assert main(["dlq", "retry", "churn", "--yes"]) == Exit.OK
    assert len(raw(system)) == count + 2
    with marking(system.broker, "penstock.") as first:
        with marking(system.broker, "penstock."):
            pass
        done = [(NO_ID, [Source(topic=HELD, partition=0, offset=0)])]
        marked = first.mark(done, action=LetterAction.RETRIED, by="ada", at=0, because="")
        with pytest.raises(Failure, match="another `penstock dlq` took over") as failed:
            list(marked)
    assert failed.value.code == Exit.CONFLICT
    assert len(raw(system)) == count + 2
    assert capsys.readouterr().err


def test_letters_that_come_meanwhile_were_not_agreed_to(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(raw(system))

    def late(*arguments: Any) -> Any:
        refuse(system)
        return marking(*arguments)

    monkeypatch.setattr("penstock.cli.dlq_retry.marking", late)
    assert main(["dlq", "retry", "churn", "--yes"]) == Exit.OK
    assert len(raw(system)) == count + 1 + 2


def test_records_and_marks_are_written_together_or_not_at_all(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is the last thing to be written."""
    whole = len(raw(system)) + 2
    append = system.broker.append
    for steps in range(4):
        left = [steps]

        def append_some(message: Message, *rest: Any, left: list[int] = left) -> Any:
            if not left[0]:
                raise Unavailable("gone")
            left[0] -= 1
            return append(message, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(system.broker, "append", append_some)
            assert main(["dlq", "retry", "churn", "--yes"]) == Exit.UNREACHABLE
        with marking(system.broker, "penstock."):
            assert (len(raw(system)), marks(system)) == (whole - 2, [])
    assert main(["dlq", "retry", "churn", "--yes"]) == Exit.OK
    assert (len(raw(system)), len(marks(system))) == (whole, 2)


def test_a_mark_of_a_topic_that_was_made_anew_is_none(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = system.broker.records(HELD)
    with marking(system.broker, "penstock.") as marker:
        place = Source(topic=HELD, partition=letters[0].partition, offset=letters[0].offset)
        list(marker.mark([(None, [place])], action=LetterAction.DROPPED, by="ada", at=0, because="x"))
    assert len(output(capsys, "list")) == 1
    for log in (system.broker.logs[TopicPartition("penstock.dead-letter-marks", each)] for each in range(3)):
        for entry in log.entries:
            if entry.record is not None:
                entry.record = entry.record._replace(timestamp=letters[0].timestamp - 1)
    assert len(output(capsys, "list")) == 2


# -- records that stand where they came from


def test_what_a_letter_does_not_hold_is_read_where_it_came_from(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    large = json.dumps({**GOOD, "note": "x" * 1_000_000}).encode()
    refuse(system, large, key=b"k", headers=(("tenant", b"north"),))
    [listed] = output(capsys, "list", "--reason", "too_large")
    assert not listed["carried"]
    assert listed["retry"] == f"penstock dlq retry {HELD} --origin {listed['origin']}"
    count = len(raw(system))
    assert main(listed["retry"].split()[1:]) == Exit.OK
    sent = raw(system)
    assert len(sent) == count + 1
    twice = [each for each in sent if each.value == large]
    assert [each.key for each in twice] == [b"k", b"k"]
    assert twice[0].partition == twice[1].partition
    assert twice[1].headers == (("tenant", b"north"), ("penstock.retries", b"1"))


def test_what_is_no_longer_kept_there_is_one_line(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(system, b"x" * 1_000_000, partition=0)
    [listed] = output(capsys, "list", "--reason", "too_large")
    [record] = [each for each in raw(system) if len(each.value or b"") == 1_000_000]
    system.broker.expire(TopicPartition("crm.events", 0), record.offset + 1)
    assert main(["dlq", "retry", "churn", "--origin", listed["origin"]]) == Exit.NOT_FOUND
    assert capsys.readouterr().err == (
        f"nothing to retry: {listed['origin']}: the letter does not hold its record,"
        f" which is no longer kept at {listed['origin']}\n"
    )


def test_what_stands_there_now_has_to_be_what_was_refused(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    """A topic that was made anew has other records at the same places."""
    other = Record("crm.events", 0, 0, 17, b"k", b"x" * 950_000)
    system.broker.append(
        letter(
            Refused(other, Invalid("too large", reason="too_large")),
            service="ingest",
            topic=HELD,
            codec=Codec(),
        )
    )
    [listed] = output(capsys, "list", "--reason", "too_large")
    assert listed["origin"] == "crm.events/0/0"
    assert main(["dlq", "retry", "churn", "--reason", "too_large", "--yes"]) == Exit.NOT_FOUND
    assert "no longer kept at crm.events/0/0" in capsys.readouterr().err


def test_what_is_larger_than_can_be_sent_is_one_line(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(system, b"x" * 1_048_000)
    assert main(["dlq", "retry", "churn", "--reason", "too_large", "--yes"]) == Exit.NOT_FOUND
    assert (
        "1,048,000 bytes are more than is sent: its producer has to send it again" in capsys.readouterr().err
    )


# -- drop


def test_dropping_needs_a_reason_and_is_no_end(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "drop", "churn", "--yes"]) == Exit.USAGE
    assert "--because" in capsys.readouterr().err
    assert main(["dlq", "drop", "churn", "--yes", "--because", " "]) == Exit.USAGE
    capsys.readouterr()
    assert main(["dlq", "drop", "churn", "--yes", "--because", "a drill", "--operator", "ada"]) == Exit.OK
    assert capsys.readouterr().err == "2 dead letters dropped\n"
    assert output(capsys, "list") == []
    listed = output(capsys, "list", "--state", "dropped")
    assert [(each["by"], each["because"]) for each in listed] == [("ada", "a drill")] * 2
    shown = output(capsys, "show", "churn", "--origin", origin_of(system, NO_ID))
    assert (shown["state"], shown["because"]) == ("dropped", "a drill")
    assert main(["dlq", "retry", "churn", "--state", "dropped", "--yes"]) == Exit.OK
    assert {each["state"] for each in output(capsys, "list", "--state", "all")} == {"retried"}


# -- export


def test_lines_hold_the_bytes(system: System, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "letters.jsonl"
    assert main(["dlq", "export", "churn", "-o", str(file)]) == Exit.OK
    assert capsys.readouterr().err == f"2 dead letters written to {file}\n"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [each["reason"] for each in lines] == ["missing_id", "undecodable"]
    last = lines[-1]
    assert (b64decode(last["key"]), b64decode(last["value"])) == (NOT_JSON.key, NOT_JSON.value)
    assert [(each["name"], b64decode(each["value"])) for each in last["headers"]] == [*NOT_JSON.headers]
    assert last["origin"] == {
        "topic": "crm.events",
        "partition": 1,
        "offset": int(origin_of(system, NOT_JSON).split("/")[2]),
    }


@pytest.mark.usefixtures("system")
def test_a_container_is_read_by_any_avro(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "letters.avro"
    assert main(["dlq", "export", "churn", "--reason", "undecodable", "-o", str(file)]) == Exit.OK
    with file.open("rb") as opened:
        [read] = list(fastavro.reader(opened))
    assert isinstance(read, dict)
    assert (read["key"], read["value"], read["carried"]) == (NOT_JSON.key, NOT_JSON.value, True)
    assert read["time"] > datetime(2096, 1, 1, tzinfo=UTC)
    assert capsys.readouterr().err == f"1 dead letter written to {file}\n"


@pytest.mark.parametrize("words", [[], ["-o", "json"], ["-o", "table"]])
@pytest.mark.usefixtures("system")
def test_without_a_file_it_is_lines_on_stdout(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["dlq", "export", *words]) == Exit.OK
    said = capfd.readouterr()
    assert [json.loads(line)["reason"] for line in said.out.splitlines()] == ["missing_id", "undecodable"]
    assert said.err == ""


@pytest.mark.usefixtures("system")
def test_a_file_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "letters.jsonl"
    file.write_text("mine")
    assert main(["dlq", "export", "-o", str(file)]) == Exit.CONFLICT
    assert capsys.readouterr().err == f"{file} is there already: --force overwrites it\n"
    assert file.read_text() == "mine"
    assert main(["dlq", "export", "-o", str(file), "--force"]) == Exit.OK
    assert file.read_text() != "mine"
    assert main(["dlq", "export", "-o", str(tmp_path / "x.csv")]) == Exit.USAGE
    assert main(["dlq", "export", "-o", str(tmp_path / "no" / "x.avro")]) == Exit.NOT_FOUND
    assert [each.name for each in tmp_path.iterdir()] == ["letters.jsonl"]


# -- personal data


def test_what_has_personal_data_is_retried_where_it_came_from_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = System()
    made.apply({**CHURN, "pii": {"email": "drop"}})
    connect(made, monkeypatch)
    bad = json.dumps({**GOOD, "age": "old", "email": "ann@example.com"}).encode()
    refuse(made, bad, key=b"ann@example.com")
    file = tmp_path / "letters.jsonl"
    assert main(["dlq", "export", "churn", "-o", str(file)]) == Exit.OK
    [exported] = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert (exported["carried"], exported["key"], exported["value"]) == (False, None, None)
    [listed] = output(capsys, "list")
    shown = output(capsys, "show", "churn", "--origin", listed["origin"])
    assert "ann@" not in json.dumps([listed, shown, exported])
    assert main(listed["retry"].split()[1:]) == Exit.OK
    first, second = raw(made)
    assert (second.value, second.key) == (bad, b"ann@example.com")
    assert (first.partition, second.headers) == (second.partition, (("penstock.retries", b"1"),))
    made.settle()
    [again] = output(capsys, "list")
    assert (again["retries"], again["carried"]) == (1, False)

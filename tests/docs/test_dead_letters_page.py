"""What docs/dead-letters.md shows is what these commands print, one after the other."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from penstock.cli import main
from penstock.cli.exits import Exit
from penstock.runtime.broker import Message, Topic
from tests.cli.lettered import GOOD, connect
from tests.scenarios.system import CHURN, System

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "dead-letters.md"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def typed() -> Iterator[tuple[str, str]]:
    """Commands and what is shown for them."""
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield from re.findall(r"^\$ penstock (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    """Three partitions with a good event each; then two with an age that is text, and one that is no JSON."""
    made = System()
    made.broker.create([Topic(name="crm.events", partitions=3)])
    made.apply(CHURN)
    good, old = json.dumps(GOOD).encode(), json.dumps({**GOOD, "age": "n/a"}).encode()
    for number, bad in ((0, old), (1, b"{"), (2, old)):
        made.broker.append(Message("crm.events", good, None, (), number))
        made.broker.append(Message("crm.events", bad, None, (), number))
    made.settle()
    connect(made, monkeypatch)
    return made


@pytest.mark.usefixtures("system")
def test_each_command_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    commands = list(typed())
    assert len(commands) == 6
    for words, shown in commands:
        assert main(shlex.split(words)) == Exit.OK
        said = capsys.readouterr()
        printed = (said.out + said.err).replace(" intake ", " ingest ")  # its name on the broker in memory
        assert TIME.sub("TIME", printed) == TIME.sub("TIME", shown), words

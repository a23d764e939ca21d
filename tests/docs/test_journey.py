"""The README's own topics, typed as they stand there, on a real Kafka and real services."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from penstock.broker.ports import free_port
from tests.docs.readme import README
from tests.e2e.test_up import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60.0
SECTION = re.search(r"^## Your own topics\n(.*?)^## ", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
WRITING = ("penstock apply", "penstock produce", "penstock dlq retry")


class Typed(NamedTuple):
    command: str
    output: str


def blocks(language: str) -> list[str]:
    assert SECTION is not None
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTION[1], re.MULTILINE | re.DOTALL)


def typed() -> list[Typed]:
    found = [
        Typed(command, output)
        for block in blocks("console")
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]
    assert len(found) > 10
    return found


def shape(text: str) -> list[str]:
    """What of an output is the same each time: not places, digests, ids, times, nor the order of lines."""
    text = re.sub(r"^\d+:\d+ +", "PLACE ", text, flags=re.MULTILINE)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    return sorted(re.sub(r"\b[0-9a-f]{12}\b|(?<= )[0-9a-f]{8}(?=  )", "DIGEST", text).splitlines())


def types(folder: Path, command: str) -> str:
    """Both streams, as they are seen at a terminal."""
    bash = shutil.which("bash")
    assert bash is not None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        [bash, "-c", f"({command}) 2>&1"],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return ended.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where `penstock up` runs and the README's files are."""
    [spec], [events, outcomes] = blocks("yaml"), blocks("json")
    for name, text in (("churn.yaml", spec), ("events.jsonl", events), ("outcomes.jsonl", outcomes)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    terminal = Terminal(tmp_path)
    terminal.starts("--port", str(free_port()), "--grpc-port", str(free_port()))
    yield tmp_path
    terminal.types("down")
    terminal.leaves()


@pytest.mark.e2e
@pytest.mark.timeout(280)
def test_what_is_typed_prints_what_is_shown(folder: Path) -> None:
    spec = folder / "churn.yaml"
    applied = 0
    for command, output in typed():
        if command.startswith("penstock apply"):
            applied += 1
            if applied == 2:  # as the text says
                before = spec.read_text("utf-8")
                spec.write_text(before.replace("age: {number: {required: true}}", "age: number"), "utf-8")
                assert spec.read_text("utf-8") != before
        said = types(folder, command)
        # What follows from a command takes its time to arrive; what writes is typed once.
        until = time.monotonic() + PATIENCE
        while shape(said) != shape(output) and not command.startswith(WRITING) and time.monotonic() < until:
            said = types(folder, command)
        assert shape(said) == shape(output), command

"""docs/backtest.md shows a history, a pipeline, and what a backtest of it prints."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from penstock.cli import main
from penstock.cli.exits import Exit
from penstock.cli.learning import FIRST_ROWS
from penstock.cli.recordfile import form_of
from tests.docs.tables import DOCS

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (DOCS / "backtest.md").read_text(encoding="utf-8")
NEAR = 0.01
"""By so much a score may be another one where numbers are added up in another order."""


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


def words(text: str) -> list[list[str]]:
    """What counts of an output: not how long it took, nor how wide its columns are."""
    return [line.split() for line in re.sub(r" in [\d.]+ s,", " in a moment,", text).splitlines()]


def alike(shown: str, said: str) -> bool:
    if shown == said:
        return True
    numbers = [re.fullmatch(r"\d+\.\d+", word) for word in (shown, said)]
    return all(numbers) and abs(float(shown) - float(said)) <= NEAR


def test_the_example_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "history.py").write_text(block("python"), encoding="utf-8")
    (tmp_path / "oven.yaml").write_text(block("yaml"), encoding="utf-8")
    subprocess.run([sys.executable, "history.py"], cwd=tmp_path, check=True)
    command, _, output = block("console").removeprefix("$ penstock ").partition("\n")
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == Exit.OK
    printed = capsys.readouterr()
    shown, said = words(output), words(printed.err + printed.out)
    assert [len(line) for line in shown] == [len(line) for line in said], printed.out
    for ours, theirs in zip(shown, said, strict=True):
        assert all(map(alike, ours, theirs)), (ours, theirs)


def test_what_it_says_of_files_is_so(tmp_path: Path) -> None:
    endings = re.findall(r"`(\.[a-z]+)`", TEXT)
    files = [tmp_path / f"history{ending}" for ending in endings]
    for file in files:
        file.write_bytes(b"")
    assert [form_of(file) for file in files] == ["avro", "csv", "jsonl", "jsonl", "jsonl"]
    assert f"learned from the first {FIRST_ROWS:,} rows" in TEXT

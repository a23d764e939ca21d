"""docs/wire-formats.md shows formats that are read, and names the reasons and settings that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import penstock.runtime.wire
from penstock.kernel.formats import Format
from penstock.kernel.pipeline import Pipeline
from penstock.runtime import avro
from penstock.runtime.settings import describe
from penstock.runtime.wire import client
from penstock.runtime.wire.settings import RegistrySettings
from tests.docs.tables import DOCS

TEXT = (DOCS / "wire-formats.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
REST: dict[str, Any] = {
    "pipeline": "shop",
    "task": "binary",
    "labels": {"topic": "ends", "id": "id", "time": "at", "value": "kept", "horizon": "1d"},
    "features": {"total": "number"},
}


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 7


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_what_is_shown_is_a_pipeline(snippet: str) -> None:
    Pipeline.read({**REST, **yaml.safe_load(snippet)})


def test_the_formats_of_the_first_table_are_read() -> None:
    table = TEXT.partition("## ")[0]
    shown = [each for line in table.splitlines() if line.startswith("| ") for each in _code(line)]
    formats = [each.replace("URL", "'http://registry'") for each in shown if each.startswith(("json", "{"))]
    assert len(formats) >= 8
    for each in formats:
        Format.read(yaml.safe_load(each))


def _code(line: str) -> list[str]:
    return re.findall(r"`([^`]+)`", line.rpartition("|")[0].rpartition("|")[2])


def test_the_reasons_are_those_of_the_code() -> None:
    sources = [*Path(penstock.runtime.wire.__path__[0]).glob("*.py"), Path(str(avro.__file__))]
    raised = {
        reason
        for source in sources
        for reason in re.findall(r'reason="(\w+)"', source.read_text(encoding="utf-8"))
    }
    table = TEXT.partition("## What is refused, and why")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == raised - {"setting"}


def test_the_settings_are_those_of_the_code() -> None:
    named = {each.variable for each in describe(RegistrySettings)}
    assert set(re.findall(r"`(PENSTOCK_\w+)`", TEXT)) <= named
    assert {each for each in named if "REGISTRY" in each or "SCHEMA" in each} <= set(
        re.findall(r"`(PENSTOCK_\w+)`", TEXT)
    )


def test_the_bounds_are_those_of_the_code() -> None:
    assert f"{avro.LARGEST // 1024} KiB" in TEXT
    assert f"{client.LARGEST_ANSWER // 1024**2} MiB" in TEXT
    assert f"more than {avro.DEEPEST} deep" in TEXT
    assert f"more than {avro.MOST_TYPES:,} were each" in TEXT

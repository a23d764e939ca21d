"""The pages say what the code does, as far as a machine can tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penstock.cli.services import SERVICES
from penstock.cli.verbs import find
from penstock.monitor.faust import handler
from penstock.runtime import deadletter, loop
from penstock.runtime.deadletter import Fuse
from tests.docs.tables import DOCS, TABLES, filled

PAGES = sorted(DOCS.glob("*.md"))
ROOT = DOCS.parent


def test_there_are_pages() -> None:
    assert {page.name for page in PAGES} >= {"operations.md", "crashes.md", "dead-letters.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert filled(text) == text, "run python -m tests.docs.tables"


def test_every_table_has_its_place() -> None:
    everything = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {name for name in TABLES if f"<!-- {name} -->" not in everything} == set()


def test_the_steps_are_those_of_the_code() -> None:
    in_code = [
        re.findall(r"^ {4}(\d\. \w+(?: on)?)\b", module.__doc__ or "", re.MULTILINE)
        for module in (loop, handler)
    ]
    in_page = re.findall(
        r"^\| (\d\. [\w ]+?) \|", (DOCS / "crashes.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert list(map(len, in_code)) == [7, 4]
    assert in_page == [*in_code[0], *in_code[1]]


def test_every_service_is_in_the_table_of_crashes() -> None:
    text = (DOCS / "crashes.md").read_text(encoding="utf-8")
    assert {service.name for service in SERVICES} <= set(re.findall(r"^\| (\w+)", text, re.MULTILINE))


def test_every_command_is_one() -> None:
    """What stands in code as `penstock …` must be a verb, on every page."""
    commands = [
        (page.name, words)
        for page in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
        for words in re.findall(r"(?:`|^)penstock ([a-z ]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(commands) > 10
    assert [(page, words) for page, words in commands if find(words.split())[0] is None] == []


def test_the_fuse_is_described_as_it_is() -> None:
    text = (DOCS / "dead-letters.md").read_text(encoding="utf-8")
    fuse = Fuse()
    assert f"last {fuse.window:,} records, are {fuse.share:.0%} or more invalid" in text
    assert deadletter.HEADER in text


def test_every_service_has_settings_of_its_own_or_says_so() -> None:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    for service in SERVICES:
        assert f"### {service.name}\n" in text


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"],
    ids=lambda page: str(page.name),
)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    parent = page.parent
    assert [target for target in targets if not (parent / target).exists()] == []

"""What docs/producers.md shows is what its commands print, one after the other."""

from __future__ import annotations

import re

from tests.docs.producers import MENDED, PAGE, shown_file, story, typed

VARIES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\([0-9a-f]{12}\)")
LEFT_OUT = re.compile(r"^(created topic .*|…)\n", re.MULTILINE)


def test_each_command_prints_what_is_shown() -> None:
    shown = typed()
    assert len(shown) >= 6
    assert MENDED in PAGE.read_text("utf-8")
    written = ""
    for (command, printed, folder), (_, expected) in zip(story(), shown, strict=True):
        assert plain(printed) == plain(expected), command
        written = written or (folder / "churn.yaml").read_text("utf-8")
    assert written == shown_file()


def plain(text: str) -> str:
    """Without the time of day at which it was typed, digests, and the names of the topics that are made."""
    return LEFT_OUT.sub("", VARIES.sub("VARIES", text))

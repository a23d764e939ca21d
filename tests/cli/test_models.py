"""`model list` and `model show` on the in-memory broker."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from penstock.cli import main, model_list, model_show
from penstock.cli.exits import Exit
from penstock.contracts.records import ModelRegistered, VersionStage
from penstock.runtime.broker import Message
from penstock.runtime.codec import Codec
from penstock.runtime.memory import MemoryBroker
from penstock.runtime.topics import topics
from tests.registry.given import manifest, registered, route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.runtime.settings import Settings


def model(version: int, lane: str) -> ModelRegistered:
    return ModelRegistered(
        pipeline="churn", version=version, candidate="c", manifest=manifest(lane=lane), causes=()
    )


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    memory = MemoryBroker(now=lambda: 1357016400000)
    memory.create(topics("penstock."))
    codec, producer = Codec(), memory.producer()
    for topic, event in (
        ("lifecycle", registered(0, VersionStage.CHAMPION)),
        ("models", model(0, "baseline")),
        ("lifecycle", registered(1, VersionStage.SHADOW, lane="recent")),
        ("models", model(1, "recent")),
        ("lifecycle", registered(2, VersionStage.REFUSED, reason="its golden vectors differ", lane="recent")),
        ("routes", route(1, epoch=2, shadows=(0,))),
    ):
        producer.send(Message(f"penstock.{topic}", codec.encode(event), b"churn"))

    @contextmanager
    def connected(_settings: Settings) -> Iterator[MemoryBroker]:
        yield memory

    monkeypatch.setattr(model_list, "connected", connected)
    monkeypatch.setattr(model_show, "connected", connected)
    return memory


def test_the_list_says_what_each_version_is_now(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "list", "churn", "-o", "json"]) == Exit.OK
    rows = json.loads(capsys.readouterr().out)
    assert [(row["version"], row["stage"], row["lane"]) for row in rows] == [
        (0, "shadow", "baseline"),
        (1, "champion", "recent"),
        (2, "refused", "recent"),
    ]
    assert rows[0]["registered"] == "2013-01-01T05:00:00Z"


def test_a_pipeline_without_versions_has_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "list", "other", "-o", "json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == []


def test_show_gives_the_champion_with_its_signature(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "show", "churn", "-o", "json"]) == Exit.OK
    shown = json.loads(capsys.readouterr().out)
    assert (shown["version"], shown["lane"], shown["inputs"]) == (
        1,
        "recent",
        {"features": "float32 [N, 2]"},
    )


def test_show_says_why_a_version_was_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "show", "churn", "2"]) == Exit.OK
    assert "its golden vectors differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["churn", "7"], "pipeline 'churn' has no version 7\n"),
        (["other"], "pipeline 'other' has no version yet\n"),
    ],
)
def test_what_is_not_there_is_exit_code_4(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "show", *words]) == Exit.NOT_FOUND
    assert capsys.readouterr().err == message

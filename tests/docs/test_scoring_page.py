"""docs/scoring.md shows what is answered by topic, and commands that are taken."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from penstock.cli import score
from penstock.cli.outfile import outfile
from penstock.cli.scoring.job import Bound, bound
from penstock.cli.scoring.writing import SCHEMA, form_of
from penstock.inference import requests
from penstock.inference.domain import Loaded, Serving
from penstock.inference.oip import PIN
from penstock.inference.stream import StreamTask
from penstock.inference.tally import Tally
from penstock.kernel.pipeline import Pipeline
from penstock.runtime.broker import Record
from penstock.runtime.catalog import Names
from penstock.runtime.codec import Codec
from tests.docs.tables import DOCS
from tests.inference.asking import NOON, Adds
from tests.registry.given import route

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (DOCS / "scoring.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^penstock score (.*)$", TEXT, re.MULTILINE)
CHURN = Pipeline.read(
    {
        "pipeline": "churn",
        "task": "binary",
        "events": {"topic": "crm.events", "id": "event_id", "time": "at"},
        "labels": {"topic": "crm.ends", "id": "event_id", "time": "at", "value": "churned", "horizon": "30d"},
        "features": {"age": "number", "plan": {"category": ["free", "plus", "pro"]}},
    }
)


def answered(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The reply to a request in JSON, and its headers."""
    version = Loaded(version=0, features=CHURN.feature_names, model=Adds())
    serving = Serving(pipeline=CHURN, route=route(epoch=7), models={0: version})
    record = Record(
        "penstock.churn.requests",
        1,
        17,
        NOON,
        b"key",
        json.dumps(body).encode(),
        (("content-type", b"application/json"),),
    )
    [reply] = requests.Requests(Names("penstock."), Codec(), Tally()).answer(serving, [record]).replies
    return json.loads(reply.value or b""), dict(reply.headers)


def test_the_request_gets_the_reply() -> None:
    asked, reply, _ = map(json.loads, BLOCKS)
    found, headers = answered(asked)
    assert found == reply
    assert headers["status"] == b"OK"


def test_a_mistake_gets_the_error() -> None:
    asked, _, error = map(json.loads, BLOCKS)
    asked["inputs"][0]["name"] = "agee"
    found, headers = answered(asked)
    assert headers["status"] == b"INVALID_ARGUMENT"
    begins = error["error"]["message"].removesuffix("…")
    assert found["error"]["message"].startswith(begins)
    [violation] = found["error"]["violations"]
    assert violation["field"] == "agee"
    assert violation["description"].startswith(begins)
    assert set(found["error"]) == set(error["error"])


def test_the_headers_are_those_of_the_code() -> None:
    ours, theirs = (
        set(re.findall(r"^\| `([a-z-]+)` \|", table.partition("\n\n")[0], re.MULTILINE))
        for table in TEXT.split("| Header of a ")[1:]
    )
    assert ours == {requests.CONTENT, requests.CORRELATION, PIN, requests.REPLY_TOPIC}
    assert theirs == {requests.CORRELATION, requests.STATUS, requests.CONTENT}
    assert f"{requests.LARGEST:,} bytes" in TEXT
    assert f"{StreamTask.limit:,} rows" in TEXT
    asked = json.loads(BLOCKS[0])
    del asked["id"]
    assert answered(asked)[1]["correlation-id"] == b"penstock.churn.requests/1/17"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_are_taken(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser(conflict_handler="resolve")
    score.add_arguments(parser)
    args = parser.parse_args(shlex.split(command))
    score._check(args)
    ends = bound(args.first, "--from"), bound(args.last, "--to")
    assert (ends != (Bound(), Bound())) == bool(args.topic)
    if args.output != "table":
        assert form_of(outfile(args) or tmp_path)


def test_what_is_written_is_on_the_page() -> None:
    assert len(COMMANDS) == 4
    table = TEXT.partition("| To | Written |")[2]
    assert {field["name"] for field in SCHEMA["fields"]} <= set(re.findall(r"`(\w+)`", table))

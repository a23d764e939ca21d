"""The topics that docs/producers.md tells of, in memory, and its commands typed at them.

`python -m tests.docs.producers` prints the page's commands with what they print now.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shlex
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import orjson

from penstock.cli import apply, check, dlq_list, dlq_retry, init, main
from penstock.cli.backtest.system import TASKS
from penstock.runtime.broker import Broker, Message, Topic
from tests.scenarios.system import System

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.runtime.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "producers.md"
BEGUN = 1_767_225_600_000  # 2026-01-01
HOUR, DAY = 3_600_000, 86_400_000
MENDED = "age: {number: {otherwise: {type: set_missing}}}"
_COMMAND = re.compile(r"^\$ penstock (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def producers() -> System:
    """Six weeks of customers, some of whose age is text, and what is known of them by now."""
    system = System({"intake": TASKS["intake"]})
    system.broker.create([Topic(name=topic, partitions=3) for topic in ("crm.events", "crm.outcomes")])
    chance = random.Random(2026)  # noqa: S311 - customers that are made up
    labels = []
    for number in range(1_000):
        system.now = at = BEGUN + number * HOUR
        age: Any = "n/a" if number % 50 == 7 else chance.choice([None, *[chance.randint(18, 90)] * 9])
        name = f"c-{number:04d}"
        event = {
            "event_id": name,
            "at": at,
            "age": age,
            "visits": int(chance.expovariate(0.1)),
            "plan": chance.choice(["free", "free", "plus", "pro"]),
            "user": {"country": chance.choice(["DE", "FR", "NO"])},
        }
        system.broker.append(Message("crm.events", orjson.dumps(event), name.encode()))
        known = at + int(chance.lognormvariate(0, 0.5) * 6 * DAY)
        label = {"event_id": name, "at": known, "churned": chance.random() < 0.15}
        labels.append((known, name, label))
    now = BEGUN + 1_000 * HOUR
    for known, name, label in sorted(labels, key=lambda each: each[:2]):
        if known < now:
            system.now = known
            system.broker.append(Message("crm.outcomes", orjson.dumps(label), name.encode()))
    system.now = now
    system.broker.append(Message("crm.events", b"ping", None))
    return system


def typed() -> list[tuple[str, str]]:
    """The page's commands, and what is shown for them."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [pair for block in blocks for pair in _COMMAND.findall(block)]


def shown_file() -> str:
    """The pipeline file that the page shows."""
    [found] = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def story() -> Iterator[tuple[str, str, Path]]:
    """Each command of the page, what it prints, and the folder in which it was typed."""
    system = producers()

    @contextmanager
    def connected(_settings: Settings) -> Iterator[Broker]:
        yield system.broker

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(mock.patch.dict(os.environ, {"COLUMNS": "80", "NO_COLOR": "1"}))
        for module in (apply, check, init, dlq_list, dlq_retry):
            stack.enter_context(mock.patch.object(module, "connected", connected))
        applied = 0
        for command, _ in typed():
            if command.startswith("apply"):
                applied += 1
                if applied == 2:
                    _mend(folder / "churn.yaml")
            out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                main(shlex.split(command))
            out.flush()
            out.seek(0)
            # Its name on the broker in memory is that of the task.
            yield command, out.read().replace("  intake  ", "  ingest  "), folder
            system.settle()


def _mend(path: Path) -> None:
    before = path.read_text("utf-8")
    path.write_text(re.sub(r"age: number\b.*", MENDED, before), "utf-8")


if __name__ == "__main__":
    for words, printed, _ in story():
        print(f"$ penstock {words}\n{printed}", end="")
    print("---")
    print(next((folder / "churn.yaml").read_text("utf-8") for _, _, folder in story()))

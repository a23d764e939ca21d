"""What `up` runs, written beside its data: `.penstock/up.json`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from penstock.cli.process import Process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DATA_FOLDER = ".penstock"
STATE_FILE = "up.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One supervised process."""

    process: Process | None
    """None between its death and its next start."""
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One `up`: who runs it, what it runs, and where to find that."""

    supervisor: Process
    bootstrap: str
    """The broker's address."""
    grpc: str
    """Where inference answers."""
    processes: Mapping[str, Running]


def write_state(folder: Path, state: State) -> None:
    """Replace the state in one step: a reader sees the old one or the new one."""
    body = orjson.dumps(state, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    fresh = folder / f"{STATE_FILE}.new"
    fresh.write_bytes(body)
    os.replace(fresh, folder / STATE_FILE)  # noqa: PTH105 - Path.replace hides that it is the atomic one


def read_state(folder: Path) -> State | None:
    """The state in this folder; None where there is none that can be read."""
    try:
        raw = orjson.loads((folder / STATE_FILE).read_bytes())
        return State(
            supervisor=Process(**raw["supervisor"]),
            bootstrap=raw["bootstrap"],
            grpc=raw["grpc"],
            processes={
                name: Running(process=_process(it["process"]), restarts=it["restarts"])
                for name, it in raw["processes"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remove_state(folder: Path) -> None:
    """Nothing runs here any more."""
    (folder / STATE_FILE).unlink(missing_ok=True)


def _process(raw: Mapping[str, Any] | None) -> Process | None:
    return None if raw is None else Process(**raw)

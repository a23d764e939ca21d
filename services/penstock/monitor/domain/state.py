"""What the monitor remembers of a pipeline: plain, small, and the same after a restart."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Final

import orjson
from pydantic import ConfigDict, TypeAdapter

from penstock.monitor.domain.block import Block
from penstock.monitor.domain.comparisons import Contests
from penstock.monitor.domain.features import Drift
from penstock.monitor.domain.findings import Finding
from penstock.monitor.domain.performance import Guard
from penstock.monitor.domain.sealing import Progress
from penstock.monitor.domain.units import Opened

FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Of one pipeline.

    Args:
        format: of this record.
        partitions: how far each is.
        watermark: how far event time is complete over all of them.
        waiting: base blocks that are not sealed, in the order of their ends.
        begun: start of the first base block that was sealed.
        sealed: end of the last alarm unit that was told of.
        rows: with a label, in sealed base blocks.
        day: the unit of quality that is open.
        alarm: the unit of alarms that is open.
        compare: the unit of comparisons that is open.
        guards: detectors, by version.
        contests: comparisons.
        drift: of features.
        findings: that wait to be told.
        ordinal: of the next evidence.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(val_json_bytes="base64")
    format: int = FORMAT
    partitions: Mapping[int, Progress] = field(default_factory=dict)
    watermark: int | None = None
    waiting: tuple[Block, ...] = ()
    begun: int | None = None
    sealed: int | None = None
    rows: int = 0
    day: Opened | None = None
    alarm: Opened | None = None
    compare: Opened | None = None
    guards: Mapping[int, Guard] = field(default_factory=dict)
    contests: Contests = field(default_factory=Contests)
    drift: Drift = field(default_factory=Drift)
    findings: tuple[Finding, ...] = ()
    ordinal: int = 0


def dump(state: State) -> bytes:
    """The state as JSON; doubles come back bit by bit. What is bytes is written as base64."""
    return orjson.dumps(state, _base64, option=orjson.OPT_NON_STR_KEYS)


def load(payload: bytes) -> State:
    """What `dump` wrote.

    >>> load(dump(State())) == State()
    True
    """
    return _adapter().validate_json(payload)


def _base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"a state holds no {type(value).__name__}")


@cache
def _adapter() -> TypeAdapter[State]:
    adapter: TypeAdapter[Any] = TypeAdapter(State)
    return adapter

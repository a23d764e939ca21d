"""What both clients share: requests with ids that stay the same, errors, and when to ask again."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import random
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.client.connection import error_of
from penstock.client.rows import Ask, table

if TYPE_CHECKING:
    from penstock.client.errors import PenstockError
    from penstock.client.messages import Parameters
    from penstock.client.retries import Retry
    from penstock.client.rows import Columns, Row, Time


class Request(NamedTuple):
    """A request that can be sent again as it is: the log sees one identity however often that happens.

    Args:
        body: its bytes.
        ids: one for each row.
        single: whether one row was given as such.
    """

    body: bytes
    ids: tuple[str, ...]
    single: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked beside the rows."""

    version: int | None = None
    explain: bool = False
    parameters: Parameters | None = None


def request_for(
    pipeline: str,
    rows: Row | Sequence[Row] | Columns,
    options: Options,
    *,
    id_: str | Sequence[str] | None = None,
    event_time: Time | Sequence[Time] | None = None,
) -> Request:
    """The request for some rows; an id is made up where none is given.

    Raises:
        TypeError: a value, or the rows, are of a kind that cannot be sent.
        ValueError: nothing can be sent.
    """
    from penstock.client.messages import request_of  # noqa: PLC0415 - protobuf takes 100 ms

    asked = table(rows)
    given = id_ or uuid.uuid4().hex
    message = request_of(
        pipeline,
        asked,
        id=given,
        event_time=event_time,
        version=options.version,
        explain=options.explain,
        parameters=options.parameters,
    )
    if not isinstance(given, str):
        ids = tuple(given)
    elif asked.size == 1:
        ids = (given,)
    else:
        ids = tuple(f"{given}/{row}" for row in range(asked.size))
    return Request(message.SerializeToString(), ids, asked.single)


def requests_for(pipeline: str, asks: Iterable[Row | Ask], options: Options, batch: int) -> Iterator[Request]:
    """The requests of a stream, so many rows in each.

    Rows are taken from `asks` as they are needed.
    """
    waiting = iter(asks)
    while chunk := list(islice(waiting, batch)):
        yield request_of_chunk(pipeline, chunk, options)


def request_of_chunk(pipeline: str, chunk: Sequence[Row | Ask], options: Options) -> Request:
    """One message of a stream; rows without an id, or without a time, get the ones they would have got."""
    full = [each if isinstance(each, Ask) else Ask(features=each) for each in chunk]
    now = time.time_ns() // 1_000_000
    timed = any(each.event_time is not None for each in full)
    return request_for(
        pipeline,
        [each.features for each in full],
        options,
        id_=[each.id or uuid.uuid4().hex for each in full],
        event_time=[now if each.event_time is None else each.event_time for each in full] if timed else None,
    )


class Tries:
    """The attempts of one call.

    Args:
        retry: how many there may be.
        seconds: until the deadline.
        ids: that are asked for.
    """

    def __init__(self, retry: Retry, seconds: float, ids: Sequence[str] = ()) -> None:
        self._retry = retry
        self._deadline = time.monotonic() + seconds
        self._ids = ids
        self._attempt = 0

    def begin(self) -> float:
        """Count an attempt; the seconds that are left for it."""
        self._attempt += 1
        return max(self._deadline - time.monotonic(), 0.001)

    def failed(self, error: Any) -> tuple[PenstockError, float | None]:
        """What an attempt failed of, and after how many seconds to try again; None for not at all."""
        said = error_of(error, ids=self._ids, attempts=self._attempt)
        left = self._deadline - time.monotonic()
        chance = random()  # noqa: S311 - so that clients do not come back all at once
        return said, self._retry.wait(said, attempt=self._attempt, left=left, chance=chance)

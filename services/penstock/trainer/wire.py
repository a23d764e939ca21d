"""Jobs and their outcomes on a pipe: a header as JSON, then parts as raw bytes. No pickle.

A frame is the length of the header in four bytes, big-endian, the header, and the parts one after the other,
whose lengths the header gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np
import orjson

from penstock.kernel.units import EvidenceUnit
from penstock.trainer.gate import Difference, Judgement
from penstock.trainer.parity import Answer
from penstock.trainer.profile import Profile
from penstock.trainer.request import Failed, Request, Result

_LENGTH = 4
_PLAIN = ("algorithm", "task", "categories", "outputs", "objective", "seed", "champion_cut", "onset")
_UNITS = ("compare", "alarm")


def write_request(stream: BinaryIO, request: Request) -> None:
    """Put a job on the pipe."""
    header = {name: getattr(request, name) for name in _PLAIN}
    header |= {name: str(getattr(request, name)) for name in _UNITS}
    _write(
        stream,
        header | {"features": request.rows.shape[1], "has_champion": request.champion is not None},
        [
            np.ascontiguousarray(request.rows, dtype=np.float64).tobytes(),
            np.ascontiguousarray(request.labels, dtype=np.float64).tobytes(),
            np.ascontiguousarray(request.times, dtype=np.int64).tobytes(),
            request.champion or b"",
        ],
    )


def read_request(stream: BinaryIO) -> Request:
    """Take a job off the pipe.

    Raises:
        EOFError: the other side is gone.

    >>> import io
    >>> job = Request(
    ...     algorithm="logistic_regression", task="binary", categories=(0,), outputs=1, objective="brier",
    ...     rows=np.zeros((2, 1)), labels=np.ones(2), times=np.arange(2), seed=0,
    ...     compare=EvidenceUnit(), alarm=EvidenceUnit.read("1h"),
    ... )
    >>> pipe = io.BytesIO()
    >>> write_request(pipe, job)
    >>> pipe.seek(0)
    0
    >>> read_request(pipe).labels
    array([1., 1.])
    """
    header, (rows, labels, times, champion) = _read(stream)
    features, has_champion = header.pop("features"), header.pop("has_champion")
    header["categories"] = tuple(header["categories"])
    header |= {name: EvidenceUnit.read(header[name]) for name in _UNITS}
    return Request(
        **header,
        rows=np.frombuffer(rows, dtype=np.float64).reshape(-1, features),
        labels=np.frombuffer(labels, dtype=np.float64),
        times=np.frombuffer(times, dtype=np.int64),
        champion=bytes(champion) if has_champion else None,
    )


def write_outcome(stream: BinaryIO, outcome: Result | Failed) -> None:
    """Put what came of a job on the pipe."""
    if isinstance(outcome, Failed):
        _write(stream, {"failed": asdict(outcome)}, [])
        return
    header = {
        "made": outcome.made,
        "rows": outcome.rows,
        "metrics": dict(outcome.metrics),
        "judgement": asdict(outcome.judgement),
        "profile": asdict(outcome.profile),
        "golden": len(outcome.golden),
    }
    # JSON has no NaN, and golden inputs have.
    inputs = np.array([each.features for each in outcome.golden], dtype=np.float64)
    answers = np.array([each.scores for each in outcome.golden], dtype=np.float64)
    _write(stream, header, [outcome.artifact, inputs.tobytes(), answers.tobytes()])


def read_outcome(stream: BinaryIO) -> Result | Failed:
    """Take what came of a job off the pipe.

    Raises:
        EOFError: the other side is gone.
    """
    header, parts = _read(stream)
    if "failed" in header:
        return Failed(**header["failed"])
    artifact, inputs, answers = parts
    golden = [
        np.frombuffer(part, dtype=np.float64).reshape(header["golden"], -1).tolist()
        for part in (inputs, answers)
    ]
    profile: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in header["profile"].items()
    }
    return Result(
        artifact=bytes(artifact),
        made=header["made"],
        rows=header["rows"],
        judgement=_judgement(header["judgement"]),
        metrics=header["metrics"],
        golden=tuple(
            Answer(features=tuple(given), scores=tuple(answer)) for given, answer in zip(*golden, strict=True)
        ),
        profile=Profile(**profile),
    )


def _judgement(told: dict[str, Any]) -> Judgement:
    sides = {
        side: None if told[side] is None else Difference(**told[side]) for side in ("constant", "champion")
    }
    return Judgement(**(told | sides))


def _write(stream: BinaryIO, header: Mapping[str, object], parts: Sequence[bytes]) -> None:
    head = orjson.dumps({**header, "parts": [len(part) for part in parts]})
    stream.write(len(head).to_bytes(_LENGTH, "big"))
    stream.write(head)
    stream.writelines(parts)
    stream.flush()


def _read(stream: BinaryIO) -> tuple[dict[str, Any], list[bytearray]]:
    length = int.from_bytes(_exactly(stream, _LENGTH), "big")
    header = orjson.loads(_exactly(stream, length))
    return header, [_exactly(stream, size) for size in header.pop("parts")]


def _exactly(stream: BinaryIO, size: int) -> bytearray:
    """So many bytes, of which arrays can be made that may be written to."""
    found = bytearray(stream.read(size))
    if len(found) < size:
        raise EOFError(f"the pipe ended {size - len(found)} bytes early")
    return found

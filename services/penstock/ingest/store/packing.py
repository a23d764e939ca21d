"""A case as bytes. A change here is a new `FORMAT`: what is on disk in another one is built anew."""

from __future__ import annotations

import struct
from typing import Final

from penstock.contracts.records import Label, Origin, OutcomeKind
from penstock.ingest.domain.cases import Case, Known, Made

FORMAT: Final = 1

_ORIGINS: Final = tuple(Origin)
_KINDS: Final = (None, *OutcomeKind)

_HEAD: Final = struct.Struct("<BBI")  # unmatched; how many predictions and labels
# Origin; whether it was made, when, at which offset; kind, whether it rests on a label, the label's force.
_KNOWN: Final = struct.Struct("<BBqqBBq8s")
_LABEL: Final = struct.Struct("<qd")  # time, value


def pack(case: Case) -> bytes:
    """The bytes of a case, without its name.

    >>> case = Case("a", known=(Known(Origin.STREAM, Made(time=5, offset=3)),))
    >>> len(pack(case)), unpack("a", pack(case)).known == case.known
    (42, True)
    """
    parts = [_HEAD.pack(case.unmatched, len(case.known), len(case.labels))]
    for origin, made, kind, force in case.known:
        parts.append(
            _KNOWN.pack(
                _ORIGINS.index(origin),
                made is not None,
                *(made or (0, 0)),
                _KINDS.index(kind),
                force is not None,
                *(force or (0, b"")),
            )
        )
    parts += [_LABEL.pack(label.time, label.label) for label in case.labels]
    return b"".join(parts)


def unpack(name: str, data: bytes) -> Case:
    """The case; its places in the queues are those it was kept with.

    Raises:
        struct.error: these are not the bytes of one.
    """
    unmatched, count, _ = _HEAD.unpack_from(data)
    at = _HEAD.size + count * _KNOWN.size
    case = Case(
        name,
        tuple([_known(each) for each in _KNOWN.iter_unpack(data[_HEAD.size : at])]),
        tuple([Label(id=name, time=time, label=label) for time, label in _LABEL.iter_unpack(data[at:])]),
        bool(unmatched),
    )
    case.waiting = case.waits()
    return case


def _known(fields: tuple[int, int, int, int, int, int, int, bytes]) -> Known:
    origin, made, time, offset, kind, named, label_time, digest = fields
    return Known(
        _ORIGINS[origin],
        Made(time, offset) if made else None,
        _KINDS[kind],
        (label_time, digest) if named else None,
    )

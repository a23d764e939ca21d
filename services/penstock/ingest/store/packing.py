"""A case as bytes. A change here is a new `FORMAT`: what is on disk in another one is built anew."""

from __future__ import annotations

import struct
from typing import Final

from penstock.contracts.records import Label, Origin, OutcomeKind
from penstock.ingest.domain.cases import Case, Fate, Made

FORMAT: Final = 1

_ORIGINS: Final = tuple(Origin)
_KINDS: Final = tuple(OutcomeKind)
_ORIGIN: Final = {origin: number for number, origin in enumerate(Origin)}
_KIND: Final = {kind: number for number, kind in enumerate(OutcomeKind)}

_HEAD: Final = struct.Struct("<BBBI")  # unmatched; how many were made, have a fate, and labels there are
_MADE: Final = struct.Struct("<Bqq")  # origin, time, offset
_FATE: Final = struct.Struct("<BBBq8s")  # origin, kind, whether it rests on a label, that label's force
_LABEL: Final = struct.Struct("<qd")  # time, value


def pack(case: Case) -> bytes:
    """The bytes of a case, without its name.

    >>> case = Case("a", made={Origin.STREAM: Made(time=5, offset=3)})
    >>> len(pack(case)), unpack("a", pack(case)).made == case.made
    (24, True)
    """
    parts = [_HEAD.pack(case.unmatched, len(case.made), len(case.fates), len(case.labels))]
    parts += [_MADE.pack(_ORIGIN[origin], *made) for origin, made in case.made.items()]
    for origin, (kind, force) in case.fates.items():
        time, digest = force or (0, b"")
        parts.append(_FATE.pack(_ORIGIN[origin], _KIND[kind], force is not None, time, digest))
    parts += [_LABEL.pack(label.time, label.label) for label in case.labels]
    return b"".join(parts)


def unpack(name: str, data: bytes) -> Case:
    """The case; its places in the queues are those it was kept with.

    Raises:
        struct.error: these are not the bytes of one.
    """
    unmatched, made, fates, labels = _HEAD.unpack_from(data)
    case = Case(name, unmatched=bool(unmatched))
    at = _HEAD.size
    for _ in range(made):
        origin, time, offset = _MADE.unpack_from(data, at)
        case.made[_ORIGINS[origin]] = Made(time, offset)
        at += _MADE.size
    for _ in range(fates):
        origin, kind, named, time, digest = _FATE.unpack_from(data, at)
        case.fates[_ORIGINS[origin]] = Fate(_KINDS[kind], (time, digest) if named else None)
        at += _FATE.size
    for _ in range(labels):
        time, value = _LABEL.unpack_from(data, at)
        case.labels.append(Label(id=name, time=time, label=value))
        at += _LABEL.size
    case.waiting = case.waits()
    return case

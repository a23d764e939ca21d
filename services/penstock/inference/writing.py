"""Predictions as they lie in the log, written many at once.

`RowCodec.encode` writes any row, one at a time. Rows that one `Serving` has scored differ in little: their
id, their time, who answered, and numbers of a fixed width. So what is the same is written once, the numbers
of all rows by NumPy, and each row is put together from five pieces: 1.1 µs a row in a batch of 64, against
20. Of very many rows each piece, too, is put in its place in all of them at once: .6 µs. A row that a version
had no answer for is left to `RowCodec`; a test holds all three to the same bytes.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from penstock.contracts.records import Origin, Prediction, Role
from penstock.inference.domain import Scored, finite, predictions, versions
from penstock.runtime.columnar import pieces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from penstock.contracts.records import RouteChanged
    from penstock.inference.domain import Answer, Serving
    from penstock.runtime.codec import RowCodec

MANY: Final = 256
"""Rows from which on it is faster to write them by columns, which takes 160 µs for a single one."""
_ORIGINS: Final = {origin: bytes([2 * place]) for place, origin in enumerate(Origin)}
_ROLES: Final = {role: b"\2" + bytes([2 * place]) for place, role in enumerate(Role)}
_NOBODY: Final = b"\0"  # the first branch of a union: null
_END: Final = b"\0"  # of an array or a map, and all of an empty one
_PLAIN: Final = _NOBODY + 3 * _END
"""No error, nothing cleared, no parameters, no attributions."""


class Rows(NamedTuple):
    """Rows that one `Serving` has scored.

    Args:
        serving: that scored them.
        scored: what was said.
        ids: one for each row.
        times: of the events, milliseconds since 1970.
        cleared: features set missing, for each row.
        matrix: the features as served, shape (rows, features), NaN = missing.
        parameters: what the client passed, for each row; empty where none passed any.
        attributions: of each row; empty where none was explained.
    """

    serving: Serving
    scored: Scored
    ids: Sequence[str]
    times: Sequence[int]
    cleared: Sequence[tuple[int, ...]]
    matrix: NDArray[np.floating]
    parameters: Sequence[Mapping[str, str]] = ()
    attributions: Sequence[tuple[float, ...]] = ()


class Writer:
    """Writes predictions of one layout of features.

    Args:
        rows: the codec of that layout.
        origin: how the predictions were asked for.
    """

    def __init__(self, rows: RowCodec[Prediction], origin: Origin) -> None:
        self._rows = rows
        self._origin = origin
        self._template: _Template | None = None

    def write(self, rows: Rows) -> list[bytes]:
        """The payloads that `RowCodec.encode` makes of the same predictions."""
        plain = self._laid if len(rows.ids) >= MANY else self._joined
        written = plain(self._template_of(rows), rows)
        if any(rows.cleared) or any(rows.parameters) or any(rows.attributions):
            _tell(rows, written)
        for row in _odd(rows.scored):
            written[row] = self._one(rows, row)
        return written

    def _template_of(self, rows: Rows) -> _Template:
        route = rows.serving.route
        widths = {version: scores.shape[1] for version, scores in rows.scored.scores.items()}
        template = self._template
        if template is None or template.route is not route or template.widths != widths:
            template = self._template = _template(route, widths)
        return template

    def _joined(self, template: _Template, rows: Rows) -> list[bytes]:
        """Rows with nothing beside their scores, one after the other."""
        count, features = rows.matrix.shape
        ours = template.fixed
        width = len(ours) + 8 * features
        block = np.empty((count, width), dtype=np.uint8)
        block[:, : len(ours)] = np.frombuffer(ours, dtype=np.uint8)
        for version, at in template.places.items():
            block[:, at : at + 8 * template.widths[version]] = _bytes_of(rows.scored.scores[version])
        block[:, len(ours) :] = _bytes_of(rows.matrix)
        whole, header, origin = block.tobytes(), self._rows.schema.header, _ORIGINS[self._origin]
        middles: dict[tuple[int, Answer], bytes] = {}
        written, at = [], 0
        for id_, time, answer in zip(rows.ids, rows.times, rows.scored.answers, strict=True):
            name = id_.encode()
            middle = middles.get((time, answer))
            if middle is None:
                middle = origin + _long(time) + template.epoch + _answered(answer) + template.many
                middles[time, answer] = middle
            written.append(b"".join((header, _length(len(name)), name, middle, whole[at : at + width])))
            at += width
        return written

    def _laid(self, template: _Template, rows: Rows) -> list[bytes]:
        """The same, each field of all rows at once."""
        count = len(rows.ids)
        names = pieces.texts(rows.ids)
        said = np.empty((count, len(template.fixed)), dtype=np.uint8)
        said[:] = np.frombuffer(template.fixed, dtype=np.uint8)
        for version, at in template.places.items():
            said[:, at : at + 8 * template.widths[version]] = _bytes_of(rows.scored.scores[version])
        return pieces.lay(
            count,
            [
                pieces.constant(self._rows.schema.header),
                pieces.varints(names.sizes),
                names,
                pieces.constant(_ORIGINS[self._origin]),
                pieces.varints(np.asarray(rows.times, dtype=np.int64)),
                pieces.constant(template.epoch),
                _answers(rows.scored),
                pieces.constant(template.many),
                pieces.table(said),
                pieces.table(rows.matrix),
            ],
        )

    def _one(self, rows: Rows, row: int) -> bytes:
        here = slice(row, row + 1)
        scored = rows.scored
        found = predictions(
            rows.serving,
            Scored(
                answers=scored.answers[here],
                scores={version: scores[here] for version, scores in scored.scores.items()},
                failed=scored.failed,
            ),
            origin=self._origin,
            ids=rows.ids[here],
            times=rows.times[here],
            cleared=rows.cleared[here],
            parameters=rows.parameters[row] if rows.parameters else None,
            attributions=rows.attributions[here],
        )
        [payload] = self._rows.encode(found, rows.matrix[here].astype(np.float64))
        return payload


class _Template(NamedTuple):
    """What is the same in all rows that a route has scored.

    Args:
        route: that did.
        widths: numbers of each version that has scores.
        epoch: as it is written.
        many: how many versions follow, as it is written.
        fixed: from the first version to before the features, the numbers left out.
        places: where in it the numbers of a version go.
    """

    route: RouteChanged
    widths: Mapping[int, int]
    epoch: bytes
    many: bytes
    fixed: bytes
    places: Mapping[int, int]


def _template(route: RouteChanged, widths: Mapping[int, int]) -> _Template:
    routed = versions(route)
    fixed, places = b"", {}
    for version in routed:
        fixed += _long(version)
        if width := widths.get(version, 0):
            fixed += _long(width)
            places[version] = len(fixed)
            fixed += bytes(8 * width)
        fixed += _END
    return _Template(
        route=route,
        widths=widths,
        epoch=_long(route.epoch),
        many=_long(len(routed)),
        fixed=fixed + _END + _PLAIN,
        places=places,
    )


def _answers(scored: Scored) -> pieces.Piece:
    """Version and role, of each row."""
    answer = scored.answer
    if answer is not None:
        return pieces.constant(_answered(answer))
    # In the order in which they come first: a set has another one in each process.
    codes = {each: code for code, each in enumerate(dict.fromkeys(scored.answers))}
    places = np.fromiter(map(codes.__getitem__, scored.answers), dtype=np.int64, count=len(scored.answers))
    return pieces.chosen(list(map(_answered, codes)), places)


def _answered(answer: Answer) -> bytes:
    """Version and role."""
    return b"\2" + _long(answer.version) + (_NOBODY if answer.role is None else _ROLES[answer.role])


def _odd(scored: Scored) -> list[int]:
    """Rows that some version could not score, or the answering one did not."""
    odd = np.zeros(len(scored.answers), dtype=np.bool_)
    for scores in scored.scores.values():
        if not finite(scores):
            odd |= ~np.isfinite(scores).all(axis=1)
    if scored.failed:
        odd |= np.array([answer.version in scored.failed for answer in scored.answers])
    return np.flatnonzero(odd).tolist()


def _tell(rows: Rows, written: list[bytes]) -> None:
    """Put in what most rows have nothing of."""
    behind = 8 * rows.matrix.shape[1]
    nothing: Sequence[Any] = ((),) * len(written)
    told = zip(rows.cleared, rows.parameters or nothing, rows.attributions or nothing, strict=True)
    for row, (cleared, parameters, attributions) in enumerate(told):
        if cleared or parameters or attributions:
            payload = written[row]
            split = len(payload) - behind
            beside = _NOBODY + _array(map(_long, cleared)) + _map(parameters) + _floats(attributions)
            written[row] = b"".join((payload[: split - len(_PLAIN)], beside, payload[split:]))


def _array(items: Any) -> bytes:
    written = list(items)
    return _long(len(written)) + b"".join(written) + _END if written else _END


def _map(words: Mapping[str, str]) -> bytes:
    return _array(_text(name) + _text(value) for name, value in words.items()) if words else _END


def _text(word: str) -> bytes:
    body = word.encode()
    return _long(len(body)) + body


def _floats(values: Sequence[float]) -> bytes:
    return _long(len(values)) + struct.pack(f"<{len(values)}f", *values) + _END if values else _END


def _bytes_of(matrix: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Doubles, shape (n, k), as bytes, shape (n, 8 k)."""
    return np.ascontiguousarray(matrix, dtype="<f8").view(np.uint8)


def _long(number: int) -> bytes:
    r"""As Avro writes it: zigzag, seven bits a byte, the eighth says that more follow.

    >>> _long(-1), _long(64)
    (b'\x01', b'\x80\x01')
    """
    left = number << 1 if number >= 0 else (-number << 1) - 1
    written = bytearray()
    while left > 0x7F:  # noqa: PLR2004 - the seven bits
        written.append(left & 0x7F | 0x80)
        left >>= 7
    written.append(left)
    return bytes(written)


_length = lru_cache(maxsize=1024)(_long)

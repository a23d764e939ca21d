"""What the join looks at of each record: no more of it is decoded when it comes."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.contracts.records import Label, Origin, Prediction, PredictionsLost
from penstock.kernel.errors import Invalid
from penstock.runtime.codec import Codec

_ORIGINS: Final = {origin.value: origin for origin in Origin}


class Asked(NamedTuple):
    """A prediction."""

    id: str
    origin: Origin
    time: int
    answered: bool


def head(codec: Codec, payload: bytes) -> Asked | Label | None:
    """A record of the join's inputs; None where there is nothing to join in it.

    Raises:
        Invalid: it does not belong there.
        UnknownSchema: nothing is known of its schema yet.
    """
    if codec.remembers:
        return _decoded(codec.decode(payload).value)
    kind, fields = codec.plain(payload)
    match kind:
        case "Prediction":
            origin = _ORIGINS[fields["origin"]]
            return Asked(fields["id"], origin, fields["time"], fields["error"] is None)
        case "Label":
            return Label(**fields)
        case "PredictionsLost":
            return None
    raise _stranger(kind)


def _decoded(event: object) -> Asked | Label | None:
    match event:
        case Prediction():
            return Asked(event.id, event.origin, event.time, event.error is None)
        case Label():
            return event
        case PredictionsLost():
            return None
    raise _stranger(type(event).__name__)


def _stranger(kind: str) -> Invalid:
    return Invalid(f"a {kind} does not belong here", reason="unexpected")

"""What the join looks at of each record: no more of it is decoded when it comes."""

from __future__ import annotations

from typing import NamedTuple

from penstock.contracts.records import Label, Prediction, PredictionsLost
from penstock.ingest.domain.cases import Identity
from penstock.kernel.errors import Invalid
from penstock.runtime.codec import Codec


class Asked(NamedTuple):
    """A prediction."""

    identity: Identity
    time: int
    answered: bool


def head(codec: Codec, payload: bytes) -> Asked | Label | None:
    """A record of the join's inputs; None where there is nothing to join in it.

    Raises:
        Invalid: it does not belong there.
        UnknownSchema: nothing is known of its schema yet.
    """
    event = codec.decode(payload).value
    match event:
        case Prediction():
            return Asked(Identity(event.id, event.origin), event.time, event.error is None)
        case Label():
            return event
        case PredictionsLost():
            return None
    raise Invalid(f"a {type(event).__name__} does not belong here", reason="unexpected")

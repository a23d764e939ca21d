"""What a pipeline's feature vector looks like, worked out once: names, and what codes may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from penstock.kernel.kinds import Boolean, Category, Feature, Kind, Number, TimePart
from penstock.kernel.validity import rules_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from penstock.kernel.features import FloatArray
    from penstock.kernel.pipeline import Pipeline

PACKED: Final = "features"
"""The name of the one tensor that can hold all features, coded, in the order of the spec."""
_LARGEST: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What coded values may be, by column; shape (features,) each.

    Args:
        low: the least; of a code, 0.
        high: the most.
        whole: the columns that hold codes, which are whole.
        clears: whether what is out of bounds is missing; elsewhere it is nonsense, or the spec refuses it.
        listed: columns of which only some values are allowed, these, and whether others are missing.
        required: whether a value has to be there.
        some_required: whether that is so anywhere.
        low32: the least float32 that is not below `low`.
        high32: the greatest float32 that is not above `high`.
        open: whether every number there is will do in every column, and a missing one too.
    """

    low: FloatArray
    high: FloatArray
    low32: NDArray[np.float32]
    high32: NDArray[np.float32]
    whole: NDArray[np.intp]
    clears: NDArray[np.bool_]
    listed: tuple[tuple[int, FloatArray, bool], ...]
    required: NDArray[np.bool_]
    some_required: bool
    open: bool

    @classmethod
    def of(cls, features: tuple[Feature, ...]) -> Bounds:
        spans = [_span(feature) for feature in features]
        coded = [isinstance(feature.kind, Category | Boolean) for feature in features]
        low, high = np.array(spans, dtype=np.float64).reshape(-1, 2).T
        return cls(
            low=low,
            high=high,
            low32=_inwards(low, np.inf),
            high32=_inwards(high, -np.inf),
            whole=np.flatnonzero(coded),
            clears=np.array([_clears(feature.kind) for feature in features]),
            listed=tuple(
                (place, allowed, rules_of(feature.kind)["values"] == "set_missing")
                for place, feature in enumerate(features)
                if (allowed := _allowed(feature.kind)) is not None
            ),
            required=np.array([_demanded(feature.kind) for feature in features]),
            some_required=any(_demanded(feature.kind) for feature in features),
            open=not any(coded)
            and all(span == (-_LARGEST, _LARGEST) for span in spans)
            and all(_allowed(feature.kind) is None and not _demanded(feature.kind) for feature in features),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The features of a pipeline, by place and by name."""

    features: tuple[Feature, ...]
    names: tuple[str, ...]
    by_name: Mapping[str, Feature]
    fields: frozenset[str]
    """Timestamps that features are parts of, where no feature has their name; not the event's own time."""
    bounds: Bounds
    packed: int
    """Columns of the one tensor that can hold them all; -1 where a feature has its name."""

    @classmethod
    def of(cls, pipeline: Pipeline) -> Layout:
        by_name = {feature.name: feature for feature in pipeline.features}
        fields = {feature.field for feature in pipeline.features if _from_field(feature)}
        return cls(
            features=pipeline.features,
            names=pipeline.feature_names,
            by_name=by_name,
            fields=frozenset(fields - by_name.keys()),
            bounds=Bounds.of(pipeline.features),
            packed=-1 if PACKED in by_name else len(pipeline.features),
        )


def _inwards(bounds: FloatArray, towards: float) -> NDArray[np.float32]:
    """The nearest float32 on the inner side, so that a float32 is inside of both or of neither."""
    nearest = bounds.astype(np.float32)
    beyond = (nearest < bounds) if towards > 0 else (nearest > bounds)
    return np.where(beyond, np.nextafter(nearest, np.float32(towards)), nearest)


def _span(feature: Feature) -> tuple[float, float]:
    match feature.kind:
        case Number() if rules_of(feature.kind).get("range") == "flag":
            return -_LARGEST, _LARGEST
        case Number(min=least, max=most):
            return (-_LARGEST if least is None else least, _LARGEST if most is None else most)
        case Category(values=values):
            return 0.0, float(len(values or ()))
        case Boolean():
            return 0.0, 1.0
        case TimePart():
            return -_LARGEST, _LARGEST


def _demanded(kind: Kind) -> bool:
    """Whether a row without it is refused, and not just marked."""
    return kind.required and rules_of(kind).get("required") != "flag"


def _clears(kind: Kind) -> bool:
    return isinstance(kind, Number) and rules_of(kind).get("range") != "dead_letter"


def _allowed(kind: Kind) -> FloatArray | None:
    """The only codes a rule of the spec allows, where it has one that does more than mark."""
    if rules_of(kind).get("values") not in ("set_missing", "dead_letter"):
        return None
    match kind:
        case Number(values=tuple(values)):
            return np.array(values, dtype=np.float64)
        case Category(values=tuple(words)):
            return np.arange(1.0, len(words) + 1.0)  # 0 is a word that is none of them
        case _:
            return None


def _from_field(feature: Feature) -> bool:
    return isinstance(feature.kind, TimePart) and not feature.kind.at_event_time

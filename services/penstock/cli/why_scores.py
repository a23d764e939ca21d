"""Why a prediction is what it is, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.cli.output import table

if TYPE_CHECKING:
    from penstock.client import Explanation, Prediction, Row

SCALES: Final = {
    "log-odds": "log-odds of a positive label",
    "log-probability": "log-probability, but for a number that is the same for all classes",
    "score": "the score",
}


def told(row: Row, prediction: Prediction) -> str:
    """A line for each feature, what added most first; then the base, and what they sum to.

    >>> from penstock.client import Explanation, Prediction
    >>> why = Explanation(base=-1.0, attributions={"age": 0.5, "plan": -0.75}, scale="log-odds")
    >>> print(told({"age": 41, "plan": "pro"}, Prediction(
    ...     id="web-1", scores=(0.22,), version=3, role="champion", epoch=9, explanations=(why,))))
    web-1: what each feature added (log-odds of a positive label)
    feature  value  contribution
    plan     pro           -0.75
    age      41              0.5
    (base)   –                -1
    sum      –             -1.25
    """
    whys = prediction.explanations
    heads = ["contribution"] if len(whys) == 1 else [f"score {place}" for place in range(len(whys))]
    most = {name: max(abs(why.attributions[name]) for why in whys) for name in whys[0].attributions}
    lines: list[dict[str, object]] = [
        {"feature": name, "value": _shown(row.get(name))}
        | {head: round(why.attributions[name], 6) for head, why in zip(heads, whys, strict=True)}
        for name in sorted(most, key=lambda name: -most[name])
    ]
    lines += [
        {"feature": what, "value": "–"}
        | {head: round(value, 6) for head, value in zip(heads, values, strict=True)}
        for what, values in (("(base)", [why.base for why in whys]), ("sum", [why.raw for why in whys]))
    ]
    scale = whys[0].scale
    return f"{prediction.id}: what each feature added ({SCALES.get(scale, scale)})\n{table(lines)}"


def plain(why: Explanation) -> dict[str, object]:
    """An explanation for programs."""
    return {
        "scale": why.scale,
        "base": round(why.base, 6),
        "attributions": {name: round(value, 6) for name, value in why.attributions.items()},
    }


def _shown(value: object) -> str:
    return "–" if value is None else str(value)

"""What comes back: predictions, why they are what they are, and what a pipeline takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one score is what it is.

    Args:
        base: the raw score of a row of which nothing is known.
        attributions: feature → what it added to that.
        scale: what the raw score is: log-odds, log-probability, or the score itself.
    """

    base: float
    attributions: Mapping[str, float]
    scale: str

    @property
    def raw(self) -> float:
        """The raw score: what the attributions and the base sum to.

        >>> Explanation(base=-1.0, attributions={"age": 0.5, "plan": 0.25}, scale="log-odds").raw
        -0.25
        """
        return self.base + sum(self.attributions.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model says of one row.

    Args:
        id: what its label is to be sent under.
        scores: one number; of a multiclass task one for each class.
        version: of the model that answered.
        role: as what it did: champion, canary, split or, where it was asked for, shadow.
        epoch: of the routing table in force.
        explanations: one for each score, where they were asked for.

    >>> Prediction(id="web-1", scores=(0.25,), version=3, role="champion", epoch=9).score
    0.25
    """

    id: str
    scores: tuple[float, ...]
    version: int
    role: str
    epoch: int
    explanations: tuple[Explanation, ...] = ()

    @property
    def score(self) -> float:
        """The one score: the probability of a positive label, or a value.

        Raises:
            ValueError: there is one for each class.
        """
        if len(self.scores) != 1:
            raise ValueError(f"there are {len(self.scores)} scores, one for each class: take `scores`")
        return self.scores[0]

    @property
    def explanation(self) -> Explanation:
        """Why the one score is what it is.

        Raises:
            ValueError: it was not asked for, or there is one for each class.
        """
        if not self.explanations:
            raise ValueError("nothing was explained: ask with explain=True")
        if len(self.explanations) != 1:
            count = len(self.explanations)
            raise ValueError(f"there are {count} explanations, one for each class: take `explanations`")
        return self.explanations[0]

    @property
    def attributions(self) -> Mapping[str, float]:
        """Feature → what it added to the one raw score; raises `ValueError` as `explanation` does."""
        return self.explanation.attributions


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a pipeline's model takes of an event.

    Args:
        features: name → the protocol's datatype (BYTES, BOOL or FP32), in the order of the pipeline file.
        id: the field that names the event.
        event_time: the field of its time.
        timestamps: the fields of other times that features are parts of.
    """

    features: Mapping[str, str]
    id: str
    event_time: str
    timestamps: frozenset[str]

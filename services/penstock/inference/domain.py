"""Who answers: the route in force, the models it names, and the scores of every version on every row.

Pure: a route comes from the log, chance is a hash of the id, so every replica and every replay answers alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.records import Origin, Prediction, Role, RouteChanged, Score
from penstock.inference.layout import Layout
from penstock.kernel.hashing import share_of

if TYPE_CHECKING:
    from penstock.kernel.pipeline import Pipeline
    from penstock.kernel.policy import Task

FloatMatrix = NDArray[np.float32]
SLOW: Final = 100e-6
"""Seconds for one row from which on a version is run in a thread: to hand it over costs about as much."""
_SINGLE: Final = np.dtype(np.float32)
_FEW: Final = 32
"""Values up to which a loop in Python is faster than NumPy: 0.3 µs against 1.4 for one of them."""


class Answer(NamedTuple):
    """Which version's scores a row was answered with, and as what; no role where a shadow was asked for."""

    version: int
    role: Role | None


def answering(route: RouteChanged) -> tuple[int, ...]:
    """The versions that answer, as opposed to those that only score."""
    named = (route.champion, route.canary, route.split)
    return tuple(dict.fromkeys(version for version in named if version is not None))


def versions(route: RouteChanged) -> tuple[int, ...]:
    """All versions of a route, those that answer first."""
    return tuple(dict.fromkeys(answering(route) + route.shadows))


def arm(route: RouteChanged, id_: str) -> Answer:
    """Who answers this id: the same on every replica, and for as long as the share only grows.

    The split's ids come first, and of the others the canary has its share: so a canary that comes and goes
    takes no id out of a long-lived comparison.

    >>> route = RouteChanged(
    ...     pipeline="flights", epoch=3, champion=1, canary=2, share=0.5, salt="a", shadows=(), decision="",
    ...     causes=(),
    ... )
    >>> [arm(route, f"UA-{n}").version for n in range(10)]
    [1, 2, 1, 2, 1, 2, 2, 2, 2, 1]
    """
    if route.split is not None and share_of(route.split_salt, id_) < route.split_share:
        return Answer(route.split, Role.SPLIT)
    if route.canary is not None and share_of(route.salt, id_) < route.share:
        return Answer(route.canary, Role.CANARY)
    return Answer(route.champion, Role.CHAMPION)


def pinned(route: RouteChanged, version: int) -> Answer:
    """This version answers, whatever the route says."""
    roles = {route.split: Role.SPLIT, route.canary: Role.CANARY, route.champion: Role.CHAMPION}
    return Answer(version, roles.get(version))


class Scorer(Protocol):
    """What is asked of a model: float32 ``[n, F]`` with NaN = missing, to float32 ``[n, K]``."""

    def run(self, matrix: FloatMatrix, /) -> FloatMatrix: ...


class Explainer(Protocol):
    """Shares out a version's raw scores among its features."""

    @property
    def scale(self) -> str:
        """What the raw scores are."""

    @property
    def steps(self) -> int:
        """What a row costs, some 10 ns each."""

    def attribute(self, rows: FloatMatrix, /) -> FloatMatrix:
        """Rows ``[n, F]`` to ``[n, K, F + 1]``: what each feature adds, then the base value."""


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True)
class Loaded:
    """A version that can score.

    Args:
        features: the features it was made for, in the order of its columns.
        model: scores rows of them.
        explaining: gives its explainer for a task, or raises that it has none.
        seconds: that it takes for one row, on this machine.
    """

    version: int
    features: tuple[str, ...]
    model: Scorer
    explaining: Callable[[Task], Explainer] | None = None
    seconds: float = 0.0

    @property
    def slow(self) -> bool:
        """Whether it would hold up other calls to run it where they are read."""
        return self.seconds > SLOW


class Scored(NamedTuple):
    """What all versions say of some rows.

    Args:
        answers: for each row, who answers it.
        scores: by version, float32 ``[n, K]``; not finite where the version could not score the row.
        failed: versions that scored nothing, and why; they are not in `scores`.
    """

    answers: tuple[Answer, ...]
    scores: Mapping[int, FloatMatrix]
    failed: Mapping[int, str] = MappingProxyType({})

    @property
    def answer(self) -> Answer | None:
        """Who answers every row; None where they are several."""
        first = self.answers[0]
        return first if self.answers.count(first) == len(self.answers) else None

    def complete(self, version: int) -> bool:
        """Whether a version scored every row."""
        scores = self.scores.get(version)
        return scores is not None and finite(scores)

    def said(self, version: int) -> list[tuple[float, ...]]:
        """What one version says of each row; empty where it failed."""
        if version not in self.scores:
            return [()] * len(self.answers)
        return [tuple(row) if all(map(isfinite, row)) else () for row in self.scores[version].tolist()]

    def why_not(self, version: int) -> str:
        """Why a version has no scores for a row."""
        return f"version {version} could not score: {self.failed.get(version, 'not a finite number')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A pipeline that can be asked: one reference, swapped as a whole, so no call sees half of a change.

    Args:
        pipeline: the applied spec.
        route: the routing table in force.
        models: every version of the route that could be loaded; those that answer are always among them.
    """

    pipeline: Pipeline
    route: RouteChanged
    models: Mapping[int, Loaded]
    layout: Layout = field(init=False, repr=False, compare=False)
    alone: Answer | None = field(init=False, repr=False, compare=False)
    """Who answers every id; None where several share them."""
    slow: frozenset[int] = field(init=False, repr=False, compare=False)
    """The versions that are not run where calls are read."""

    def __post_init__(self) -> None:
        # Frozen, and worked out once.
        object.__setattr__(self, "layout", Layout.of(self.pipeline))
        one = len(answering(self.route)) == 1
        object.__setattr__(self, "alone", Answer(self.route.champion, Role.CHAMPION) if one else None)
        slow = frozenset(version for version, loaded in self.models.items() if loaded.slow)
        object.__setattr__(self, "slow", slow)

    def score(
        self,
        ids: Sequence[str],
        names: tuple[str, ...],
        matrix: NDArray[np.floating],
        *,
        pin: int | None = None,
    ) -> Scored:
        """Let every loaded version score every row.

        Args:
            ids: one for each row; they decide who answers.
            names: what the columns are; those a model does not know are ignored, those it misses are NaN.
            matrix: shape (rows, names), NaN = missing.
            pin: answer all rows with this version, which is loaded, whatever the route says.
        """
        rows = matrix if matrix.dtype == _SINGLE else np.ascontiguousarray(matrix, dtype=_SINGLE)
        scores, failed = self.run(rows, names, self.models)
        return Scored(self.answers(ids, pin), scores, failed)

    def answers(self, ids: Sequence[str], pin: int | None) -> tuple[Answer, ...]:
        """Who answers each row."""
        if pin is not None:
            return (pinned(self.route, pin),) * len(ids)
        if self.alone is not None:
            return (self.alone,) * len(ids)
        return tuple([arm(self.route, id_) for id_ in ids])

    def run(
        self, rows: FloatMatrix, names: tuple[str, ...], which: Iterable[int]
    ) -> tuple[dict[int, FloatMatrix], dict[int, str]]:
        """What some versions say of the rows, and why others could not."""
        scores: dict[int, FloatMatrix] = {}
        failed: dict[int, str] = {}
        for version in which:
            loaded = self.models[version]
            try:
                scores[version] = loaded.model.run(gather(rows, names, loaded.features))
            except Exception as error:  # noqa: BLE001 - a shadow that fails must not take the answer with it
                failed[version] = reason_of(error)
        return scores, failed


def reason_of(error: Exception) -> str:
    r"""Why a version could not score, in a line that fits a record.

    >>> reason_of(ValueError("no\nluck"))
    'no luck'
    """
    return " ".join(str(error).split())[:300]


def predictions(
    serving: Serving,
    scored: Scored,
    *,
    origin: Origin,
    ids: Sequence[str],
    times: Sequence[int],
    cleared: Sequence[tuple[int, ...]],
    parameters: Mapping[str, str] | None = None,
    attributions: Sequence[tuple[float, ...]] = (),
) -> list[Prediction]:
    """One record for each row: the answer, and what every version of the route said of it.

    Args:
        serving: that scored them.
        scored: what was said.
        origin: of the rows.
        ids: one for each row.
        times: of the events.
        cleared: features set missing, for each row.
        parameters: what the client passed beside its rows.
        attributions: of each row that was explained; nothing where none was.
    """
    whys = attributions or ((),) * len(ids)
    routed = versions(serving.route)
    said = {version: scored.said(version) for version in routed}
    found = []
    for row, (id_, time, without, answer) in enumerate(zip(ids, times, cleared, scored.answers, strict=True)):
        answered = bool(said[answer.version][row])
        found.append(
            Prediction(
                id=id_,
                origin=origin,
                time=time,
                epoch=serving.route.epoch,
                version=answer.version if answered else None,
                role=answer.role if answered else None,
                scores=tuple([Score(version=version, values=said[version][row]) for version in routed]),
                error=None if answered else scored.why_not(answer.version),
                cleared=without,
                parameters=parameters or {},
                attributions=whys[row],
            )
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A pipeline that cannot be asked yet, and why."""

    reason: str


Directory = Mapping[str, Serving | Waiting]
"""Every pipeline that is known here, by name."""

STARTING: Final[Directory] = MappingProxyType({})
"""The directory of a process that has not read yet which pipelines there are."""


def finite(scores: FloatMatrix) -> bool:
    """Whether all of them are numbers.

    >>> finite(np.array([[0.5], [np.nan]], dtype=np.float32))
    False
    """
    if scores.size == 1:
        return isfinite(scores.item())
    if scores.size > _FEW:
        return bool(np.isfinite(scores).all())
    return all(map(isfinite, scores.ravel().tolist()))


@lru_cache(maxsize=1024)
def _columns(names: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.intp]:
    """Where each wanted column is, -1 for nowhere."""
    places = {name: index for index, name in enumerate(names)}
    return np.array([places.get(name, -1) for name in wanted], dtype=np.intp)


def gather(rows: FloatMatrix, names: tuple[str, ...], wanted: tuple[str, ...]) -> FloatMatrix:
    """The wanted columns by name: rows written before a feature was added miss it, and say NaN.

    >>> gather(np.array([[1.0, 2.0]], dtype=np.float32), ("a", "b"), ("b", "new")).tolist()
    [[2.0, nan]]
    """
    if names is wanted or names == wanted:
        return rows
    columns = _columns(names, wanted)
    gathered = rows[:, columns]
    gathered[:, columns < 0] = np.nan
    return gathered

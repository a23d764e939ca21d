r"""Shapley values of tree ensembles: what each feature of a row adds to its raw score, exactly.

The game is TreeSHAP's path-dependent one. Its players are the features; what a coalition S is worth is the
mean of the ensemble when only the features in S are known: a branch on a known feature is followed, one on
an unknown feature goes both ways, in the shares in which the training rows went (the *covers*).

Along the path to one leaf, let $o_j$ be 1 where the row's feature j goes the path's way at each of its
branches, else 0, and $z_j$ the share of training rows that did. The leaf, of value v, is worth
$v \prod_{j \in S} o_j \prod_{j \notin S} z_j$, so by the multilinear extension of a game its feature i gets

$$\phi_i = v\,(o_i - z_i) \int_0^1 \prod_{j \ne i} \bigl(t\,o_j + (1 - t)\,z_j\bigr)\,dt .$$

The integrand is a polynomial of degree d - 1 where d features are on the path, so Gauss and Legendre's rule
with ⌈d/2⌉ points is exact. All its terms are positive: nothing cancels, and a row costs $O(d^2)$ a leaf.

Source: Lundberg et al., "From local explanations to global understanding with explainable AI for trees",
Nature Machine Intelligence 2 (2020), algorithm 2, for the game; Owen, "Multilinear extensions of games",
Management Science 18 (1972), for the integral.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.intp]

CHUNK: Final = 2**18
"""Numbers in one intermediate array: the rows are taken in so many at once that it stays in the cache."""
_LARGEST: Final = np.finfo(np.float32).max


class Branch(NamedTuple):
    """A node that asks: a value at or below the threshold goes to `yes`, another to `no`.

    Args:
        feature: column that it looks at.
        threshold: float32-representable.
        missing_to_yes: where a missing value goes.
        yes: place of the child in the list of nodes.
        no: place of the other one.
        cover: how many training rows came here.
    """

    feature: int
    threshold: float
    missing_to_yes: bool
    yes: int
    no: int
    cover: float


class Leaf(NamedTuple):
    """A node that answers.

    Args:
        values: output → what it adds there.
        cover: how many training rows came here.
    """

    values: tuple[tuple[int, float], ...]
    cover: float


class _Condition(NamedTuple):
    """What a path asks of one feature, over all its branches: low < value <= high, or to be missing."""

    low: float
    high: float
    missing: bool
    share: float


_ANYTHING: Final = _Condition(-np.inf, np.inf, missing=True, share=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """Paths with as many points of the rule, their conditions one after the other.

    Args:
        points: of the rule, shape (points,), and their weights.
        feature, low, high, missing, share: the conditions; shape (conditions,) or (conditions, 1).
        starts: where each path's conditions begin, shape (paths,).
        lengths: how many they are.
        value: each condition's leaf's value, shape (conditions, 1).
        order: the conditions by output and feature.
        groups: where in that order each pair of output and feature begins.
        keys: which pair that is, output · features + feature.
    """

    points: tuple[tuple[float, float], ...]
    feature: IntArray
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    missing: NDArray[np.bool_]
    share: FloatArray
    starts: IntArray
    lengths: IntArray
    value: FloatArray
    order: IntArray
    groups: IntArray
    keys: IntArray

    def add(self, columns: NDArray[np.float32], found: FloatArray) -> None:
        """Add the attributions of rows, given as columns (features, rows), to (outputs · features, rows)."""
        values = columns[self.feature]
        followed = (values > self.low) & (values <= self.high) | np.isnan(values) & self.missing
        total = np.zeros(followed.shape)
        for point, weight in self.points:
            factors = np.where(followed, point, 0.0)
            factors += (1 - point) * self.share
            product = np.multiply.reduceat(factors, self.starts, axis=0)
            total += np.repeat(weight * product, self.lengths, axis=0) / factors
        total *= (followed - self.share) * self.value
        found[self.keys] += np.add.reduceat(total[self.order], self.groups, axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Trees that add up to raw scores, ready to be explained.

    Args:
        features: F, columns of a row.
        base: what the raw scores are when nothing is known of a row: their mean over the training rows, shape
            (outputs,).
        trees: how many.
        steps: how many numbers are multiplied for a row: what an explanation costs.

    >>> stump = [Branch(0, 0.5, True, 1, 2, 4.0), Leaf(((0, -1.0),), 1.0), Leaf(((0, 3.0),), 3.0)]
    >>> ensemble = Ensemble.of([stump], features=2, base=[10.0])
    >>> ensemble.base, ensemble.attribute(np.array([[0.0, 7.0], [1.0, 7.0]], dtype=np.float32))
    (array([12.]), array([[[-3.,  0.]],
    <BLANKLINE>
           [[ 1.,  0.]]]))
    """

    features: int
    base: FloatArray
    trees: int
    steps: int
    bands: tuple[_Band, ...]

    @classmethod
    def of(
        cls, trees: Sequence[Sequence[Branch | Leaf]], *, features: int, base: Sequence[float]
    ) -> Ensemble:
        """The ensemble of these trees, each a list of nodes with its root first.

        Args:
            trees: every branch leads to two others of its list, and every walk ends; covers are positive.
            features: F.
            base: what the raw scores begin with.
        """
        mean = np.array(base, dtype=np.float64)
        by_points: dict[int, list[tuple[dict[int, _Condition], int, float]]] = {}
        for nodes in trees:
            for leaf, path in _paths(nodes):
                reached = np.prod([condition.share for condition in path.values()])
                for output, value in leaf.values:
                    mean[output] += value * reached
                    if path:
                        by_points.setdefault((len(path) + 1) // 2, []).append((path, output, value))
        bands = tuple(_band(count, paths, features) for count, paths in sorted(by_points.items()))
        return cls(
            features=features,
            base=mean,
            trees=len(trees),
            steps=sum(len(band.feature) * len(band.points) for band in bands),
            bands=bands,
        )

    def attribute(self, rows: NDArray[np.float32]) -> FloatArray:
        """The attributions of rows.

        Args:
            rows: float32 ``[n, features]``, NaN = missing.

        Returns:
            shape (n, outputs, features); a row's attributions and `base` sum to its raw scores.
        """
        outputs = len(self.base)
        found = np.zeros((outputs * self.features, len(rows)))
        # Beyond the greatest float32 there is nothing a threshold could tell apart.
        columns = np.ascontiguousarray(np.clip(rows, -_LARGEST, _LARGEST).T)
        for band in self.bands:
            size = max(1, CHUNK // len(band.feature))
            for begin in range(0, len(rows), size):
                chunk = np.s_[:, begin : begin + size]
                band.add(columns[chunk], found[chunk])
        return found.reshape(outputs, self.features, len(rows)).transpose(2, 0, 1)


def _paths(nodes: Sequence[Branch | Leaf]) -> Iterator[tuple[Leaf, dict[int, _Condition]]]:
    """Each leaf of a tree, with what is asked of each feature on the way to it."""
    waiting: list[tuple[int, dict[int, _Condition]]] = [(0, {})]
    while waiting:
        place, path = waiting.pop()
        node = nodes[place]
        if isinstance(node, Leaf):
            yield node, path
            continue
        before = path.get(node.feature, _ANYTHING)
        for child, low, high, missing in (
            (node.yes, -np.inf, node.threshold, node.missing_to_yes),
            (node.no, node.threshold, np.inf, not node.missing_to_yes),
        ):
            condition = _Condition(
                low=max(before.low, low),
                high=min(before.high, high),
                missing=before.missing and missing,
                share=before.share * nodes[child].cover / node.cover,
            )
            waiting.append((child, {**path, node.feature: condition}))


def _band(points: int, paths: Sequence[tuple[dict[int, _Condition], int, float]], features: int) -> _Band:
    conditions = [
        (output * features + feature, feature, value, condition)
        for path, output, value in paths
        for feature, condition in path.items()
    ]
    lengths = np.array([len(path) for path, _, _ in paths], dtype=np.intp)
    keys = np.array([key for key, _, _, _ in conditions], dtype=np.intp)
    order = np.argsort(keys, kind="stable")
    present, groups = np.unique(keys[order], return_index=True)

    return _Band(
        points=_rule(points),
        feature=np.array([feature for _, feature, _, _ in conditions], dtype=np.intp),
        low=np.array([[each.low] for *_, each in conditions], dtype=np.float32),
        high=np.array([[each.high] for *_, each in conditions], dtype=np.float32),
        missing=np.array([[each.missing] for *_, each in conditions], dtype=np.bool_),
        share=np.array([[each.share] for *_, each in conditions], dtype=np.float64),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        value=np.array([[value] for _, _, value, _ in conditions], dtype=np.float64),
        order=order,
        groups=groups,
        keys=present,
    )


@lru_cache(maxsize=64)
def _rule(points: int) -> tuple[tuple[float, float], ...]:
    """Gauss and Legendre's points between 0 and 1, and their weights."""
    places, weights = np.polynomial.legendre.leggauss(points)
    return tuple(zip(((places + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))

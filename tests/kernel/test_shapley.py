"""Attributions of trees against Shapley's own formula, coalition by coalition."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from penstock.kernel.shapley import CHUNK, Branch, Ensemble, Leaf

Node = Branch | Leaf
FEATURES, OUTPUTS = 4, 2
# On and around the thresholds, which are halves, and missing.
VALUES = [-np.inf, -1.0, -0.5, 0.0, 0.5, 0.75, 1.0, np.inf, np.nan]


@st.composite
def trees(draw: st.DrawFn) -> list[Node]:
    """A tree of up to five branches; the rows at each node are dealt to its children."""
    nodes: list[Node] = []

    def grow(cover: int, depth: int) -> int:
        place = len(nodes)
        if depth and cover > 1 and draw(st.booleans()):
            nodes.append(Leaf((), 0.0))  # keeps the place
            left = draw(st.integers(1, cover - 1))
            nodes[place] = Branch(
                draw(st.integers(0, FEATURES - 1)),
                draw(st.sampled_from([-0.5, 0.0, 0.5])),
                draw(st.booleans()),
                grow(left, depth - 1),
                grow(cover - left, depth - 1),
                float(cover),
            )
        else:
            value = draw(st.floats(-4, 4, width=32))
            nodes.append(Leaf(((draw(st.integers(0, OUTPUTS - 1)), value),), float(cover)))
        return place

    grow(draw(st.integers(1, 400)), depth=5)
    return nodes


rows = st.lists(st.sampled_from(VALUES), min_size=FEATURES, max_size=FEATURES)


def goes_yes(branch: Branch, row: list[float]) -> bool:
    value = row[branch.feature]
    return branch.missing_to_yes if np.isnan(value) else value <= branch.threshold


def worth(nodes: list[Node], row: list[float], known: frozenset[int], place: int = 0) -> NDArray[np.float64]:
    """What a coalition is worth: unknown features are averaged over the rows that came by."""
    node = nodes[place]
    if isinstance(node, Leaf):
        found = np.zeros(OUTPUTS)
        for output, value in node.values:
            found[output] += value
        return found
    if node.feature in known:
        return worth(nodes, row, known, node.yes if goes_yes(node, row) else node.no)
    children = (node.yes, node.no)
    return sum(
        (nodes[child].cover / node.cover * worth(nodes, row, known, child) for child in children),
        start=np.zeros(OUTPUTS),
    )


def shapley(nodes: list[Node], row: list[float]) -> NDArray[np.float64]:
    """By definition: the mean of what a feature adds, over all orders in which they can become known."""
    found = np.zeros((OUTPUTS, FEATURES))
    for feature in range(FEATURES):
        others = [each for each in range(FEATURES) if each != feature]
        for size in range(FEATURES):
            weight = factorial(size) * factorial(FEATURES - size - 1) / factorial(FEATURES)
            for coalition in combinations(others, size):
                without = frozenset(coalition)
                added = worth(nodes, row, without | {feature}) - worth(nodes, row, without)
                found[:, feature] += weight * added
    return found


@settings(deadline=None)
@given(forest=st.lists(trees(), min_size=1, max_size=3), row=rows)
def test_they_are_shapley_values(forest: list[list[Node]], row: list[float]) -> None:
    ensemble = Ensemble.of(forest, features=FEATURES, base=[0.5, -1.0])
    found = ensemble.attribute(np.array([row], dtype=np.float32))[0]
    np.testing.assert_allclose(found, sum(shapley(nodes, row) for nodes in forest), atol=1e-9)
    nothing = sum(worth(nodes, row, frozenset()) for nodes in forest)
    np.testing.assert_allclose(ensemble.base, np.array([0.5, -1.0]) + nothing, atol=1e-9)


@settings(deadline=None)
@given(forest=st.lists(trees(), min_size=1, max_size=3), batch=st.lists(rows, max_size=5))
def test_with_the_base_they_sum_to_what_the_trees_say(
    forest: list[list[Node]], batch: list[list[float]]
) -> None:
    ensemble = Ensemble.of(forest, features=FEATURES, base=[0.5, -1.0])
    matrix = np.array(batch, dtype=np.float32).reshape(len(batch), FEATURES)
    found = ensemble.attribute(matrix).sum(axis=2) + ensemble.base
    everything = frozenset(range(FEATURES))
    said = [np.array([0.5, -1.0]) + sum(worth(nodes, row, everything) for nodes in forest) for row in batch]
    np.testing.assert_allclose(found, np.reshape(said, (len(batch), OUTPUTS)), atol=1e-9)


def chain(depth: int) -> list[Node]:
    """A tree that branches on another feature at every step: the longest paths there are."""
    nodes: list[Node] = []
    for level in range(depth):
        cover = float(2 ** (depth - level))
        nodes += [
            Branch(level, 0.0, False, 2 * level + 1, 2 * level + 2, cover),
            Leaf(((0, float(level)),), cover / 2),
        ]
    return [*nodes, Leaf(((0, -3.0),), 1.0)]


def test_long_paths_stay_exact() -> None:
    """30 features on one path: the classical way of unwinding it loses digits there, this one does not."""
    nodes = chain(30)
    ensemble = Ensemble.of([nodes], features=30, base=[0.0])
    matrix = np.where(np.arange(300).reshape(10, 30) % 7 < 2, -1.0, 1.0).astype(np.float32)
    said = [next(level for level in range(31) if level == 30 or row[level] < 0) for row in matrix]
    wanted = [-3.0 if level == 30 else float(level) for level in said]
    found = ensemble.attribute(matrix)[:, 0].sum(axis=1) + ensemble.base[0]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_many_rows_are_explained_as_each_alone() -> None:
    ensemble = Ensemble.of([chain(12), chain(5)], features=12, base=[1.0])
    matrix = np.random.default_rng(3).normal(size=(20_000, 12)).astype(np.float32)
    together = ensemble.attribute(matrix)
    assert max(len(band.feature) for band in ensemble.bands) * 20_000 > CHUNK, "one chunk shows nothing"
    for place in (0, 9_717, 19_999):
        assert np.array_equal(together[place], ensemble.attribute(matrix[place : place + 1])[0])


def test_what_it_costs_is_told() -> None:
    # Paths of 1, 2 and 2 features; one point of the rule is enough for each.
    assert (Ensemble.of([chain(2)], features=2, base=[0.0]).steps) == 1 + 2 + 2
    leaf: list[Node] = [Leaf(((0, 7.0),), 9.0)]
    alone = Ensemble.of([leaf], features=2, base=[1.0])
    assert (alone.steps, alone.base.tolist()) == (0, [8.0])
    assert alone.attribute(np.zeros((2, 2), dtype=np.float32)).tolist() == [[[0.0, 0.0]], [[0.0, 0.0]]]

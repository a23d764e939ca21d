"""The trees of a graph, with how many training rows went which way: what Shapley values are made of."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from penstock.kernel.shapley import Branch, Ensemble, Leaf
from penstock.onnx.graphread import attributes
from penstock.onnx.refused import Unexplainable

if TYPE_CHECKING:
    import onnx

MOST_NODES: Final = 200_000
"""In one ensemble: to look along all its paths takes a few seconds then."""
CLOSE: Final = 1e-3
"""How far the rows of two children may be off those of their parent: covers are float32."""
_BELOW: Final = {b"BRANCH_LEQ", b"BRANCH_LT"}
_ABOVE: Final = {b"BRANCH_GTE", b"BRANCH_GT"}


def ensemble(node: onnx.NodeProto, *, features: int) -> Ensemble:
    """The trees of a TreeEnsembleRegressor over the features.

    Raises:
        Unexplainable: they add up in another way, branch in another way than by thresholds, or do not say how
            many training rows came to each node.
    """
    said = attributes(node)
    if said.get("aggregate_function", b"SUM") != b"SUM" or said.get("post_transform", b"NONE") != b"NONE":
        raise Unexplainable("its trees do not simply add up")
    ids = list(zip(said["nodes_treeids"], said["nodes_nodeids"], strict=True))
    if len(ids) > MOST_NODES:
        raise Unexplainable(f"its trees have {len(ids):,} nodes, at most {MOST_NODES:,} are explained")
    covers = said.get("nodes_hitrates", [])
    if len(covers) != len(ids):
        raise Unexplainable(
            "its trees do not say how many training rows came to each node (nodes_hitrates); a version that "
            "Penstock trains does"
        )
    base = said.get("base_values") or [0.0] * said.get("n_targets", 1)
    if max(said["nodes_featureids"]) >= features or max(said["target_ids"]) >= len(base):
        raise Unexplainable("its trees look at a feature, or add to an output, that there is none of")
    trees = _trees(said, ids, covers)
    return Ensemble.of(trees, features=features, base=[float(each) for each in base])


def _trees(
    said: dict[str, Any], ids: list[tuple[int, int]], covers: list[float]
) -> list[list[Branch | Leaf]]:
    answers: defaultdict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for tree, leaf, output, weight in zip(
        said["target_treeids"],
        said["target_nodeids"],
        said["target_ids"],
        said["target_weights"],
        strict=True,
    ):
        answers[tree, leaf].append((output, float(weight)))
    tracks = said.get("nodes_missing_value_tracks_true") or [0] * len(ids)
    sizes: defaultdict[int, int] = defaultdict(int)
    places: dict[tuple[int, int], int] = {}
    for tree, number in ids:
        places[tree, number] = sizes[tree]
        sizes[tree] += 1
    trees: defaultdict[int, list[Branch | Leaf]] = defaultdict(list)
    for index, (tree, number) in enumerate(ids):
        mode, cover = said["nodes_modes"][index], covers[index]
        if not cover > 0:
            raise Unexplainable("its trees have a node that no training row came to")
        if mode == b"LEAF":
            trees[tree].append(Leaf(tuple(answers[tree, number]), cover))
            continue
        yes = places[tree, said["nodes_truenodeids"][index]]
        no = places[tree, said["nodes_falsenodeids"][index]]
        trees[tree].append(
            _branch(
                mode,
                feature=said["nodes_featureids"][index],
                threshold=said["nodes_values"][index],
                missing=bool(tracks[index]),
                yes=yes,
                no=no,
                cover=cover,
            )
        )
    for nodes in trees.values():
        _demand_tree(nodes)
    return list(trees.values())


def _branch(
    mode: bytes, *, feature: int, threshold: float, missing: bool, yes: int, no: int, cover: float
) -> Branch:
    """A branch of any direction as one that sends what is at or below its threshold to `yes`."""
    if mode in {b"BRANCH_LT", b"BRANCH_GTE"}:
        threshold = float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
    if mode in _BELOW:
        return Branch(feature, threshold, missing, yes, no, cover)
    if mode in _ABOVE:
        return Branch(feature, threshold, not missing, no, yes, cover)
    raise Unexplainable(f"its trees branch by {mode.decode('ascii', 'replace')}, which is no threshold")


def _demand_tree(nodes: list[Branch | Leaf]) -> None:
    """One way to each node, from the first on, and no training row lost on the way."""
    parents = [0] * len(nodes)
    for node in nodes:
        if isinstance(node, Branch):
            parents[node.yes] += 1
            parents[node.no] += 1
            if abs(nodes[node.yes].cover + nodes[node.no].cover - node.cover) > CLOSE * node.cover:
                raise Unexplainable("its trees do not say how many training rows came to each node")
    if parents != [0] + [1] * (len(nodes) - 1):
        raise Unexplainable("its trees have nodes with several ways to them, or none")

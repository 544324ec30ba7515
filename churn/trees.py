"""Fitted trees: as ONNX's ``TreeEnsemble`` takes them, in doubles, and leaf by leaf, as an explanation does."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import numpy_helper

from churn.leaves import Leaves

_LESS_OR_EQUAL = 0
_SUM = 1


@dataclass
class Ensemble:
    """Trees side by side. A child is told by its place among the inner nodes, or among the leaves."""

    roots: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    yes_is_leaf: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    no_is_leaf: list[int] = field(default_factory=list)
    leaf: list[float] = field(default_factory=list)
    cover: list[float] = field(default_factory=list)
    """How many training rows, weighted, have passed each inner node."""
    leaf_cover: list[float] = field(default_factory=list)

    def add(
        self, feature: Any, threshold: Any, left: Any, right: Any, leaf: Any, *, cover: Any, leaf_cover: Any
    ) -> None:
        """Add one tree; a child below zero is the complement of a leaf's number.

        A row goes left where its feature is at most the threshold. A tree that is one leaf becomes
        a node with that leaf on both sides, since ONNX knows no tree without a node.
        """
        if len(feature) == 0:
            feature, threshold, left, right, cover = [0], [0.0], [-1], [-1], leaf_cover
        node, leaves = len(self.feature), len(self.leaf)
        self.roots.append(node)
        self.feature += [int(value) for value in feature]
        self.threshold += [float(value) for value in threshold]
        for children, places, is_leaf in ((left, self.yes, self.yes_is_leaf), (right, self.no, self.no_is_leaf)):
            for child in children:
                places.append(int(leaves + ~child if child < 0 else node + child))
                is_leaf.append(int(child < 0))
        self.leaf += [float(value) for value in leaf]
        self.cover += [float(value) for value in cover]
        self.leaf_cover += [float(value) for value in leaf_cover]

    def attributes(self) -> dict[str, Any]:
        return {
            "tree_roots": self.roots,
            "nodes_featureids": self.feature,
            "nodes_splits": numpy_helper.from_array(np.array(self.threshold)),
            "nodes_modes": numpy_helper.from_array(np.full(len(self.feature), _LESS_OR_EQUAL, dtype=np.uint8)),
            "nodes_truenodeids": self.yes,
            "nodes_trueleafs": self.yes_is_leaf,
            "nodes_falsenodeids": self.no,
            "nodes_falseleafs": self.no_is_leaf,
            "leaf_targetids": [0] * len(self.leaf),
            "leaf_weights": numpy_helper.from_array(np.array(self.leaf)),
            "n_targets": 1,
            "aggregate_function": _SUM,
            "post_transform": 0,
        }

    def leaves(self) -> Leaves:
        """Every leaf with what its path asks of each feature."""
        found = [(tree, path, leaf) for tree, root in enumerate(self.roots) for path, leaf in self._paths(root)]
        depth = max((len(path) for _, path, _ in found), default=0)
        shape = len(found), depth
        feature, cover = np.full(shape, -1, dtype=np.int64), np.ones(shape)
        low, high = np.full(shape, -math.inf), np.full(shape, math.inf)
        for line, (_, path, _) in enumerate(found):
            for slot, (asked, (above, upto, share)) in enumerate(path.items()):
                feature[line, slot], cover[line, slot] = asked, share
                low[line, slot], high[line, slot] = above, upto
        tree = np.array([tree for tree, _, _ in found], dtype=np.int64)
        value = np.array([self.leaf[leaf] for _, _, leaf in found])
        return Leaves(tree, feature, low, high, cover, value)

    def _paths(self, root: int) -> Iterator[tuple[dict[int, tuple[float, float, float]], int]]:
        """The leaves of one tree: by feature, what its path leaves of it as (low, high], and the
        share of training rows that its splits on that feature have let through."""
        waiting: list[tuple[dict[int, tuple[float, float, float]], int]] = [({}, root)]
        if self.yes_is_leaf[root] and self.no_is_leaf[root] and self.yes[root] == self.no[root]:
            yield {}, self.yes[root]
            return
        while waiting:
            path, node = waiting.pop()
            asked, threshold = self.feature[node], self.threshold[node]
            low, high, share = path.get(asked, (-math.inf, math.inf, 1.0))
            for child, is_leaf, above, upto in (
                (self.yes[node], self.yes_is_leaf[node], low, min(high, threshold)),
                (self.no[node], self.no_is_leaf[node], max(low, threshold), high),
            ):
                part = (self.leaf_cover if is_leaf else self.cover)[child] / self.cover[node]
                longer = path | {asked: (above, upto, share * part)}
                if is_leaf:
                    yield longer, child
                else:
                    waiting.append((longer, child))


def forest(model: Any) -> Ensemble:
    """A forest of scikit-learn: the mean over its trees of the share of class 1 in the leaf."""
    ensemble = Ensemble()
    for member in model.estimators_:
        tree = member.tree_
        inner = np.flatnonzero(tree.children_left >= 0)
        leaves = np.flatnonzero(tree.children_left < 0)
        place = np.empty(tree.node_count, dtype=np.int64)
        place[inner] = np.arange(len(inner))
        place[leaves] = ~np.arange(len(leaves))
        share = tree.value[leaves, 0, :]
        ensemble.add(
            tree.feature[inner],
            tree.threshold[inner],
            place[tree.children_left[inner]],
            place[tree.children_right[inner]],
            share[:, 1] / share.sum(axis=1) / len(model.estimators_),
            cover=tree.weighted_n_node_samples[inner],
            leaf_cover=tree.weighted_n_node_samples[leaves],
        )
    return ensemble


def boosted(model: Any) -> Ensemble:
    """A binary classifier of LightGBM over features without gaps or categories: its raw score."""
    ensemble = Ensemble()
    for told in model.booster_.dump_model()["tree_info"]:
        inner: list[dict[str, Any]] = []
        leaf: dict[int, dict[str, Any]] = {}
        waiting = [told["tree_structure"]]
        while waiting:
            node = waiting.pop()
            if "split_index" in node:
                if node["decision_type"] != "<=":
                    raise ValueError(f"a node decides by {node['decision_type']}")
                inner.append(node)
                waiting += [node["left_child"], node["right_child"]]
            else:
                leaf[node.get("leaf_index", 0)] = node
        inner.sort(key=lambda node: int(node["split_index"]))
        ensemble.add(
            [node["split_feature"] for node in inner],
            [node["threshold"] for node in inner],
            [_child(node["left_child"]) for node in inner],
            [_child(node["right_child"]) for node in inner],
            [leaf[number]["leaf_value"] for number in range(len(leaf))],
            cover=[node["internal_count"] for node in inner],
            leaf_cover=[leaf[number].get("leaf_count", 1) for number in range(len(leaf))],
        )
    return ensemble


def _child(node: dict[str, Any]) -> int:
    return int(node["split_index"]) if "split_index" in node else ~int(node["leaf_index"])

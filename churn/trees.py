"""Fitted trees as ONNX's ``TreeEnsemble`` takes them, in doubles."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import numpy_helper

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

    def add(self, feature: Any, threshold: Any, left: Any, right: Any, leaf: Any) -> None:
        """Add one tree; a child below zero is the complement of a leaf's number.

        A row goes left where its feature is at most the threshold. A tree that is one leaf becomes
        a node with that leaf on both sides, since ONNX knows no tree without a node.
        """
        if len(feature) == 0:
            feature, threshold, left, right = [0], [0.0], [-1], [-1]
        node, leaves = len(self.feature), len(self.leaf)
        self.roots.append(node)
        self.feature += [int(value) for value in feature]
        self.threshold += [float(value) for value in threshold]
        for children, places, is_leaf in ((left, self.yes, self.yes_is_leaf), (right, self.no, self.no_is_leaf)):
            for child in children:
                places.append(int(leaves + ~child if child < 0 else node + child))
                is_leaf.append(int(child < 0))
        self.leaf += [float(value) for value in leaf]

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
        )
    return ensemble


def boosted(model: Any) -> Ensemble:
    """A binary classifier of LightGBM over features without gaps or categories: its raw score."""
    ensemble = Ensemble()
    for told in model.booster_.dump_model()["tree_info"]:
        inner: list[dict[str, Any]] = []
        leaf: dict[int, float] = {}
        waiting = [told["tree_structure"]]
        while waiting:
            node = waiting.pop()
            if "split_index" in node:
                if node["decision_type"] != "<=":
                    raise ValueError(f"a node decides by {node['decision_type']}")
                inner.append(node)
                waiting += [node["left_child"], node["right_child"]]
            else:
                leaf[node.get("leaf_index", 0)] = node["leaf_value"]
        inner.sort(key=lambda node: int(node["split_index"]))
        ensemble.add(
            [node["split_feature"] for node in inner],
            [node["threshold"] for node in inner],
            [_child(node["left_child"]) for node in inner],
            [_child(node["right_child"]) for node in inner],
            [leaf[number] for number in range(len(leaf))],
        )
    return ensemble


def _child(node: dict[str, Any]) -> int:
    return int(node["split_index"]) if "split_index" in node else ~int(node["leaf_index"])

"""What a skops file may hold: every type by name, told without loading any of them."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# All that our pipelines consist of. Whatever is not here is refused, also what skops itself would
# trust. An imputer remembers the dtype of its input; a tree's node indices are followed without a
# check of bounds, hence the checks of trees here and in `churn.scoring`.
TRUSTED_TYPES = (
    *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "slice", "str", "tuple")),
    "collections.OrderedDict",
    "collections.defaultdict",
    *(f"numpy.{name}" for name in ("bool", "dtype", "float32", "float64", "int32", "int64", "ndarray")),
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer.ColumnTransformer",
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.impute._base.SimpleImputer",
    "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._data.StandardScaler",
    "sklearn.preprocessing._encoders.OneHotEncoder",
    "sklearn.preprocessing._function_transformer.FunctionTransformer",
    "sklearn.preprocessing._label.LabelEncoder",
    "sklearn.tree._classes.DecisionTreeClassifier",
    "sklearn.tree._tree.Tree",
)
_BOOSTER = "lightgbm.basic.Booster"
_MODEL = "max_feature_idx"
_STRANGE = "a boosted model's text is not as LightGBM writes ours"


def check(path: Path) -> None:
    """Look through a skops file without executing or importing anything of it.

    Raises:
        ValueError: it is cut off, holds a type that is not trusted, or a boosted tree whose
            nodes point outside it; the message says which.
        OSError, zipfile.BadZipFile, KeyError: it is no skops file.
    """
    with zipfile.ZipFile(path) as file:
        broken = file.testzip()
        if broken:
            raise ValueError(f"{path.name} is broken at {broken}")
        schema = json.loads(file.read("schema.json"))
    strangers = set()
    for name, node in _objects(schema):
        if name not in TRUSTED_TYPES:
            strangers.add(name)
        elif name == _BOOSTER:
            models = [text for text in _texts(node) if _MODEL in text]
            if len(models) != 1:
                raise ValueError(_STRANGE)
            _check_booster(models[0])
    if strangers:
        raise ValueError(f"{path.name} holds untrusted types: {', '.join(sorted(strangers))}")


def _objects(node: Any) -> Iterator[tuple[str, Any]]:
    """Every type that a schema names, however deep, with the node that names it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "__class__" in node or "__module__" in node:
                yield f"{node.get('__module__')}.{node.get('__class__')}", node
            content = node.get("content")
            if node.get("__loader__") == "TypeNode" and isinstance(content, dict):
                yield f"{content.get('__module__')}.{content.get('__class__')}", content
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _texts(node: Any) -> Iterator[str]:
    """Every text that a node holds, as Python would read it: a schema keeps values as JSON."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
        elif isinstance(node, str) and node.startswith('"'):
            told = json.loads(node)
            if isinstance(told, str):
                yield told


def _check_booster(text: str) -> None:
    """Refuse nodes that point outside their tree: LightGBM follows them unchecked.

    An inner node's children stand behind it; a leaf is told as the complement of its number. Trees
    with categories or linear leaves, which follow more numbers, are none of ours.
    """
    if "\r" in text:  # LightGBM ends a line there too
        raise ValueError(_STRANGE)
    features = int(_only(r"^max_feature_idx=(\d+)$", text)) + 1
    for tree in text.split("\nTree=")[1:]:
        leaves = int(_only(r"^num_leaves=(\d+)$", tree))
        if _only(r"^num_cat=(\d+)$", tree) != "0" or _only(r"^is_linear=(\d+)$", tree) != "0":
            raise ValueError(_STRANGE)
        if leaves == 1:
            continue
        asked = _whole("split_feature", tree)
        if any(not 0 <= feature < features for feature in asked):
            raise ValueError("a tree asks for a feature that there is not")
        decisions = _whole("decision_type", tree)
        if any(decision & 1 for decision in decisions) or not len(asked) == len(decisions) == leaves - 1:
            raise ValueError(_STRANGE)
        for side in ("left_child", "right_child"):
            children = _whole(side, tree)
            inside = [own < child < leaves - 1 or -leaves <= child < 0 for own, child in enumerate(children)]
            if len(children) != leaves - 1 or not all(inside):
                raise ValueError("a tree's nodes point outside it")


def _only(pattern: str, text: str) -> str:
    found = re.findall(pattern, text, re.MULTILINE)
    if len(found) != 1:
        raise ValueError(_STRANGE)
    return str(found[0])


def _whole(key: str, text: str) -> list[int]:
    return [int(number) for number in _only(rf"^{key}=(.*)$", text).split()]

"""From a fitted pipeline to ``scorer.onnx``: the whole of it, in doubles, as one ONNX graph.

Converters of models exist (skl2onnx, onnxmltools). They compute trees in float32, which puts a row
on the other side of a threshold now and then: measured on the shipped data, off by up to 0.067 for
a few jittered rows of a boosted model. ONNX's newer ``TreeEnsemble`` takes doubles; with it the
graph repeats scikit-learn's and LightGBM's own arithmetic, and agrees within 1e-12.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from churn import compiled, encoding, trees
from churn.errors import ChurnError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from churn.contract import Contract

_OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 5)]


class NotCompilable(ChurnError):
    """A part of the pipeline has no form in ONNX here; it is served by its pipeline."""


class _Graph:
    """Collects nodes and constants; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any) -> str:
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], domain=domain, **attributes))
        return output

    def constant(self, value: Any, dtype: Any = np.float64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype=dtype, order="C"), name))
        return name


def compile_pipeline(pipeline: "Pipeline", contract: "Contract") -> bytes:
    """The pipeline as an ONNX model over :class:`churn.encoding.Encoded` rows.

    Raises:
        NotCompilable: it holds a part that has no form here.
    """
    graph = _Graph()
    encoder = encoding.Encoder(contract)
    features = _preprocessor(graph, pipeline.named_steps["preprocess"], encoder)
    score = _classifier(graph, pipeline.named_steps["model"], features)
    graph.add("Squeeze", score, graph.constant([1], np.int64), output=compiled.PROBABILITY)
    inputs = []
    if encoder.numeric:
        shape = [None, len(encoder.numeric)]
        inputs.append(helper.make_tensor_value_info(compiled.NUMBERS, TensorProto.DOUBLE, shape))
    if encoder.categorical:
        shape = [None, len(encoder.categorical)]
        inputs.append(helper.make_tensor_value_info(compiled.CODES, TensorProto.INT64, shape))
    outputs = [
        helper.make_tensor_value_info(compiled.PROBABILITY, TensorProto.DOUBLE, [None]),
        helper.make_tensor_value_info(compiled.FEATURES, TensorProto.DOUBLE, [None, None]),
    ]
    whole = helper.make_graph(graph.nodes, contract.name, inputs, outputs, graph.constants)
    model = helper.make_model(whole, opset_imports=_OPSETS, ir_version=10, producer_name="churn")
    helper.set_model_props(model, {compiled.ROW_HASH: contract.row_hash})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _preprocessor(graph: _Graph, fitted: Any, encoder: encoding.Encoder) -> str:
    """The matrix of features, (n, features), in the order of the fitted ColumnTransformer."""
    parts: list[str] = []
    numeric = [column.name for column in encoder.numeric]
    for _, step, names in fitted.transformers_:
        if set(names) <= set(numeric):
            parts.append(_numbers(graph, step, [numeric.index(name) for name in names]))
        else:
            parts.append(_categories(graph, step, names, encoder))
    return graph.add("Concat", *parts, axis=1, output=compiled.FEATURES)


def owners(fitted: Any, contract: "Contract") -> list[int]:
    """The raw column, by its place in the contract, of each column of the matrix that a fitted
    ColumnTransformer makes.

    Raises:
        NotCompilable: a step makes columns of several ones.
    """
    order = list(contract.features)
    found: list[int] = []
    for _, step, names in fitted.transformers_:
        numbers = all(contract.features[name].is_numeric for name in names)
        for name, width in zip(names, [1] * len(names) if numbers else _widths(step), strict=True):
            found += [order.index(name)] * width
    return found


def _steps(step: Any) -> list[Any]:
    return [part for _, part in step.steps] if hasattr(step, "steps") else [step]


def _numbers(graph: _Graph, step: Any, places: list[int]) -> str:
    value = graph.add("Gather", compiled.NUMBERS, graph.constant(places, np.int64), axis=1)
    for part in _steps(step):
        match type(part).__name__:
            case "FunctionTransformer" if part.func is None:
                pass
            case "SimpleImputer":
                missing = graph.add("IsNaN", value)
                value = graph.add("Where", missing, graph.constant(part.statistics_), value)
            case "StandardScaler":
                centred = graph.add("Sub", value, graph.constant(part.mean_))
                value = graph.add("Div", centred, graph.constant(part.scale_))
            case other:
                raise NotCompilable(f"numbers go through {other}, which has no form in ONNX here")
    return value


def _categories(graph: _Graph, step: Any, names: list[str], encoder: encoding.Encoder) -> str:
    """A table: what the fitted step makes of each value of each column, and of a missing one.

    The step is asked, not read: whatever it is, it turns each of finitely many values into a line.
    """
    import pandas as pd

    from churn.cells import as_series

    columns = [column.name for column in encoder.categorical]
    chosen = [encoder.categorical[columns.index(name)] for name in names]
    known = [[*encoding.values(column), *([None] if column.may_be_missing else [])] for column in chosen]
    height = max(len(values) for values in known) + 1
    asked = {
        column.name: as_series([values[line % len(values)] for line in range(height)], column)
        for column, values in zip(chosen, known, strict=True)
    }
    told = step.transform(pd.DataFrame(asked))
    # a probability that is no number tells of a code that cannot be
    table = np.full(told.shape, np.nan)
    owner: list[int] = []
    for column, values, width in zip(chosen, known, _widths(step), strict=True):
        lines = slice(len(owner), len(owner) + width)
        count = len(encoding.values(column))
        table[:count, lines] = told[:count, lines]
        if len(values) > count:  # a missing value's code is -1: the table's last line
            table[-1, lines] = told[count, lines]
        owner += [columns.index(column.name)] * width
    if len(owner) != told.shape[1]:
        raise NotCompilable("categories go through a step that mixes columns")
    codes = graph.add("Gather", compiled.CODES, graph.constant(owner, np.int64), axis=1)
    return graph.add("GatherElements", graph.constant(table), codes, axis=0)


def _widths(step: Any) -> list[int]:
    one_hot = _steps(step)[-1]
    if type(one_hot).__name__ != "OneHotEncoder":
        raise NotCompilable(f"categories end in {type(one_hot).__name__}, which has no form in ONNX here")
    dropped = one_hot.drop_idx_ if one_hot.drop_idx_ is not None else [None] * len(one_hot.categories_)
    return [len(known) - (drop is not None) for known, drop in zip(one_hot.categories_, dropped, strict=True)]


def _classifier(graph: _Graph, model: Any, features: str) -> str:
    """The probability of the class 1, (n, 1)."""
    match type(model).__name__:
        case "LogisticRegression" | "LGBMClassifier":
            return graph.add("Sigmoid", _margin(graph, model, features))
        case "RandomForestClassifier" | "ExtraTreesClassifier":
            # scikit-learn compares rows in float32 with thresholds in float64
            single = graph.add("Cast", features, to=TensorProto.FLOAT)
            double = graph.add("Cast", single, to=TensorProto.DOUBLE)
            return _ensemble(graph, trees.forest(model), double)
        case "CalibratedClassifierCV" if len(model.calibrated_classifiers_) == 1:
            return _calibrated(graph, model.calibrated_classifiers_[0], features)
        case other:
            raise NotCompilable(f"{other} has no form in ONNX here")


def _margin(graph: _Graph, model: Any, features: str) -> str:
    """What the model says before the sigmoid, (n, 1)."""
    match type(model).__name__:
        case "LogisticRegression":
            product = graph.add("MatMul", features, graph.constant(model.coef_.T))
            return graph.add("Add", product, graph.constant(model.intercept_))
        case "LGBMClassifier":
            return _ensemble(graph, trees.boosted(model), features)
        case other:
            raise NotCompilable(f"the margin of {other} has no form in ONNX here")


def _ensemble(graph: _Graph, ensemble: trees.Ensemble, features: str) -> str:
    return graph.add("TreeEnsemble", features, domain="ai.onnx.ml", **ensemble.attributes())


def _calibrated(graph: _Graph, fitted: Any, features: str) -> str:
    """Platt's sigmoid over what the one model says: its margin if it has one, else its probability."""
    (calibrator,) = fitted.calibrators
    if type(calibrator).__name__ != "_SigmoidCalibration":
        raise NotCompilable(f"{type(calibrator).__name__} has no form in ONNX here")
    model = fitted.estimator
    said = (
        _margin(graph, model, features) if hasattr(model, "decision_function") else _classifier(graph, model, features)
    )
    scaled = graph.add("Mul", said, graph.constant(-calibrator.a_))
    return graph.add("Sigmoid", graph.add("Sub", scaled, graph.constant(calibrator.b_)))

"""What a skops file may hold is told before anything of it is loaded."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from churn import scoring, trust

RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(300, 4))
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
TRACE: list[str] = []


class Stranger(BaseEstimator):
    """Leaves a trace when it is made from a file."""

    def __setstate__(self, state: dict[str, object]) -> None:
        TRACE.append("made")
        super().__setstate__(state)


def dumped(model: object, folder: Path) -> Path:
    path = folder / scoring.PIPELINE_FILE
    skops.io.dump(Pipeline([("preprocess", "passthrough"), ("model", model)]), path)
    return path


def boosted(folder: Path) -> Path:
    return dumped(LGBMClassifier(n_estimators=3, num_leaves=5, verbose=-1, n_jobs=1).fit(X, Y), folder)


def edited(path: Path, old: str, new: str) -> Path:
    """The same file with another text in its schema."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    changed = parts["schema.json"].decode().replace(old, new, 1)
    assert changed != parts["schema.json"].decode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (parts | {"schema.json": changed.encode()}).items():
            file.writestr(name, content)
    return path


def line_of(path: Path, key: str) -> str:
    schema = zipfile.ZipFile(path).read("schema.json").decode()
    start = schema.index(f"{key}=")
    return schema[start : schema.index("\\\\n", start)]


def test_our_own_models_pass(tmp_path: Path) -> None:
    trust.check(boosted(tmp_path))
    assert scoring.load_pipeline(tmp_path).predict_proba(X).shape == (300, 2)
    trust.check(dumped(RandomForestClassifier(5, max_depth=3).fit(X, Y), tmp_path))
    assert scoring.load_pipeline(tmp_path).predict_proba(X).shape == (300, 2)


def test_a_stranger_is_refused_and_never_made(tmp_path: Path) -> None:
    dumped(Stranger(), tmp_path)
    with pytest.raises(ValueError, match=r"untrusted types: .*Stranger"):
        scoring.load_pipeline(tmp_path)
    assert TRACE == []


def test_what_skops_itself_would_trust_is_refused_too(tmp_path: Path) -> None:
    from sklearn.neural_network import MLPClassifier

    path = dumped(MLPClassifier(max_iter=1), tmp_path)
    assert skops.io.get_untrusted_types(file=path) == []
    with pytest.raises(ValueError, match="MLPClassifier"):
        trust.check(path)


def test_a_type_that_is_only_named_is_refused(tmp_path: Path) -> None:
    path = edited(boosted(tmp_path), '"OrderedDict"', '"Popen"')
    with pytest.raises(ValueError, match=r"untrusted types: collections\.Popen"):
        trust.check(path)


@pytest.mark.parametrize(
    ("key", "number"), [("left_child", "99"), ("left_child", "0"), ("right_child", "-99"), ("split_feature", "7")]
)
def test_a_boosted_tree_that_points_outside_is_refused(tmp_path: Path, key: str, number: str) -> None:
    path = boosted(tmp_path)
    line = line_of(path, key)
    first = line.removeprefix(f"{key}=").split()[0]
    with pytest.raises(ValueError, match=r"outside it|that there is not"):
        trust.check(edited(path, line, line.replace(f"{key}={first}", f"{key}={number}", 1)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_feature_idx", "max_feature_ibx"),
        ("shrinkage=", "shrinkage=1\\\\rleft_child=99 "),
        ("num_cat=0", "num_cat=1"),
        ("is_linear=0", "is_linear=1"),
        ("decision_type=2", "decision_type=1"),
    ],
)
def test_a_boosted_model_that_is_written_otherwise_than_ours_is_refused(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(ValueError, match="not as LightGBM writes ours"):
        trust.check(edited(boosted(tmp_path), old, new))


def test_an_escaped_line_end_hides_no_tree(tmp_path: Path) -> None:
    path = edited(boosted(tmp_path), "\\\\nTree=0", "\\\\u000aTree=0")
    line = line_of(path, "left_child")
    first = line.removeprefix("left_child=").split()[0]
    with pytest.raises(ValueError, match="outside it"):
        trust.check(edited(path, line, line.replace(f"left_child={first}", "left_child=99", 1)))


def test_a_forest_in_another_place_than_ours_is_refused(tmp_path: Path) -> None:
    inner = Pipeline([("model", RandomForestClassifier(2, max_depth=2).fit(X, Y))])
    skops.io.dump(Pipeline([("preprocess", "passthrough"), ("model", inner)]), tmp_path / scoring.PIPELINE_FILE)
    with pytest.raises(ValueError, match="the model is a Pipeline"):
        scoring.load_pipeline(tmp_path)


@pytest.mark.parametrize(("node", "child"), [(0, 10**6), (1, 0)])
def test_a_forest_s_tree_that_points_outside_is_refused(tmp_path: Path, node: int, child: int) -> None:
    forest = RandomForestClassifier(2, max_depth=4, random_state=1).fit(X, Y)
    tree = forest.estimators_[0].tree_
    state = tree.__getstate__()
    state["nodes"]["left_child"][node] = child
    tree.__setstate__(state)
    dumped(forest, tmp_path)
    with pytest.raises(ValueError, match="outside it"):
        scoring.load_pipeline(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.95])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    path = boosted(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises((ValueError, zipfile.BadZipFile, OSError, KeyError)):
        trust.check(path)

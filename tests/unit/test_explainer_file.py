"""A broken or forged ``explainer.npz`` has the version refused, whatever is wrong with it."""

import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churn import explainer_file, explanation_summary
from churn.errors import RefusedModel
from churn.scoring import ModelVersion, Scorer, load_scorer
from tests.explained import Made

Arrays = dict[str, Any]
Damage = Callable[[Arrays], Any]


@pytest.fixture
def version(made: dict[tuple[str, bool], Made]) -> Made:
    return made["lightgbm", False]


def load(folder: Path) -> Scorer:
    return load_scorer(folder, ModelVersion("churn-classifier", "1"))


def with_bytes(version: Made, copy: Path, content: bytes, part: str = explainer_file.FILE) -> Path:
    shutil.copytree(version.folder, copy)
    (copy / part).write_bytes(content)
    return copy


def changed(version: Made, copy: Path, damage: Damage) -> Path:
    """A copy of the version whose arrays have gone through ``damage``."""
    with np.load(version.folder / explainer_file.FILE) as file:
        arrays = {name: file[name].copy() for name in file.files}
    arrays = damage(arrays) or arrays
    content = BytesIO()
    np.savez(content, **arrays)
    return with_bytes(version, copy, content.getvalue())


def put(name: str, place: Any, value: Any) -> Damage:
    def damage(arrays: Arrays) -> None:
        arrays[name][place] = value

    damage.__name__ = f"{name}[{place}] = {value}"
    return damage


def instead(name: str, make: Callable[[Any], Any]) -> Damage:
    def damage(arrays: Arrays) -> Arrays:
        return arrays | {name: make(arrays[name])}

    damage.__name__ = f"{name} changed"
    return damage


def without(name: str) -> Damage:
    def damage(arrays: Arrays) -> Arrays:
        return {other: array for other, array in arrays.items() if other != name}

    damage.__name__ = f"without {name}"
    return damage


EVERY = [
    *(without(name) for name in ("row_hash", "owner", "log_odds", "calibrator", "numbers", "codes")),
    put("owner", 0, 19),
    put("owner", 0, -1),
    put("owner", slice(None), 0),
    instead("owner", lambda a: a[:-1]),
    instead("owner", lambda a: a.astype(float)),
    instead("owner", lambda a: a[None]),
    instead("row_hash", lambda _: np.array("another")),
    instead("log_odds", lambda a: ~a),
    instead("log_odds", lambda _: np.array([True, False])),
    instead("calibrator", lambda _: np.array([1.0, 2.0, 3.0])),
    instead("calibrator", lambda _: np.array([0.0, 2.0])),
    instead("calibrator", lambda _: np.array([np.nan, 2.0])),
    instead("calibrator", lambda _: np.array([-9.0, 2.0])),
    instead("numbers", lambda a: a[:0]),
    instead("numbers", lambda a: a[:, 1:]),
    instead("numbers", lambda a: a[:-1]),
    instead("numbers", lambda a: np.repeat(a, 2, axis=0)),
    put("numbers", (0, 0), np.nan),
    put("numbers", (0, 0), np.inf),
    put("numbers", (0, 0), -1.0),
    put("codes", (0, 0), 2),
    put("codes", (3, 1), -1),
    put("codes", (3, 1), 10**12),
    instead("codes", lambda a: a.astype(np.int32)),
    instead("codes", lambda a: a.astype(object)),
]
TREES = [
    *(without(name) for name in ("single", "tree", "feature", "low", "high", "cover", "value")),
    put("feature", (0, 0), 10**9),
    put("feature", (0, 0), -2),
    put("feature", (0, 0), -1),
    put("value", 0, np.nan),
    put("value", 0, 10.0),
    put("value", 0, np.inf),
    put("cover", (0, 0), 0.0),
    put("cover", (0, 0), 1.5),
    put("cover", (0, 0), np.nan),
    put("low", (0, 0), np.nan),
    put("high", (0, 0), np.nan),
    put("tree", 0, 10**6),
    instead("tree", lambda a: a[:-1]),
    instead("feature", lambda a: a[:-1]),
    instead("feature", lambda a: a[:, :-1]),
    instead("feature", lambda a: a.astype(np.int16)),
    instead("high", lambda a: a[:, 1:]),
    instead("value", lambda a: a[:0]),
    instead("value", lambda a: a.astype(np.float32)),
    instead("value", lambda a: a[::-1]),
    instead("single", lambda _: np.array(1)),
]
LINEAR = [
    *(without(name) for name in ("weight", "mean", "intercept")),
    put("weight", 0, np.nan),
    put("weight", 0, 1e300),
    put("mean", 0, np.inf),
    instead("weight", lambda a: a[:-1]),
    instead("weight", lambda a: -a),
    instead("intercept", lambda a: a + 1),
    instead("intercept", lambda a: np.array([a])),
]
CASES = [
    *(("lightgbm", damage) for damage in EVERY + TREES),
    *(("logistic_regression", damage) for damage in LINEAR),
    ("random_forest", put("feature", (0, 0), 10**9)),
    ("random_forest", put("calibrator", 0, -5.0)),
]


@pytest.mark.parametrize(("name", "damage"), CASES, ids=lambda case: getattr(case, "__name__", case))
def test_each_kind_of_damage_is_refused(
    made: dict[tuple[str, bool], Made], tmp_path: Path, name: str, damage: Damage
) -> None:
    with pytest.raises(RefusedModel, match="does not load"):
        load(changed(made[name, name == "random_forest"], tmp_path / "copy", damage))


def test_the_same_arrays_written_anew_are_read(made: dict[tuple[str, bool], Made], tmp_path: Path) -> None:
    """So that what is refused above is refused for its damage."""
    for name, version in made.items():
        scorer = load(changed(version, tmp_path / str(name), lambda arrays: arrays))
        row = scorer.encoder.customers(version.customers(3))
        assert scorer.explain(row).contributions.tolist() == version.scorer.explain(row).contributions.tolist()


@pytest.mark.parametrize("part", [explainer_file.FILE, explanation_summary.FILE])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.95])
def test_a_part_that_is_cut_off_is_refused(version: Made, tmp_path: Path, part: str, kept: float) -> None:
    whole = (version.folder / part).read_bytes()
    with pytest.raises(RefusedModel):
        load(with_bytes(version, tmp_path / "copy", whole[: int(kept * len(whole))], part))


@pytest.mark.parametrize("part", [explainer_file.FILE, explanation_summary.FILE])
def test_a_part_that_is_missing_is_refused(version: Made, tmp_path: Path, part: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(version.folder, copy)
    (copy / part).unlink()
    with pytest.raises(RefusedModel, match=f"{part} is missing"):
        load(copy)


TRACE: list[str] = []


class Stranger:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return TRACE.append, ("made",)


@pytest.mark.parametrize("name", ["owner", "another"])
def test_nothing_is_unpickled(version: Made, tmp_path: Path, name: str) -> None:
    stranger = np.empty(1, dtype=object)
    stranger[0] = Stranger()
    copy = changed(version, tmp_path / "copy", lambda arrays: arrays | {name: stranger})
    with pytest.raises(RefusedModel):
        load(copy)
    assert TRACE == []


def test_what_would_unpack_to_more_than_memory_is_not_unpacked(version: Made, tmp_path: Path) -> None:
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file, file.open("owner.npy", "w") as part:
        for _ in range(300):
            part.write(bytes(2**20))
    with pytest.raises(RefusedModel, match="more than"):
        load(with_bytes(version, tmp_path / "copy", content.getvalue()))


def test_an_array_that_claims_to_be_larger_than_it_is_is_refused(version: Made, tmp_path: Path) -> None:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (10**14,)})
    content = BytesIO()
    source = zipfile.ZipFile(version.folder / explainer_file.FILE)
    with source, zipfile.ZipFile(content, "w") as file:
        for name in source.namelist():
            file.writestr(name, header.getvalue() if name == "owner.npy" else source.read(name))
    with pytest.raises(RefusedModel):
        load(with_bytes(version, tmp_path / "copy", content.getvalue()))


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "null",
        '{"features": 3}',
        '{"features": [{"feature": 1}]}',
        '{"features": []}',
        '{"features": [null]}',
        '{"features": [], "space": NaN}',
    ],
)
def test_a_summary_of_something_else_is_refused(version: Made, tmp_path: Path, content: str) -> None:
    with pytest.raises(RefusedModel, match=r"explanation\.json"):
        load(with_bytes(version, tmp_path / "copy", content.encode(), explanation_summary.FILE))

"""What a recommender's version carries is read without trust."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churn.errors import RefusedModel
from churn.recommendation import Plan
from churn.recommender_parts import ARRAYS_FILE, TOLD_FILE
from tests.recommenders import fit, read, shipped, write

Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recommender") / "version")


@pytest.fixture
def copy(version: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(version, tmp_path / "copy"))


def refusal(folder: Path) -> str:
    with pytest.raises(RefusedModel, match="offer-recommender version 1 does not load") as told:
        read(folder)
    return str(told.value)


def with_arrays(folder: Path, change: Callable[[Arrays], object]) -> str:
    with np.load(folder / ARRAYS_FILE) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez_compressed(folder / ARRAYS_FILE, **arrays)
    return refusal(folder)


def with_json(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> str:
    told = json.loads((folder / name).read_text(encoding="utf-8"))
    change(told)
    (folder / name).write_text(json.dumps(told), encoding="utf-8")
    return refusal(folder)


def test_what_is_read_is_what_was_fitted(tmp_path: Path) -> None:
    contract, rows = shipped()
    recommender = read(write(tmp_path / "version", rows=len(rows), plan=Plan(epochs=1)), "7")
    fitted = fit(contract, rows, Plan(epochs=1))
    said = fitted.predict(fitted.features.traits(rows), fitted.features.owned(rows))
    assert np.abs(recommender.liking(rows) - said).max() < 1e-6
    assert recommender.items == tuple(contract.products)
    assert recommender.contract == contract
    assert recommender.model.version == "7"
    assert recommender.told["parity"] == {"rows": 7043, "largest_difference": pytest.approx(0, abs=1e-6)}


def test_a_propensity_keeps_the_order_of_the_scores(version: Path) -> None:
    recommender = read(version)
    liking = recommender.liking(shipped()[1])
    propensity = recommender.propensity(liking)
    assert (liking.argsort(axis=1) == propensity.argsort(axis=1)).all()
    assert 0 < propensity.min() < propensity.max() < 1


def test_no_customer_travels_with_a_version(version: Path) -> None:
    ids = {path.name for path in version.iterdir()}
    assert ids == {"contract.yaml", "check.json", ARRAYS_FILE, TOLD_FILE}
    with np.load(version / ARRAYS_FILE, allow_pickle=False) as file:
        assert 300 not in {length for name in file.files for length in file[name].shape}


@pytest.mark.parametrize("name", ["contract.yaml", "check.json", ARRAYS_FILE, TOLD_FILE])
def test_a_missing_or_torn_file_is_refused(copy: Path, name: str) -> None:
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2])
    refusal(copy)
    (copy / name).write_bytes(b"")
    refusal(copy)
    (copy / name).unlink()
    assert f"{name} is missing" in refusal(copy)


def test_nothing_is_unpickled(copy: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return exec, ("raise SystemExit('unpickled')",)

    assert "pickle" in with_arrays(copy, lambda arrays: arrays.update(users=np.array([Trap()], dtype=object)))
    (copy / ARRAYS_FILE).write_bytes(pickle.dumps(Trap()))
    refusal(copy)


ARRAY_DAMAGE: dict[str, tuple[Callable[[Arrays], object], str]] = {
    "lacks one": (lambda a: a.pop("users"), "holds other arrays"),
    "has one more": (lambda a: a.update(more=np.zeros(1)), "holds other arrays"),
    "another type": (lambda a: a.update(items=a["items"].astype(np.float64)), "items is of type"),
    "a feature fewer": (lambda a: a.update(users=a["users"][1:]), "users is of type"),
    "an item fewer": (lambda a: a.update(biases=a["biases"][1:]), "biases is of type"),
    "another width": (lambda a: a.update(items=a["items"][:, 1:]), "items is of type"),
    "no components": (lambda a: a.update(users=a["users"][:, :0], items=a["items"][:, :0]), "users is of type"),
    "NaN": (lambda a: a["users"].__setitem__((3, 2), np.nan), "users holds what is no number"),
    "infinite": (lambda a: a["biases"].__setitem__(0, np.inf), "biases holds what is no number"),
    "popularity above 1": (lambda a: a["popularity"].__setitem__(0, 1.1), "popularity holds what is no share"),
    "frequency below 0": (lambda a: a["frequency"].__setitem__(0, -0.1), "frequency holds what is no share"),
    "keys lead outside": (lambda a: a["share_keys"].__setitem__(-1, 10**9), "share_keys is out of order"),
    "keys fall": (lambda a: a.update(share_keys=a["share_keys"][::-1]), "share_keys is out of order"),
    "keys without length": (lambda a: a.update(share_keys=np.array(1)), "share_keys is of type"),
    "counts of too few": (lambda a: a["share_customers"].__setitem__(0, 3), "tell of too few"),
    "more owners than customers": (lambda a: a["share_owners"].__setitem__(0, 10**6), "contradict each other"),
    "fewer counts": (lambda a: a.update(share_owners=a["share_owners"][1:]), "share_owners is of type"),
    "another score": (lambda a: a["users"].__iadd__(np.float32(1e-3)), "other scores than LightFM gave"),
    "biases swapped": (lambda a: a.update(biases=a["biases"][::-1]), "other scores than LightFM gave"),
}


@pytest.mark.parametrize(("change", "told"), ARRAY_DAMAGE.values(), ids=ARRAY_DAMAGE)
def test_damaged_arrays_are_refused(copy: Path, change: Callable[[Arrays], object], told: str) -> None:
    assert told in with_arrays(copy, change)


JSON_DAMAGE: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "another contract": (TOLD_FILE, lambda t: t.update(row_hash="0"), "made for other columns"),
    "items in another order": (TOLD_FILE, lambda t: t["items"].reverse(), "scores other items"),
    "an item that is none": (TOLD_FILE, lambda t: t["items"].append("yacht"), "scores other items"),
    "an item fewer": (TOLD_FILE, lambda t: t["items"].pop(), "scores other items"),
    "a column fewer": (TOLD_FILE, lambda t: t["seen"].pop(), "features are not the contract's"),
    "a scaling that falls": (TOLD_FILE, lambda t: t["scaling"].update(slope=-1), "slope"),
    "an unknown key": (TOLD_FILE, lambda t: t.update(code="x"), "code"),
    "no rows to check": ("check.json", lambda t: t.update(customers=[], scores=[]), "scores of shape"),
    "fewer scores": ("check.json", lambda t: t["scores"].pop(), "scores of shape"),
    "scores of fewer items": ("check.json", lambda t: [s.pop() for s in t["scores"]], "scores of shape"),
    "other scores": ("check.json", lambda t: t["scores"][0].__setitem__(0, 9.0), "other scores than LightFM gave"),
    "a score that is none": ("check.json", lambda t: t["scores"][0].__setitem__(0, float("nan")), "by up to nan"),
    "rows of no contract": ("check.json", lambda t: t["customers"][0].clear(), "do not fit contract.yaml"),
}


@pytest.mark.parametrize(("name", "change", "told"), JSON_DAMAGE.values(), ids=JSON_DAMAGE)
def test_damaged_documents_are_refused(
    copy: Path, name: str, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    assert told in with_json(copy, name, change)


def test_a_contract_whose_products_have_changed_is_refused(copy: Path) -> None:
    path = copy / "contract.yaml"
    _, product = list(shipped()[0].products)[:2]
    path.write_text(path.read_text(encoding="utf-8").replace(f"  {product}:\n    owned", "  other:\n    owned"))
    refusal(copy)


def test_arrays_that_unpack_to_too_much_are_refused(copy: Path, monkeypatch) -> None:
    monkeypatch.setattr("churn.recommender_parts.LARGEST_FILE", 1_000)
    assert "which is more than 1,000" in refusal(copy)


def test_serving_needs_none_of_what_trained(version: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from churn.recommender import load_recommender
from churn.scoring import ModelVersion
recommender = load_recommender(Path({str(version)!r}), ModelVersion("offer-recommender", "1"))
recommender.shares(recommender.encoder.customers([recommender.contract.example]), [0, 1])
print(sorted({{"lightfm", "scipy", "sklearn", "pandas", "mlflow", "skops", "onnxruntime"}} & {{*sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr

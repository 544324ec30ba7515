"""A second product table: a bank's customers, made at random with a structure that can be found.

Every customer has a taste for each bundle of products: of his features, of a luck of his own that the
bundle's products share, and of how usual each product is. So features alone tell something (cold
customers), what is owned tells more, and both together most.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

CUSTOMERS = 20_000
TRAITS = {
    "region": ["coast", "hills", "north", "plain", "south", "capital"],
    "occupation": ["employed", "self-employed", "civil servant", "student", "retired", "at home"],
    "household": ["alone", "couple", "family", "shared flat"],
    "dwelling": ["own house", "own flat", "rented", "with parents"],
    "meets_us": ["branch", "telephone", "website", "phone app"],
    "came_by": ["friend", "advert", "broker", "employer", "walked in"],
}


@dataclass(frozen=True)
class Kind:
    """How a product's column is written: its values from "has it not" to "has it"."""

    type: str
    without: Any
    owned: tuple[Any, ...]


FLAG = Kind("boolean", False, (True,))
YES = Kind("category", "no", ("yes",))
TIER = Kind("category", "none", ("basic", "plus"))
COUNT = Kind("integer", 0, (1, 2, 3))
PRODUCTS: dict[str, tuple[str, Kind, float, dict[str, list[Any]]]] = {
    # bundle, kind, monthly price, what it requires
    "savings_account": ("accounts", YES, 1, {}),
    "fixed_deposit": ("accounts", YES, 2, {"savings_account": ["yes"]}),
    "child_account": ("accounts", YES, 1, {"household": ["family"]}),
    "foreign_account": ("accounts", FLAG, 4, {}),
    "credit_card": ("cards", TIER, 3, {}),
    "gold_card": ("cards", FLAG, 9, {"credit_card": ["basic", "plus"]}),
    "partner_cards": ("cards", COUNT, 2, {"credit_card": ["basic", "plus"]}),
    "travel_card": ("cards", YES, 4, {}),
    "mortgage": ("loans", YES, 30, {"dwelling": ["own house", "own flat"]}),
    "repair_loan": ("loans", YES, 12, {"dwelling": ["own house", "own flat"]}),
    "car_loan": ("loans", YES, 15, {}),
    "overdraft": ("loans", FLAG, 3, {}),
    "student_loan": ("loans", YES, 5, {"occupation": ["student"]}),
    "home_cover": ("cover", YES, 7, {"dwelling": ["own house", "own flat", "rented"]}),
    "car_cover": ("cover", YES, 12, {}),
    "travel_cover": ("cover", YES, 3, {}),
    "life_cover": ("cover", TIER, 18, {}),
    "depot": ("investing", YES, 4, {}),
    "fund_plan": ("investing", FLAG, 5, {"depot": ["yes"]}),
    "share_trading": ("investing", YES, 8, {"depot": ["yes"]}),
    "gold_bars": ("investing", YES, 2, {}),
    "phone_banking": ("digital", FLAG, 0, {}),
    "phone_payments": ("digital", YES, 1, {"phone_banking": [True]}),
    "alerts": ("digital", YES, 0.5, {"phone_banking": [True]}),
}


def write(folder: Path, customers: int = CUSTOMERS, seed: int = 0) -> Path:
    """Write the rows and their contract; returns the contract's path."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = made(customers, seed)
    frame.to_csv(folder / "clients.csv", index=False)
    path = folder / "contract.yaml"
    path.write_text(yaml.safe_dump(contract(), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def made(customers: int, seed: int) -> pd.DataFrame:
    """The rows."""
    random = np.random.default_rng(seed)
    told: dict[str, Any] = {"client_no": [f"B{number:07d}" for number in range(customers)]}
    for name, values in TRAITS.items():
        told[name] = random.choice(values, customers, p=random.dirichlet(np.full(len(values), 5.0)))
    told["age"] = random.integers(18, 90, customers)
    told["months_with_us"] = random.gamma(2.0, 40.0, customers).astype(int).clip(0, 600)
    told["income"] = np.round(random.lognormal(7.9, 0.5, customers), 2)
    told["income"][random.random(customers) < 0.1] = np.nan
    owned = _owned(told, customers, random)
    for name, (_, kind, *_rest) in PRODUCTS.items():
        which = np.array(kind.owned, dtype=object)[random.integers(len(kind.owned), size=customers)]
        told[name] = np.where(owned[name], which, kind.without)
    prices = sum(price * owned[name] for name, (_, _, price, _) in PRODUCTS.items())
    told["monthly_fees"] = np.round(5 + prices + random.normal(0, 0.5, customers).clip(-1, 1), 2)
    told["fees_so_far"] = np.round(told["monthly_fees"] * told["months_with_us"], 2)
    told["closed"] = _closed(told, owned, random)
    return pd.DataFrame(told)


def _owned(told: dict[str, Any], customers: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    bundles = list(dict.fromkeys(bundle for bundle, *_ in PRODUCTS.values()))
    traits = [np.searchsorted(sorted(values), told[name]) for name, values in TRAITS.items()]
    traits += [(told["age"] - 18) // 12, np.minimum(told["months_with_us"] // 40, 4)]
    taste = random.normal(0, 0.9, (customers, len(bundles)))
    for column in traits:
        taste += random.normal(0, 0.45, (column.max() + 1, len(bundles)))[column]
    owned: dict[str, np.ndarray] = {}
    for name, (bundle, _, _, requires) in PRODUCTS.items():
        logit = random.normal(-0.9, 0.6) + 1.1 * taste[:, bundles.index(bundle)]
        for column in traits:
            logit += random.normal(0, 0.25, column.max() + 1)[column]
        wanted = random.random(customers) < 1 / (1 + np.exp(-logit))
        for other, values in requires.items():
            wanted &= owned[other] if other in owned else np.isin(told[other], values)
        owned[name] = wanted
    return owned


def _closed(told: dict[str, Any], owned: dict[str, np.ndarray], random: np.random.Generator) -> np.ndarray:
    count = sum(owned.values())
    logit = 0.4 - 0.25 * count - 0.008 * told["months_with_us"] + 0.6 * (told["meets_us"] == "branch")
    return np.where(random.random(len(count)) < 1 / (1 + np.exp(-logit)), "gone", "here")


def contract() -> dict[str, Any]:
    """What a bank would write down of these rows."""
    features: dict[str, Any] = {name: {"type": "category", "values": values} for name, values in TRAITS.items()}
    features |= {
        "age": {"type": "integer", "min": 18, "max": 120, "unit": "years"},
        "months_with_us": {"type": "integer", "min": 0, "max": 900, "unit": "months"},
        "income": {"type": "number", "min": 0, "max": 1e6, "blank": "missing"},
    }
    for name, (_, kind, *_rest) in PRODUCTS.items():
        features[name] = _column(kind)
    for name in ("monthly_fees", "fees_so_far"):
        features[name] = {"type": "number", "min": 0, "max": 1e6}
    return {
        "name": "bank",
        "title": "A bank's customers",
        "currency": "EUR",
        "rows": {"training": "clients.csv"},
        "id": "client_no",
        "target": {"column": "closed", "values": ["here", "gone"], "positive": "gone"},
        "features": features,
        "risk": {
            "high": {"threshold": 0.5, "action": "Call"},
            "medium": {"threshold": 0.25, "action": "Write"},
            "low": {"threshold": 0, "action": "Nothing"},
        },
        "monthly_value": "monthly_fees",
        "products": {name: _product(name) for name in PRODUCTS},
        "offers": {
            "free_year": {"label": "A year without fees", "cost": 60, "bands": ["high", "medium"], "discount": 1.0},
            "better_rate": {"label": "A better rate", "cost": 40, "eligibility": {"mortgage": ["yes"]}},
        },
        "recommendation": {"unseen": ["fees_so_far"]},
    }


def _column(kind: Kind) -> dict[str, Any]:
    if kind.type == "integer":
        return {"type": "integer", "min": 0, "max": 9}
    if kind.type == "boolean":
        return {"type": "boolean"}
    return {"type": "category", "values": [kind.without, *kind.owned]}


def _product(name: str) -> dict[str, Any]:
    bundle, kind, price, requires = PRODUCTS[name]
    return {
        "owned": list(kind.owned),
        "monthly_price": price,
        "monthly_cost": round(price / 3, 2),
        "bundle": bundle,
        "requires": requires,
        "label": name.replace("_", " ").capitalize(),
    }

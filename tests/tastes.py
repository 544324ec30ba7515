"""Made-up people whose tastes are known: what a recommender must find out."""

import numpy as np

from churn import contract as contracts
from churn.contract import Contract
from churn.encoding import Encoded
from tests.club import CLUB

FEATURES = {
    "taste": {"type": "category", "values": ["films", "games", "neither"], "blank": "missing"},
    **{name: {"type": "boolean"} for name in ("cinema", "console", "snacks", "router")},
}
PRODUCTS = {
    "cinema": {"owned": [True], "bundle": "screen"},
    "console": {"owned": [True], "bundle": "screen"},
    "snacks": {"owned": [True]},
    "router": {"owned": [True]},
}
FILMS, GAMES, NEITHER = 0, 1, 2
CINEMA, CONSOLE, SNACKS, ROUTER = range(4)


def contract() -> Contract:
    """Four products, and an offer for all."""
    offers = {"all": {"label": "For all", "cost": 1}}
    return contracts.parse(CLUB | {"features": FEATURES, "products": PRODUCTS, "offers": offers})


def people() -> Encoded:
    """Whoever likes films has the cinema, whoever likes games the console; snacks go with the cinema."""
    random = np.random.default_rng(2)
    taste = random.integers(0, 3, 1500)
    chance = np.array([[0.8, 0.05], [0.05, 0.8], [0.3, 0.3]])[taste]
    screens = random.random((1500, 2)) < chance
    snacks = random.random(1500) < np.where(screens[:, 0], 0.9, 0.1)
    router = random.random(1500) < 0.4
    return Encoded(np.empty((1500, 0)), np.column_stack([taste, screens, snacks, router]).astype(np.int64))

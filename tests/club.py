"""A club of which every kind of column can be a product, a condition, or missing."""

from typing import Any

CLUB: dict[str, Any] = {
    "name": "club",
    "rows": {"training": "rows.csv"},
    "target": {"column": "left", "values": [0, 1], "positive": 1},
    "features": {
        "visits": {"type": "integer", "min": 0, "max": 9, "blank": "missing"},
        "plan": {"type": "category", "values": ["Basic", "Gold", "Black"], "blank": "missing"},
        "locker": {"type": "boolean", "blank": "missing"},
        "towel": {"type": "category", "values": [0, 1, 2], "blank": "missing"},
        "courts": {"type": "integer", "min": 0, "max": 3, "blank": "missing"},
    },
    "risk": {
        "high": {"threshold": 0.6, "action": "x"},
        "medium": {"threshold": 0.3, "action": "y"},
        "low": {"threshold": 0, "action": "z"},
    },
    "products": {
        "locker": {"owned": [True]},
        "towel": {"owned": [1, 2], "requires": {"locker": [True], "plan": ["Gold", "Black"]}},
        "courts": {"owned": [2, 3], "requires": {"visits": [4, 5, 6], "towel": [1]}},
    },
    "offers": {
        "all": {"label": "For all", "cost": 1},
        "few": {"label": "For few", "cost": 1, "eligibility": {"plan": ["Basic"], "visits": [0, 1], "locker": [False]}},
    },
}

"""What each column of a file is for: target, id, feature or ignored, and every reason against it."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from churn import contract as contracts
from churn.cells import as_arrow, blanks, is_number, is_text, numbers
from churn.columns import Column
from churn.contract import RESERVED, Contract, FileFormat
from churn.contract_file import in_line
from churn.errors import ContractError
from churn.inference import Refusal, Uninformative, has_feature_type, infer, label, words
from churn.reading import FIRST_ROW
from churn.sniffing import own_blanks

if TYPE_CHECKING:
    import pandas as pd

_LEFT = {
    *(
        "1",
        "true",
        "yes",
        "y",
        "t",
        "left",
        "churned",
        "churn",
        "churner",
        "lost",
        "gone",
        "exited",
        "closed",
    ),
    *("cancelled", "canceled", "attrited", "attrited customer", "terminated", "inactive", "ja", "j", "oui"),
    *("si", "sí", "sim", "gekündigt", "abgewandert"),
}
_ID_NAME = re.compile(r"(customer|cust|user|client|account|acct|member|subscriber|kunden?|contract)_?(id|no|nr)")
_ID_WORDS = {"id", "uuid", "guid"}
_NUMBER_WORDS = {"id", "number", "num", "no", "nr", "nummer", "index", "row", "key", "code"}
_FEWEST_FOR_A_KEY = 20
_TOO_GOOD = "it tells the target without fail; if it is known only afterwards, it belongs under ignored"
_MONTHLY = {"monthly", "month", "mrr", "arpu"}
_MONEY = {
    "charge",
    "charges",
    "price",
    "fee",
    "fees",
    "revenue",
    "bill",
    "spend",
    "amount",
    "payment",
    "mrr",
    "arpu",
}

_STRATEGIES = {
    "high": (0.6, "Immediate retention offer"),
    "medium": (0.3, "Survey"),
    "low": (0, "Standard engagement"),
}


@dataclass
class Sketch:
    """What is known of the columns so far, and every reason against a contract."""

    rows: "pd.DataFrame"
    form: FileFormat
    target: str
    id: str | None
    ignore: tuple[str, ...]
    looked: Callable[[str], None]
    """Told the name of each column, in their order, as it is looked at."""
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: dict[str, str] = field(default_factory=dict)

    def contract(self, name: str, file: str, positive: str | None) -> Contract:
        self._check_names()
        said = self._said_of_target(positive)
        self.id = self.id or self._obvious_id()
        features, ignored = self._features()
        if not features and not self.faults:
            self.faults.append("no column is left that could be a feature")
        if self.faults:
            raise ContractError("\n  ".join(["no contract can be drafted yet:", *self.faults]))
        plain: dict[str, Any] = {
            "name": name,
            "title": label(name),
            "rows": {"training": file, "format": self.form.model_dump(exclude_defaults=True)},
            "target": said,
            "features": {n: c.model_dump(by_alias=True, exclude_defaults=True) for n, c in features.items()},
            "ignored": ignored,
            "risk": {b: {"threshold": low, "action": action} for b, (low, action) in _STRATEGIES.items()},
            "monthly_value": self._monthly_value(features),
        }
        return contracts.parse(plain | ({"id": self.id} if self.id else {}), "the draft")

    def _check_names(self) -> None:
        names = [str(name) for name in self.rows.columns]
        for role, name in [
            ("--target", self.target),
            ("--id", self.id),
            *(("--ignore", n) for n in self.ignore),
        ]:
            if name is None or name in names:
                continue
            close = get_close_matches(name.casefold(), [n.casefold() for n in names], n=3)
            near = [n for n in names if n.casefold() in close]
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(names[:40])}"
            raise ContractError(f"{role}: the file has no column {name!r}; {hint}")
        roles = [self.target, *([self.id] if self.id else []), *self.ignore]
        if len(set(roles)) < len(roles):
            raise ContractError("--target, --id and --ignore must name different columns")

    def _said_of_target(self, positive: str | None) -> dict[str, Any]:
        array = as_arrow(self.rows[self.target])
        if array.null_count == len(array) or not has_feature_type(array):
            raise ContractError(f"target {self.target!r}: its cells are blank, or of a type that no target has")
        blank = blanks(array, self.form)
        if blank.any():
            row = int(blank.argmax()) + FIRST_ROW
            self.faults.append(
                f"target {self.target!r}: {int(blank.sum()):,} cells are blank, the first in row {row}; "
                "remove these rows, or fill them in"
            )
        values = _target_values(array, blank, self.form)
        if len(values) != 2:
            shown = ", ".join(repr(value) for value in values[:10]) + (", …" if len(values) > 10 else "")
            raise ContractError(
                f"target {self.target!r}: a target has two values, has left and has not; this one has "
                f"{len(values):,}: {shown}"
            )
        chosen = _positive(self.target, values, positive)
        return {"column": self.target, "values": values, "positive": chosen, "label": label(self.target)}

    def _obvious_id(self) -> str | None:
        """The one column whose name says that it is an id, and whose values are all different."""
        taken = {self.target, *self.ignore}
        names = [n for n in self.rows.columns if n not in taken and _is_id_name(n) and self._is_key(n)]
        if len(names) > 1:
            self.faults.append(
                f"{' and '.join(map(repr, names))} look like ids; say which with --id, "
                "and leave the others out with --ignore"
            )
            return None
        if names:
            self.notes.append(f"{names[0]!r} is taken as the id: its name says so, and no two rows share a value")
            self.remarks[names[0]] = "its name says so, and no two rows share a value"
        return names[0] if names else None

    def _is_key(self, name: str) -> bool:
        cells = self.rows[name]
        array = as_arrow(cells)
        whole = is_text(array) or bool((numbers(array, ".") % 1 == 0).all())
        return whole and bool(cells.is_unique) and not blanks(array, self.form).any()

    def _features(self) -> tuple[dict[str, Column], list[str]]:
        features: dict[str, Column] = {}
        ignored = list(self.ignore)
        self.remarks |= dict.fromkeys(self.ignore, "by --ignore")
        for name in self.rows.columns:
            self.looked(name)
            if name in (self.target, self.id, *self.ignore):
                continue
            try:
                features[name] = self._feature(name)
            except Uninformative as error:
                ignored.append(name)
                self.remarks[name] = str(error)
                self.notes.append(f"{name!r} is ignored: {error}")
            except Refusal as error:
                self.faults.append(f"{name!r}: {error} (--ignore {in_line(name)})")
        return features, ignored

    def _feature(self, name: str) -> Column:
        if name.startswith("Unnamed: "):
            raise Uninformative("it has no name in the header")
        if name in RESERVED:
            raise Refusal("a name that replies use for their own; rename the column, or leave it out")
        guess = infer(name, self.rows[name], own_blanks(self.rows[name], self.form))
        if guess.column.type == "integer" and self._numbers_the_rows(name):
            raise Refusal("every row has its own number, as identifiers have; say --id, or leave it out")
        remarks = [guess.remark, _TOO_GOOD if self._tells_the_target(guess.column) else ""]
        if any(remarks):
            self.remarks[name] = "; ".join(filter(None, remarks))
            self.notes.append(f"{name!r}: {self.remarks[name]}")
        return guess.column

    def _tells_the_target(self, column: Column) -> bool:
        """Whether each of a column's values goes with one value of the target alone."""
        if column.is_numeric or len(self.rows) < _FEWEST_FOR_A_KEY:
            return False
        each = self.rows.groupby(column.name, observed=True)[self.target].nunique()
        return bool(each.max() == 1)

    def _numbers_the_rows(self, name: str) -> bool:
        if len(self.rows) < _FEWEST_FOR_A_KEY or not self._is_key(name):
            return False
        found = numbers(as_arrow(self.rows[name]), self.form.decimal)
        return bool((np.diff(found) == 1).all()) or not _NUMBER_WORDS.isdisjoint(words(name))

    def _monthly_value(self, features: dict[str, Column]) -> str | None:
        names = [
            name
            for name, column in features.items()
            if column.is_numeric and not _MONTHLY.isdisjoint(said := words(name)) and not _MONEY.isdisjoint(said)
        ]
        return names[0] if len(names) == 1 else None


def _target_values(array: Any, blank: Any, form: FileFormat) -> list[Any]:
    told = array.filter(~blank)
    if is_number(array) or (is_text(array) and np.isfinite(numbers(told, form.decimal)).all()):
        found = np.unique(numbers(told, form.decimal))
        if (found % 1 == 0).all():
            return [int(value) for value in found]
    values = sorted(told.unique().to_pylist(), key=str)
    if is_text(array) and {value.strip().casefold() for value in values} == {"true", "false"}:
        return [False, True]
    return values


def _positive(target: str, values: list[Any], positive: str | None) -> Any:
    listed = " and ".join(repr(value) for value in values)
    texts = [str(value).casefold() if isinstance(value, bool) else str(value) for value in values]
    if positive is not None:
        if (wanted := positive.casefold() if isinstance(values[0], bool) else positive) in texts:
            return values[texts.index(wanted)]
        raise ContractError(f"--positive: target {target!r} has no value {positive!r}; its values are {listed}")
    meant = [value for value, text in zip(values, texts, strict=True) if text.strip().casefold() in _LEFT]
    if len(meant) != 1:
        which = f"which of {listed} means that a customer left? Say it with --positive"
        raise ContractError(f"target {target!r}: {which}")
    return meant[0]


def _is_id_name(name: str) -> bool:
    return not _ID_WORDS.isdisjoint(words(name)) or bool(_ID_NAME.fullmatch(name.lower()))

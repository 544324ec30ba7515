"""What a customer row is: columns, types, allowed values, target, bands, products, offers.

A contract is a YAML file beside its data. Validation, the preprocessor, the model's signature,
the API's request model and the web app's form are all derived from it, so that a column name or
a category stands in no other place.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
    model_validator,
)

from churn import contract_file
from churn.catalogue import BANDS, Band, Offer, Product, RankWeights, Recommendation, RiskBand
from churn.columns import BlankAs, Column, CustomerId, Part, Scalar
from churn.economics import Acceptance, Economics
from churn.errors import ContractError
from churn.file_format import FileFormat

RESERVED = {"customers", "customer", "churn_probability", "prediction", "risk"}


class Rows(Part):
    """Where the rows are, relative to the contract's folder."""

    training: str
    customers: str | None = None
    """The current customers, where that is another file than the training rows."""
    format: FileFormat = FileFormat()


class Target(Part):
    """The column that says whether a customer left."""

    column: str = Field(min_length=1)
    values: list[bool | int | str] = Field(min_length=2, max_length=2)
    positive: bool | int | str
    label: str = ""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        kinds = {type(value) for value in self.values}
        if len(kinds) > 1 or self.values[0] == self.values[1]:
            raise ValueError("values are two different texts, or two whole numbers, or false and true")
        if not any(_same(self.positive, value) for value in self.values):
            raise ValueError(f"positive is {self.positive!r}, which is not among {self.values!r}")
        if kinds != {bool}:
            self.as_column  # noqa: B018 (says what is wrong with the values)
        return self

    @cached_property
    def as_column(self) -> Column:
        values = [value for value in self.values if not isinstance(value, bool)]
        if not values:
            return Column(name=self.column, type="boolean")
        return Column(name=self.column, type="category", values=values)


class Contract(Part):
    """A data set's whole contract. Build it with :func:`load` or ``model_validate``."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str = ""
    rows: Rows
    id: str | None = Field(default=None, min_length=1)
    target: Target
    features: dict[str, Column] = Field(min_length=1)
    ignored: list[str] = []
    """Columns of the files that are carried along and never seen by a model."""
    risk: dict[Band, RiskBand]
    monthly_value: str | None = None
    currency: str = ""
    economics: Economics = Economics()
    products: dict[str, Product] = {}
    offers: dict[str, Offer] = {}
    recommendation: Recommendation = Recommendation()

    @model_validator(mode="before")
    @classmethod
    def _name_the_columns(cls, raw: Any) -> Any:
        """Columns are written as a mapping from their names; each learns its own name."""
        if not isinstance(raw, dict) or not isinstance(raw.get("features"), dict):
            return raw
        named = dict(raw["features"])
        for name, column in named.items():
            if isinstance(column, dict):
                if column.get("name", name) != name:
                    raise ValueError(f"features.{name} calls itself {column['name']!r}; its name is its key")
                named[name] = {"name": name, **column}
        return raw | {"features": named}

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        faults = [*self._role_faults(), *self._risk_faults(), *self._condition_faults()]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _role_faults(self) -> Iterator[str]:
        taken = [*self.features, *self.ignored, self.target.column, *([self.id] if self.id else [])]
        for name in dict.fromkeys(taken):
            if taken.count(name) > 1:
                yield f"column {name!r} has two roles; give it one"
            if name in RESERVED:
                yield f"column {name!r} has a name that replies use; rename it"
        value = self.monthly_value
        if value is not None and not (value in self.features and self.features[value].is_numeric):
            yield f"monthly_value: {value!r} is no numeric feature"
        if value is None and self.economics.value_months is not None:
            yield "economics.value_months: there is no monthly_value to count"

    def _risk_faults(self) -> Iterator[str]:
        if set(self.risk) != set(BANDS):
            yield f"risk must say each of {', '.join(BANDS)}"
            return
        high, medium, low = (self.risk[band].threshold for band in BANDS)
        if not high > medium > low == 0:
            yield "risk thresholds must fall from high to medium to low, low being 0"

    def _condition_faults(self) -> Iterator[str]:
        for product, entry in self.products.items():
            yield from self._never(f"products.{product}", {product: entry.owned} | entry.requires)
            if product in entry.requires:
                yield f"products.{product}: requires itself"
        for offer, terms in self.offers.items():
            changed = {column: [value] for column, value in terms.changes.items()}
            yield from self._never(f"offers.{offer}", terms.eligibility)
            yield from self._never(f"offers.{offer}.changes", changed)
            if terms.discount and self.monthly_value is None:
                yield f"offers.{offer}.discount: there is no monthly_value to take it off"
            if offer in self.products:
                yield f"offers.{offer}: a product has this name; give it another"
        for name in self.recommendation.unseen:
            if name not in self.features:
                yield f"recommendation.unseen: {name!r} is no feature of this contract"

    def _never(self, where: str, conditions: Mapping[str, Sequence[Scalar]]) -> Iterator[str]:
        for name, values in conditions.items():
            if name not in self.features:
                yield f"{where}: {name!r} is no feature of this contract"
                continue
            for value in values:
                _, fault = self.features[name].read(value)
                if fault:
                    yield f"{where}: {name} can never be {value!r}; {fault}"

    @cached_property
    def customer_model(self) -> type[BaseModel]:
        """The pydantic model of one customer: unknown fields, guesses and coercions refused."""
        fields: dict[str, Any] = {}
        if self.id:
            fields[self.id] = (CustomerId, None)
        for name, column in self.features.items():
            rule = BeforeValidator(column.validate_json)
            kind: Any = Annotated[Any, rule, WithJsonSchema(column.json_schema())]
            fields[name] = (kind, None if column.may_be_missing else ...)
        aliased: dict[str, Any] = {
            f"f{i}": (kind, Field(default, alias=name)) for i, (name, (kind, default)) in enumerate(fields.items())
        }
        shown: Any = {"examples": [self.example]}
        config = ConfigDict(extra="forbid", title="Customer", json_schema_extra=shown)
        model: type[BaseModel] = create_model("Customer", __config__=config, **aliased)
        return model

    def read(self, given: Mapping[str, Any]) -> tuple[dict[str, Scalar | None], list[tuple[str, str]]]:
        """One customer's typed values: those of the features, and the faults as (column, what is wrong).

        This is what :attr:`customer_model` describes, without pydantic: scoring one customer
        spends most of its time here.
        """
        values: dict[str, Scalar | None] = {}
        faults: list[tuple[str, str]] = []
        for name, column in self.features.items():
            if name not in given and not column.may_be_missing:
                faults.append((name, f"missing; {column.expectation}"))
                continue
            values[name], fault = column.read(given.get(name))
            if fault:
                faults.append((name, fault))
        strangers = given.keys() - self.features.keys() - {self.id}
        faults += [(name, self._unknown(name)) for name in given if name in strangers]
        return values, faults

    def _unknown(self, name: str) -> str:
        if name == self.target.column:
            return "this is what is predicted; leave it out"
        return "the contract has no such column"

    @property
    def example(self) -> dict[str, Scalar | None]:
        """A customer as the contract's author would show one."""
        return {name: column.shown_example for name, column in self.features.items()}

    @cached_property
    def row_hash(self) -> str:
        """A hash of what a row is: the features with their types, values, ranges and blanks, in
        order, and the target. Labels, strategies and prices are not of it: they may change while
        a model serves."""
        kept = {"name", "type", "values", "min", "max", "blank"}
        columns = [column.model_dump(mode="json", include=kept) for column in self.features.values()]
        target = self.target.model_dump(mode="json", exclude={"label"})
        told = json.dumps([self.id, columns, target], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    def band_of(self, probability: float) -> Band:
        return next(band for band in BANDS if probability >= self.risk[band].threshold)


def load(path: Path) -> Contract:
    """Read and check a contract file.

    Raises:
        ContractError: the file is missing, is not YAML, or contradicts itself; every
            contradiction is named by its place in the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        raw = contract_file.read(text)
    except OSError as error:
        raise ContractError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ContractError(f"{path}: not a contract in YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ContractError(f"{path}: empty, or not a mapping; `churn init` drafts a contract")
    return _parse(raw, str(path), text)


def parse(raw: dict[str, Any], source: str = "contract") -> Contract:
    """A contract from its plain form, as YAML or JSON gives it.

    Raises:
        ContractError: as :func:`load`.
    """
    return _parse(raw, source, None)


def _parse(raw: dict[str, Any], source: str, text: str | None) -> Contract:
    try:
        return Contract.model_validate(raw)
    except ValidationError as error:
        faults = contract_file.told(error, raw, known_keys(), text)
        raise ContractError(f"{source}: {'; '.join(faults)}") from error


def known_keys() -> set[str]:
    """Every key that a contract may have, at any depth."""
    parts: list[type[BaseModel]] = [Contract, Rows, FileFormat, Target, Column, BlankAs, RiskBand]
    parts += [Economics, Acceptance, Product, Offer, Recommendation, RankWeights]
    return {field.alias or name for part in parts for name, field in part.model_fields.items()}


def dump(contract: Contract) -> str:
    """The contract as YAML, without the entries that are at their defaults."""
    plain = contract.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for name, column in plain["features"].items():
        del column["name"]
        if labels := contract.features[name].value_labels:
            column["value_labels"] = dict(labels)  # JSON would make texts of the whole numbers
    return contract_file.write(plain)


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


__all__ = [
    "BANDS",
    "Band",
    "BlankAs",
    "Column",
    "Contract",
    "FileFormat",
    "Offer",
    "Part",
    "Product",
    "RiskBand",
    "Rows",
    "Target",
    "dump",
    "known_keys",
    "load",
    "parse",
]

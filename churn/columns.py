"""One column of a contract: its type, its allowed values, and the reading of a single value."""

import math
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

Scalar = str | int | float | bool
ColumnType = Literal["integer", "number", "category", "boolean"]

# Whole numbers beyond this are not exact as doubles, which is what models compute in.
LARGEST_INTEGER = 2**53 - 1
LARGEST_NUMBER = 1e300


class Part(BaseModel):
    """A part of the contract: unknown keys are mistakes, nothing is coerced or changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Flag = Annotated[bool, Field(strict=False)]
"""``true`` or ``yes``, as people write it."""


class BlankAs(Part):
    """``blank: {as: 0}``: an empty cell of a file means this value."""

    value: int | float | str | bool = Field(alias="as")


class Column(Part):
    """A feature: what its values may be, and what people call it."""

    name: str = Field(min_length=1)
    type: ColumnType
    values: list[int | str] = []
    value_labels: dict[int | str, str] = {}
    min: float | None = None
    max: float | None = None
    label: str = ""
    unit: str = ""
    description: str = ""
    actionable: Flag = False
    """Whether the company can change it, such as the kind of contract."""
    change_cost: float | None = Field(default=None, ge=0)
    """What it costs the company to change it, in its currency: for each change, or for each unit of a
    number. None counts each change as 1, so that where nothing is said the fewest changes are the cheapest."""
    sensitive: Flag = False
    """Whether a model must be checked for treating its groups unequally."""
    blank: Literal["refuse", "missing"] | BlankAs = "refuse"
    """What an empty cell of a file means: an error, a value that is imputed inside the pipeline
    and named in the reply, or the value given. In JSON only ``missing`` may be null or absent."""
    example: int | float | str | bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _labels_by_value(cls, raw: Any) -> Any:
        """JSON knows only texts as keys: a label of "0" is the label of the value 0."""
        if not isinstance(raw, dict) or not isinstance(raw.get("value_labels"), dict):
            return raw
        values = raw.get("values")
        own = {str(value): value for value in values} if isinstance(values, list) else {}
        return raw | {"value_labels": {own.get(str(k), k): text for k, text in raw["value_labels"].items()}}

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.type == "category":
            self._check_values()
        elif self.values or self.value_labels:
            raise ValueError(f"values belong to a category, and this column is of type {self.type}")
        if (self.min, self.max) != (None, None) and not self.is_numeric:
            raise ValueError("min and max belong to a number or an integer")
        if self.change_cost is not None and not self.actionable:
            raise ValueError("change_cost belongs to a column that is actionable")
        self._check_range()
        for role, value in (("example", self.example), ("blank", self.blank_value)):
            fault = None if value is None else self.read(value)[1]
            if fault:
                raise ValueError(f"{role} is {value!r}; {fault}")
        return self

    def _check_range(self) -> None:
        low, high = self.bounds
        if low > high:
            raise ValueError(f"min {low:.15g} is above max {high:.15g}")
        if self.type == "integer" and not (float(low).is_integer() and float(high).is_integer()):
            raise ValueError("min and max of an integer are whole numbers")

    def _check_values(self) -> None:
        if len(self.values) < 2 or len(set(self.values)) != len(self.values):
            raise ValueError("a category needs at least two values, each once")
        if len({type(value) for value in self.values}) > 1:
            raise ValueError(
                "the values of a category are all texts or all whole numbers; quotes make a text of a number"
            )
        for value in self.values:
            if isinstance(value, str) and not value.strip():
                raise ValueError("a blank text cannot be a value; say what a blank means with 'blank'")
            if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
                raise ValueError(f"{value} is too large a number; quotes make a text of it")
        strangers = [label for label in self.value_labels if label not in self.values]
        if strangers:
            raise ValueError(f"value_labels names {strangers[0]!r}, which is not among the values")

    @property
    def is_numeric(self) -> bool:
        return self.type in ("integer", "number")

    @property
    def may_be_missing(self) -> bool:
        return self.blank == "missing"

    @property
    def blank_value(self) -> Scalar | None:
        return self.blank.value if isinstance(self.blank, BlankAs) else None

    @property
    def title(self) -> str:
        return self.label or self.name

    def label_of(self, value: Scalar) -> str:
        """What people call one of the column's values."""
        if isinstance(value, bool):
            return "Yes" if value else "No"
        return self.value_labels.get(value, str(value)) if not isinstance(value, float) else f"{value:g}"

    @property
    def shown_example(self) -> Scalar | None:
        """An allowed value to show: the contract's own, else the first or the lowest."""
        if self.example is not None:
            return self.example
        if self.type == "category":
            return self.values[0]
        if self.type == "boolean":
            return False
        low = self.min if self.min is not None else min(self.bounds[1], 0.0)
        return int(low) if self.type == "integer" else float(low)

    @cached_property
    def expectation(self) -> str:
        """What a value of this column looks like, for error messages."""
        if self.type == "category":
            return "expected one of " + ", ".join(repr(value) for value in self.values)
        if self.type == "boolean":
            return "expected true or false"
        noun = "a whole number" if self.type == "integer" else "a number"
        match (self.min, self.max):
            case (None, None):
                return f"expected {noun}"
            case (low, None):
                return f"expected {noun} of at least {low:.15g}"
            case (None, high):
                return f"expected {noun} of at most {high:.15g}"
            case (low, high):
                return f"expected {noun} from {low:.15g} to {high:.15g}"

    def read(self, value: object) -> tuple[Scalar | None, str | None]:
        """One typed value: the value as the pipeline takes it, and what is wrong with it or None.

        ``True`` is not a number, and ``27.0`` is the integer 27. Nothing is guessed.
        """
        if value is None:
            return None, None if self.may_be_missing else f"missing; {self.expectation}"
        if self.type == "boolean":
            return (value, None) if isinstance(value, bool) else (None, self.expectation)
        if self.type == "category":
            known = self._known.get(_key(value))
            return (known, None) if known is not None else (None, self.expectation)
        return self._read_number(value)

    def _read_number(self, value: object) -> tuple[Scalar | None, str | None]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None, self.expectation
        if isinstance(value, float) and not math.isfinite(value):
            return None, self.expectation
        if not self.allows(value):
            return None, self.expectation
        if self.type == "number":
            return float(value), None
        whole = int(value)
        return (whole, None) if whole == value else (None, self.expectation)

    def allows(self, value: float) -> bool:
        """Whether a number lies in the column's range."""
        low, high = self.bounds
        return low <= value <= high

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The lowest and highest value; where the contract is silent, what a double can hold."""
        widest = LARGEST_INTEGER if self.type == "integer" else LARGEST_NUMBER
        low = -widest if self.min is None else max(self.min, -widest)
        high = widest if self.max is None else min(self.max, widest)
        return low, high

    @cached_property
    def _known(self) -> dict[tuple[Any, Any], Scalar]:
        return {_key(value): value for value in self.values}

    def validate_json(self, value: object) -> Scalar | None:
        """:meth:`read` in the form that pydantic calls."""
        read, fault = self.read(value)
        if fault:
            raise PydanticCustomError("contract", "{fault}", {"fault": fault})
        return read

    def json_schema(self) -> dict[str, Any]:
        """The column as JSON Schema; what that has no word for is prefixed with ``x-``."""
        schema: dict[str, Any]
        if self.type == "category":
            kind = "string" if isinstance(self.values[0], str) else "integer"
            schema = {"type": kind, "enum": list(self.values)}
        else:
            schema = {"type": self.type}
        if self.is_numeric:
            schema["minimum"], schema["maximum"] = self.bounds
        if self.may_be_missing:
            schema["type"] = [schema["type"], "null"]
            if "enum" in schema:
                schema["enum"].append(None)
        said = {"title": self.title, "description": self.description, "x-unit": self.unit}
        return schema | {key: text for key, text in said.items() if text}


def _key(value: object) -> tuple[Any, Any]:
    """What makes two category values the same: 1.0 is 1, True is not, "1" is not."""
    if isinstance(value, float) and value.is_integer():
        return int, int(value)
    return (type(value), value) if isinstance(value, str | int | bool) else (object, None)


def _read_id(value: str | int | None) -> str | int | None:
    if not isinstance(value, str):
        return value
    fault = "" if value.strip() else "blank; expected an id"
    try:
        value.encode()
    except UnicodeEncodeError:
        fault = "expected an id of whole characters; half of one (a lone surrogate) is no text"
    if fault:
        raise PydanticCustomError("contract", "{fault}", {"fault": fault})
    return value


CustomerId = Annotated[
    StrictStr | StrictInt | None,
    AfterValidator(_read_id),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"\S"}, {"type": "integer"}, {"type": "null"}]}),
    Field(description="The customer's id"),
]

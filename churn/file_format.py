"""How a data set's CSV files are written."""

import codecs
from typing import Literal, Self

from pydantic import Field, model_validator

from churn.columns import Part


class FileFormat(Part):
    """How the data set's CSV files are written."""

    separator: str = Field(default=",", min_length=1, max_length=1)
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."
    blanks: list[str] = []
    """Texts that mean "no value", besides the empty cell. Where a category has such a text among
    its values, it is that value."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.separator in '"\r\n':
            raise ValueError(f"{self.separator!r} cannot separate columns")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError(f"there is no encoding {self.encoding!r}; usual ones are utf-8 and cp1252") from None
        return self

    @property
    def codec(self) -> str:
        """The encoding to read with: UTF-8 files may begin with a byte order mark."""
        return "utf-8-sig" if codecs.lookup(self.encoding).name == "utf-8" else self.encoding

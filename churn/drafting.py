"""A first contract for a file of customers, drafted by looking at it: what ``churn init`` does.

A draft never guesses silently: what cannot be told from the cells is refused with a word on how
to go on, all of it at once, and what is assumed stands in the file as a comment.
"""

import filecmp
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn import contract as contracts
from churn.contract import Contract, FileFormat
from churn.contract_file import in_line
from churn.data import validate
from churn.errors import ContractError, InvalidData, UnreadableFile
from churn.first_bands import propose
from churn.reading import is_parquet, read_rows
from churn.sketch import Sketch
from churn.sniffing import conventions, sniff

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
Note = Callable[[str], None]
Advance = Callable[[str, int], None]
"""Told what has been done, and how many hundredths of a draft that was."""
WHOLE = 100
_SNIFFED, _READ, _CONVENTIONS, _COLUMNS, _BANDS = 5, 20, 25, 30, 10
_OWNED = {"Yes", "yes", "True", "1"}


def _quietly(step: str, hundredths: int) -> None:
    log.debug("%s (%d %% of a draft)", step, hundredths)


def draft(
    source: Path,
    *,
    target: str,
    out: Path,
    id_column: str | None = None,
    positive: str | None = None,
    ignore: Sequence[str] = (),
    note: Note = log.info,
    advance: Advance = _quietly,
) -> Contract:
    """Look at a CSV or Parquet file, write ``out/contract.yaml`` and copy the rows beside it.

    Args:
        target: the column that says who left.
        id_column: the column that identifies a customer; without it, a column of unique values
            whose name says that it is an id is taken.
        positive: the target's value that means "has left", where its word does not say so.
        ignore: columns to leave out.
        note: told of everything that was assumed, when all has been looked at.
        advance: told how far it is; what it is given adds up to :data:`WHOLE`.

    Raises:
        UnreadableFile: the file cannot be read, or the folder not written.
        ContractError: columns that fit no type, with what to do about each; a contract or other
            rows that are there already.
    """
    _refuse_to_overwrite(source, out)
    form = FileFormat() if is_parquet(source) else sniff(source)
    advance("format", _SNIFFED)
    rows = read_rows(source, form)
    if rows.empty:
        raise UnreadableFile(f"{source}: the file has a header and no rows")
    advance("rows read", _READ)
    form = conventions(rows, form)
    advance("ways of writing", _CONVENTIONS)
    sketch = Sketch(rows, form, target, id_column, tuple(ignore), _columns_of(rows.shape[1], advance))
    contract = sketch.contract(_name(out), source.name, positive)
    frame = _held_against(contract, rows, source)
    advance("draft held against the rows", WHOLE - _SNIFFED - _READ - _CONVENTIONS - _COLUMNS - _BANDS)
    contract, about_bands = propose(frame, contract)
    advance("risk bands", _BANDS)
    left = frame[target].mean()
    if left > 0.5:
        sketch.notes.append(f"{left:.0%} of the rows have {contract.target.positive!r} in {target!r}: did they leave?")
    for remark in sketch.notes:
        note(remark)
    _write(out, source, "\n".join(_lines(contract, sketch.remarks, len(rows), about_bands)) + "\n")
    return contracts.load(out / "contract.yaml")


def _held_against(contract: Contract, rows: "pd.DataFrame", source: Path) -> "pd.DataFrame":
    try:
        return validate(rows, contract, target="required", source=str(source))
    except InvalidData as error:
        raise ContractError(error.report()) from error


def _columns_of(count: int, advance: Advance) -> Callable[[str], None]:
    parts = (_COLUMNS * (place + 1) // count - _COLUMNS * place // count for place in range(count))
    return lambda name: advance(name, next(parts))


def _name(out: Path) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", out.resolve().name.lower()).strip("-_") or "customers"


def _refuse_to_overwrite(source: Path, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ContractError(f"{out} is a file; --out names a folder")
    if (out / "contract.yaml").exists():
        raise ContractError(f"{out / 'contract.yaml'} is there already; remove it, or choose another folder")
    beside = out / source.name
    if source.is_file() and beside.exists() and not filecmp.cmp(source, beside, shallow=False):
        raise ContractError(f"{beside} is there already, with other rows; remove it, or choose another folder")


def _write(out: Path, source: Path, text: str) -> None:
    """The rows first, so that a contract never stands without them."""
    beside = out / source.name
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not beside.exists():
            scratch = beside.with_name(f".{beside.name}.part")
            shutil.copyfile(source, scratch)
            scratch.replace(beside)
        with (out / "contract.yaml").open("x", encoding="utf-8") as handle:
            handle.write(text)
    except OSError as error:
        raise UnreadableFile(f"{out}: cannot be written: {error.strerror or error}") from error


_HEADER = """\
# Drafted by `churn init` from {file} ({rows:,} rows). docs/bring-your-own-data.md explains every key.
# What only you can tell, and what to go through before the first training:
#   - target: is `positive` the value of a customer who left?
#   - is every feature known before a customer leaves? A reason for leaving, say, belongs under `ignored`.
#   - min and max: here they are twice what the rows show; a value outside is refused.
#   - blank: `missing` is imputed and named in the reply; where a gap means a value, say {{as: 0}}.
#   - actionable: true, for what the company can change, such as a price or the kind of contract.
#   - sensitive: true, for what a model must not treat people by; here only names were looked at.
#   - label, unit, description: what people read in the web app."""

_PRODUCTS = """\
# What a customer can own, told by columns of features; for example:
#   {name}: {{owned: [{value}], monthly_price: 5, label: {label}}}
products: {{}}

# Retention offers; for example:
#   discount: {{label: 20 % off for six months, cost: 90, bands: [high]}}
offers: {{}}"""


def _lines(contract: Contract, remarks: dict[str, str], rows: int, about_bands: str) -> Iterator[str]:
    plain = contract.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    yield _HEADER.format(file=contract.rows.training, rows=rows)
    yield from _block({key: plain[key] for key in ("name", "title", "rows") if key in plain})
    if contract.id:
        yield f"id: {in_line(contract.id)}{_comment(remarks.get(contract.id))}"
    yield from _block({"target": plain["target"]})
    yield "\nfeatures:"
    for name, entry in plain["features"].items():
        del entry["name"]
        yield f"  {in_line(name)}:"
        for key, value in entry.items():
            yield f"    {key}: {in_line(_short(value))}{_comment(_taught(key, value, remarks.get(name)))}"
    if contract.ignored:
        yield "\n# Carried along, and never seen by a model.\nignored:"
        yield from (f"  - {in_line(name)}{_comment(remarks.get(name))}" for name in contract.ignored)
    yield "\n# From which probability on a customer is in a band, and what is done then."
    yield f"# {about_bands}\nrisk:"
    yield from (f"  {band}: {in_line(_short(terms))}" for band, terms in plain["risk"].items())
    yield from _money(contract)
    yield _PRODUCTS.format(**_product_example(contract))


def _block(plain: dict[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in plain.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _block(value, indent + "  ")
        else:
            yield f"{indent}{key}: {in_line(value)}"


def _comment(remark: str | None) -> str:
    return f"  # {' '.join(remark.split())}" if remark else ""


def _taught(key: str, value: Any, remark: str | None) -> str | None:
    """What stands behind a feature's entry: what was seen of it, or a key that belongs beside it."""
    if key == "values" and isinstance(value[0], int):
        return 'value_labels: {0: "No", 1: "Yes"} would say what they mean'
    gaps = remark is not None and "blank" in remark
    return remark if key == ("blank" if gaps else "values") else None


def _short(value: Any) -> Any:
    """Whole numbers without a point, as people write them."""
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _money(contract: Contract) -> Iterator[str]:
    yield "\n# What a customer is worth a month: a numeric feature; and the currency of all amounts."
    if contract.monthly_value:
        yield f"monthly_value: {in_line(contract.monthly_value)}  # by its name"
    else:
        yield "# monthly_value: a column"
    yield 'currency: ""\n'


def _product_example(contract: Contract) -> dict[str, str]:
    for name, column in contract.features.items():
        owned = [value for value in (*column.values, column.type == "boolean") if str(value) in _OWNED]
        if owned and not column.sensitive:
            return {"name": in_line(name), "value": in_line(owned[0]), "label": in_line(column.title)}
    return {"name": "column", "value": "true", "label": "Its name"}

"""A page of the scored customer base: filtered, sorted and counted by the database's indexes."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import and_, func, select

from churn.catalogue import BANDS, Band
from churn.customer_scores import Row, Run, row_of
from churn.schema import customer_scores, portfolio

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from churn.store import Store

MOST_ROWS = 500
"""Customers of one page."""
Sort = Literal["value", "probability", "revenue_at_risk", "expected_profit", "customer_id"]
Order = Literal["asc", "desc"]
_LAST = "\U0010ffff"
"""The last character there is: no text that begins with a prefix comes behind prefix and this."""
_T = customer_scores.c
_FEW = 2_000
_SORTED_BY = {
    "customer_id": _T.customer_id,
    "probability": _T.probability,
    "revenue_at_risk": _T.revenue_at_risk,
    "expected_profit": _T.expected_profit,
}


@dataclass(frozen=True)
class Wish:
    """Which customers, in which order, and which page of them. Without a word: of each band, high
    first, the most revenue at risk."""

    risk: Band | None = None
    persona: str | None = None
    min_probability: float | None = None
    max_probability: float | None = None
    min_revenue: float | None = None
    """Of the revenue at risk; customers whose is unknown are not among those of more than 0."""
    search: str = ""
    """The beginning of the customer's id."""
    sort: Sort = "value"
    order: Order = "desc"
    page: int = 1
    limit: int = 50


def page(store: "Store", run: Run, wish: Wish) -> tuple[list[Row], int]:
    """The rows of a page, and how many customers fit the wish in all.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    if "\0" in wish.search + (wish.persona or ""):  # PostgreSQL has no such text
        return [], 0
    start = (wish.page - 1) * wish.limit
    with store.read() as connection:
        total = _count(connection, run, wish)
        end = min(start + wish.limit, total)
        if start >= end:
            return [], total
        if total <= _FEW and wish.search:  # reading them all is less work than looking for them in their order
            return _found(connection, run, wish)[start:end], total
        if wish.sort == "value":
            return _by_band(connection, run, wish, start, end), total
        return _slice(connection, wish, _fits(run, wish, _SORTED_BY[wish.sort]), start, end, total), total


def _fits(run: Run, wish: Wish, lead: Any) -> "list[ColumnElement[bool]]":
    """The wish as conditions.

    Args:
        lead: the column by whose index the rows are to be found. The conditions on others are asked
            of what stands beside it there, and veiled, so that no index of theirs is taken instead.
    """
    low, high = _range(run, wish)
    asked: list[ColumnElement[bool]] = [_T.run_id == run.id]

    def of(column: Any) -> Any:
        return column if column is lead else func.coalesce(column, None)

    if low is not None:
        asked.append(of(_T.probability) >= low)
    if high is not None:
        asked.append(of(_T.probability) < high)
    if wish.max_probability is not None:
        asked.append(of(_T.probability) <= wish.max_probability)
    if wish.persona is not None:
        asked.append(_T.persona == wish.persona)
    if wish.min_revenue is not None:
        asked.append(of(_T.revenue_at_risk) >= wish.min_revenue)
    if wish.search:
        asked.append(and_(of(_T.customer_id) >= wish.search, of(_T.customer_id) < wish.search + _LAST))
    return asked


def _in_band(run: Run, wish: Wish) -> "list[ColumnElement[bool]]":
    """The wish as conditions of the index that has the revenue at risk within each band."""
    return [_T.risk == wish.risk, *_fits(run, replace(wish, risk=None), _T.revenue_at_risk)]


def _range(run: Run, wish: Wish) -> tuple[float | None, float | None]:
    """From which probability on, and below which: a band is a range of them."""
    low = high = None
    if wish.risk:
        starts: dict[str, float] = run.facts["bands"]
        above = BANDS.index(wish.risk) - 1
        low = starts[wish.risk]
        high = starts[BANDS[above]] if above >= 0 else None
    if wish.min_probability is not None:
        low = max(low or 0.0, wish.min_probability)
    return low, high


def _count(connection: "Connection", run: Run, wish: Wish) -> int:
    fits = None
    if wish.search:
        fits = _fits(run, wish, _T.customer_id)
    elif wish.min_probability is not None or wish.max_probability is not None:
        fits = _fits(run, wish, _T.probability)
    elif wish.min_revenue is not None:
        fits = _in_band(run, wish) if wish.risk else _fits(run, wish, _T.revenue_at_risk)
    if fits is not None:
        asked = select(func.count()).select_from(customer_scores).where(*fits)
        return int(connection.execute(asked).scalar_one())
    told = portfolio.c
    sums = select(func.coalesce(func.sum(told.customers), 0)).where(told.run_id == run.id)
    if wish.risk:
        sums = sums.where(told.risk == wish.risk)
    if wish.persona is not None:
        sums = sums.where(told.persona == wish.persona)
    return int(connection.execute(sums).scalar_one())


def _found(connection: "Connection", run: Run, wish: Wish) -> list[Row]:
    """All rows that fit, in their order."""
    found = connection.execute(customer_scores.select().where(*_fits(run, wish, _T.customer_id)))

    def rank(row: Row) -> tuple[Any, ...]:
        revenue = row.revenue_at_risk or 0.0
        by = (-BANDS.index(row.risk), revenue) if wish.sort == "value" else (getattr(row, wish.sort) or 0.0,)
        return (*by, row.customer_id) if wish.sort != "customer_id" else (row.customer_id,)

    return sorted((row_of(one) for one in found), key=rank, reverse=wish.order == "desc")


def _slice(
    connection: "Connection", wish: Wish, fits: "list[ColumnElement[bool]]", start: int, end: int, total: int
) -> list[Row]:
    """Rows from ``start`` to before ``end``; those of the far half are counted from the far end."""
    falls = wish.order == "desc"
    backwards = start > total - end
    by: list[Any] = [_T.customer_id]
    if wish.sort != "customer_id":
        by.insert(0, _SORTED_BY[wish.sort])
    ordered = [column.desc() if falls != backwards else column.asc() for column in by]
    skipped = total - end if backwards else start
    found = connection.execute(
        customer_scores.select().where(*fits).order_by(*ordered).offset(skipped).limit(end - start)
    )
    rows = [row_of(one) for one in found]
    return rows[::-1] if backwards else rows


def _by_band(connection: "Connection", run: Run, wish: Wish, start: int, end: int) -> list[Row]:
    """One band after the other, in each by the revenue at risk."""
    rows: list[Row] = []
    bands = BANDS if wish.order == "desc" else BANDS[::-1]
    for band in [wish.risk] if wish.risk else bands:
        size = _count(connection, run, replace(wish, risk=band))
        if start < size and end > 0:
            fits = _in_band(run, replace(wish, risk=band))
            of_band = replace(wish, sort="revenue_at_risk")
            rows += _slice(connection, of_band, fits, max(start, 0), min(end, size), size)
        start, end = start - size, end - size
    return rows


__all__ = ["MOST_ROWS", "Order", "Sort", "Wish", "page"]

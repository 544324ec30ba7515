"""Whether a recommender may go into service: it beats its baselines, and is no worse than the champion.

That it beats EASE and popularity is shown on the folds of its training (:class:`churn.judged.Judged`); no
version comes into service without. That it is no worse than the champion is shown as for the classifier
(:mod:`churn.gate`), on the gate set's customers, which neither was fitted on: of each who owns two
products or more, both rank the same hidden one among what he could be served.
"""

from typing import TYPE_CHECKING, Protocol

import numpy as np

from churn import hidden_products, ranking_metrics
from churn.gate import SMALLEST_SET, Verdict, upper_bound
from churn.ownership import Ownership
from churn.ranking_metrics import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.encoding import Encoded
    from churn.hidden_products import Hidden

    Floats = NDArray[np.float64]

MARGIN = 0.02
"""In nDCG at 5: by how much a challenger may be worse and still pass."""
PLACES = 5


class Likes(Protocol):
    """What scores items for customers, higher being better."""

    @property
    def items(self) -> tuple[str, ...]: ...

    def liking(self, encoded: "Encoded", /) -> "Floats": ...


def judge(
    not_beaten: list[str],
    contract: "Contract",
    encoded: "Encoded",
    challenger: Likes,
    champion: Likes | None,
    *,
    margin: float = MARGIN,
    draws: int = 2000,
    seed: int,
) -> Verdict:
    """Judge a challenger on the gate set's customers.

    It passes if nothing speaks against it on the folds, and if the upper 95 % bound of the champion's nDCG
    at 5 less the challenger's is below the margin. Without a champion the folds alone decide. Fewer than
    50 customers with a hidden product are too few to tell: refused.

    Args:
        not_beaten: the reasons of :attr:`churn.judged.Judged.not_beaten`.
        contract: of the gate set's rows.
        seed: fixes which product of each customer is hidden, and the bootstrap's draws.
    """
    hidden = hidden_products.one_each(Ownership(contract), contract, encoded, seed)
    hidden = hidden.at(np.flatnonzero((hidden.relevant & hidden.possible).any(axis=1)))
    figures = {"customers": float(len(hidden))}
    if len(hidden) < SMALLEST_SET:
        return Verdict(False, [*not_beaten, _too_small(len(hidden))], figures)
    reasons, ours = list(not_beaten), gains(challenger, hidden, list(contract.products))
    figures["ndcg_at_5"] = float(ours.mean())
    if champion is not None:
        theirs = gains(champion, hidden, list(contract.products))
        lost, upper = float((theirs - ours).mean()), upper_bound(theirs - ours, draws, seed)
        figures |= {"champion_ndcg_at_5": float(theirs.mean()), "ndcg_loss": lost, "ndcg_loss_upper": upper}
        if not upper < margin:
            reasons.append(
                f"nDCG at 5, against the champion: {lost:+.4f} lost with an upper 95 % bound of {upper:+.4f}, "
                f"not below {margin:g}"
            )
    return Verdict(not reasons, reasons, figures)


def gains(recommender: Likes, hidden: "Hidden", products: list[str]) -> "Floats":
    """The nDCG at 5 of each customer's hidden product among what he could be served, (m,).

    A product that the recommender does not know comes after all that it does.
    """
    liking, place = recommender.liking(hidden.encoded), {item: at for at, item in enumerate(recommender.items)}
    scores = np.full(hidden.known.shape, liking.min(initial=0.0) - 1)
    for column, product in enumerate(products):
        if product in place:
            scores[:, column] = liking[:, place[product]]
    return ranking_metrics.ndcg(Ranking.of(scores, hidden.relevant, hidden.possible), PLACES)


def _too_small(customers: int) -> str:
    return (
        f"the gate set is too small to tell: {customers:,} customers who own two products or more; "
        f"at least {SMALLEST_SET} are needed"
    )

"""What is recommended, held against the rules said another way: who may have it, what it does, what it is worth."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from churn import combinations, shares
from churn import contract as contracts
from churn.advice import Advice, Wish
from churn.advice_wording import _alike_text
from churn.batch_advice import BatchAdvice
from churn.catalogue import BANDS, RankWeights
from churn.contract import Contract
from churn.encoding import Encoded, Encoder
from churn.errors import InvalidData, NotReady
from churn.interactions import Counts
from churn.liking import Scaling, Vectors
from churn.ranking import smoothed
from churn.recommender import Recommender
from churn.scoring import ModelVersion, Scorer
from churn.uptake import Uptake
from churn.user_features import UserFeatures

PLAIN: dict[str, Any] = {
    "name": "club",
    "rows": {"training": "rows.csv"},
    "id": "member",
    "target": {"column": "left", "values": [0, 1], "positive": 1},
    "features": {
        "years": {"type": "integer", "min": 0, "max": 50, "label": "Years"},
        "net": {"type": "category", "values": ["none", "slow", "fast"], "label": "Net"},
        "guard": {"type": "category", "values": ["no net", "yes", "no"], "label": "Guard"},
        "film": {"type": "category", "values": ["no net", "no", "yes"], "label": "Film"},
        "line": {"type": "category", "values": ["no", "yes"], "label": "Line"},
        "second": {"type": "category", "values": ["no line", "no", "yes"], "label": "Second line"},
        "locker": {"type": "boolean", "blank": "missing", "label": "Locker"},
        "term": {"type": "category", "values": ["month", "year"], "label": "Term"},
        "fee": {"type": "number", "min": 0, "max": 100, "blank": "missing"},
    },
    "risk": {
        "high": {"threshold": 0.6, "action": "x"},
        "medium": {"threshold": 0.3, "action": "y"},
        "low": {"threshold": 0, "action": "z"},
    },
    "monthly_value": "fee",
    "economics": {"customer_value": 300, "value_months": 10, "months": 6, "acceptance": {"alpha": 3, "beta": 7}},
    "products": {
        "guard": {"owned": ["yes"], "requires": {"net": ["slow", "fast"]}, "monthly_price": 4, "monthly_cost": 1,
                  "bundle": "net", "label": "The guard"},
        "film": {"owned": ["yes"], "requires": {"net": ["fast"]}, "monthly_price": 9, "bundle": "net"},
        "line": {"owned": ["yes"], "monthly_price": 20, "monthly_cost": 5},
        "second": {"owned": ["yes"], "requires": {"line": ["yes"]}, "monthly_price": 3},
        "locker": {"owned": [True], "monthly_price": 2},
    },
    "offers": {
        "cheaper": {"label": "A fifth off", "cost": 12, "acceptance": 0.8, "bands": ["high", "medium"],
                    "discount": 0.2},
        "year": {"label": "A year", "cost": 6, "eligibility": {"term": ["month"]}, "bands": list(BANDS),
                 "changes": {"term": "year"}},
        "gift": {"label": "A gift", "cost": 3, "acceptance": 0.4, "bands": ["low", "medium"]},
    },
    "recommendation": {"weights": {"liking": 1, "risk": 2, "margin": 0.5}, "control": 0.1},
}  # fmt: skip
OWNED: dict[str, Any] = {"guard": "yes", "film": "yes", "line": "yes", "second": "yes", "locker": True}


@pytest.fixture(scope="module")
def contract() -> Contract:
    return contracts.parse(PLAIN)


class Logistic:
    """A score that every column moves."""

    def __init__(self, contract: Contract) -> None:
        dice = np.random.default_rng(3)
        encoder = Encoder(contract)
        self.numbers = dice.normal(0, 0.03, len(encoder.numeric))
        self.codes = dice.normal(0, 0.7, (len(encoder.categorical), 4))

    def probabilities(self, encoded: Encoded) -> np.ndarray:
        score = np.nan_to_num(encoded.numbers) @ self.numbers
        for place, column in enumerate(encoded.codes.T):
            score = score + self.codes[place][column]
        return 1 / (1 + np.exp(-score))

    features = probabilities


def rows(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """Members as they come: what hangs on a thing says so where there is none."""
    dice = np.random.default_rng(seed)
    found = []
    for number in range(count):
        net, line = str(dice.choice(["none", "slow", "fast"])), str(dice.choice(["no", "yes"]))
        guard, film = ("no net", "no net") if net == "none" else (str(dice.choice(["no", "yes"])) for _ in range(2))
        found.append(
            {
                "member": f"m{number}",
                "years": int(dice.integers(0, 50)),
                "net": net,
                "guard": guard,
                "film": film if net != "slow" else "no",
                "line": line,
                "second": "no line" if line == "no" else str(dice.choice(["no", "yes"])),
                "locker": [None, False, True][dice.integers(0, 3)],
                "term": str(dice.choice(["month", "year"])),
                "fee": None if dice.random() < 0.1 else float(dice.integers(0, 100)),
            }
        )
    return found


@pytest.fixture(scope="module")
def scorer(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder = tmp_path_factory.mktemp("seen")
    combinations.write(folder / combinations.FILE, contract, Encoder(contract).customers(rows(300)))
    seen = combinations.load(folder, contract)
    return Scorer(Logistic(contract), contract, 0.2, ModelVersion("classifier", "1"), seen=seen)


@pytest.fixture(scope="module")
def recommender(contract: Contract) -> Recommender:
    """One over made-up vectors, whose counts and popularity are those of the made-up members."""
    encoded = Encoder(contract).customers(rows(300))
    features = UserFeatures.fit(contract, encoded)
    traits, owned = features.traits(encoded), features.owned(encoded)
    allowed = features.ownership.allowed(encoded)
    dice = np.random.default_rng(1)
    items = (*contract.products, "gift")
    vectors = Vectors(
        dice.normal(0, 0.5, (len(features), 4)).astype(np.float32),
        dice.normal(0, 0.5, (len(items), 4)).astype(np.float32),
        dice.normal(0, 0.5, len(items)).astype(np.float32),
    )
    has = np.zeros((len(traits), len(features)))
    np.put_along_axis(has, traits, 1, axis=1)
    has[:, len(features) - owned.shape[1] :] = owned
    return Recommender(
        contract, ModelVersion("recommender", "1"), items, features, vectors, Scaling(1.0, -0.5),
        np.array([*(owned & allowed).sum(axis=0) / allowed.sum(axis=0), 0.1]),
        shares.count(traits, owned, allowed, features.nameable), has.mean(axis=0), {},
    )  # fmt: skip


@pytest.fixture(scope="module")
def advice(recommender: Recommender, scorer: Scorer) -> Advice:
    return Advice(recommender, scorer)


def may_have(contract: Contract, member: dict[str, Any], band: str) -> set[str]:
    """The rules, in plain words."""
    found = set()
    for name, entry in contract.products.items():
        has_what_it_needs = all(member[needed] in allowed for needed, allowed in entry.requires.items())
        if member[name] not in entry.owned and has_what_it_needs:
            found.add(name)
    for name, offer in contract.offers.items():
        if band in offer.bands and all(member[column] in values for column, values in offer.eligibility.items()):
            found.add(name)
    return found


def after(contract: Contract, member: dict[str, Any], item: str) -> dict[str, Any]:
    """The member once he has taken an item."""
    changed = {item: OWNED[item]} if item in contract.products else dict(contract.offers[item].changes)
    if item == "line" and member["second"] == "no line":
        changed["second"] = "no"
    fee = member["fee"]
    if fee is not None and item in contract.products:
        fee += contract.products[item].monthly_price
    elif fee is not None:
        fee *= 1 - contract.offers[item].discount
    return {**member, **changed, "fee": fee}


ALL = Wish(k=50)


def usual_liking(recommender: Recommender, item: str) -> float:
    """How the members that the recommender was made of like an item on average, asked one by one."""
    encoded = Encoder(recommender.contract).customers(rows(300))
    return float(recommender.liking(encoded)[:, recommender.items.index(item)].mean())


def test_exactly_what_a_customer_may_have_is_recommended(advice: Advice, scorer: Scorer, contract: Contract) -> None:
    bands = set()
    for member in rows(200, seed=9):
        band = scorer.predict([member])[0].risk
        found = advice.recommend(member, ALL)
        assert found.band == band
        assert {one.item for one in found.items} == may_have(contract, member, band)
        assert all(one.kind == ("offer" if one.item in contract.offers else "product") for one in found.items)
        scores = [one.score for one in found.items]
        assert scores == sorted(scores, reverse=True)
        assert [one.item for one in advice.recommend(member).items] == [one.item for one in found.items[:3]]
        bands.add(band)
    assert bands == set(BANDS)


def test_after_is_what_the_classifier_says_of_the_changed_customer(
    advice: Advice, scorer: Scorer, contract: Contract
) -> None:
    unseen = 0
    for member in rows(200, seed=9):
        before = scorer.predict([member])[0].churn_probability
        for one in advice.recommend(member, ALL).items:
            changed = after(contract, member, one.item)
            assert one.before == pytest.approx(before, abs=1e-12)
            blind = one.item == "gift" or (one.item == "cheaper" and member["fee"] is None)
            if blind or contract.features["fee"].read(changed["fee"])[1]:
                assert one.after is None
                assert one.risk_basis == ("acceptance" if one.kind == "offer" else None)
                unseen += 1
            else:
                assert one.after == pytest.approx(scorer.predict([changed])[0].churn_probability, abs=1e-12)
                assert one.risk_basis == "model"
    assert unseen


def test_the_score_is_the_sum_of_its_parts_by_the_contracts_weights(
    advice: Advice, recommender: Recommender, contract: Contract
) -> None:
    acceptance = {"cheaper": 0.8, "year": 0.3}
    usual = usual_liking(recommender, "gift")
    for member in rows(50, seed=9):
        encoded = advice.scorer.encoder.customers([member])
        liking = dict(zip(recommender.items, recommender.liking(encoded)[0], strict=True))
        worth = 10 * member["fee"] if member["fee"] else 300
        for one in advice.recommend(member, ALL).items:
            if one.kind == "product":
                entry = contract.products[one.item]
                propensity = 1 / (1 + np.exp(-(liking[one.item] - 0.5)))
                margin, cost = 6 * (entry.monthly_price - entry.monthly_cost), 6 * entry.monthly_cost
                drop = 0 if one.after is None else one.before - one.after
            else:
                learned = 1 / (1 + 0.6 / 0.4 * np.exp(usual - liking["gift"]))
                propensity, cost = acceptance.get(one.item, learned), contract.offers[one.item].cost
                margin = -cost
                drop = one.before * propensity if one.after is None else one.before - one.after
            assert one.liking == pytest.approx(liking[one.item]) if one.item in liking else one.liking is None
            assert (one.propensity, one.margin, one.cost) == pytest.approx((propensity, margin, cost))
            assert one.rank == pytest.approx({"liking": propensity, "risk": 2 * drop, "margin": 0.5 * margin / worth})
            assert one.score == pytest.approx(sum(one.rank.values()))


def test_a_row_that_nobody_was_like_is_not_scored(recommender: Recommender, scorer: Scorer) -> None:
    """Where a column holds what never stood beside the new value, and nothing that did is free."""
    assert scorer.seen
    together = scorer.seen.together.copy()
    places = scorer.seen.places
    line = places.categorical.index("line")
    second = places.categorical.index("second")
    yes = int(places.starts[line]) + 1
    rows_of_second = slice(int(places.starts[second]), int(places.starts[second]) + 2)
    together[yes, rows_of_second] = together[rows_of_second, yes] = False
    blind = replace(scorer, seen=replace(scorer.seen, together=together))
    member = next(one for one in rows(50) if one["line"] == "no")
    found = {one.item: one for one in Advice(recommender, blind).recommend(member, ALL).items}
    assert found["line"].after is None
    assert found["line"].rank["risk"] == 0
    elsewhere = next(one for one in rows(50) if one["line"] == "yes" and one["locker"] is False and one["fee"])
    found = {one.item: one for one in Advice(recommender, blind).recommend(elsewhere, ALL).items}
    assert found["locker"].risk_basis == "model"


def test_a_version_from_before_what_was_seen_together_leaves_other_columns(
    recommender: Recommender, scorer: Scorer, contract: Contract
) -> None:
    old = Advice(recommender, replace(scorer, seen=None))
    member = next(one for one in rows(50) if one["line"] == "no" and (one["fee"] or 99) < 50)
    found = {one.item: one for one in old.recommend(member, ALL).items}
    changed = after(contract, member, "line") | {"second": "no line"}
    assert found["line"].after == pytest.approx(scorer.predict([changed])[0].churn_probability, abs=1e-12)


def test_what_is_held_back_makes_room_for_the_next(advice: Advice) -> None:
    member = rows(1, seed=9)[0]
    order = [one.item for one in advice.recommend(member, ALL).items]
    found = advice.recommend(member, Wish(k=2), {order[0], order[-1], "nothing of that name"})
    assert [one.item for one in found.items] == order[1:3]
    assert found.held_back == [order[0]]
    everything = advice.recommend(member, ALL, set(order))
    assert (everything.items, sorted(everything.held_back)) == ([], sorted(order))


def test_a_wish_narrows_what_is_recommended(advice: Advice, contract: Contract) -> None:
    member = rows(1, seed=9)[0]
    order = [one.item for one in advice.recommend(member, ALL).items]
    for wish, left in (
        (Wish(50, kinds=["offer"]), [one for one in order if one in contract.offers]),
        (Wish(50, kinds=["product", "offer"]), order),
        (Wish(50, items=order[1:2]), order[1:2]),
        (Wish(50, exclude=order[:1]), order[1:]),
        (Wish(50, max_cost=5), [one for one in order if advice.ranking.cost[advice.ranking.names.index(one)] <= 5]),
    ):
        assert [one.item for one in advice.recommend(member, wish).items] == left
    with pytest.raises(InvalidData) as error:
        advice.recommend(member, Wish(items=["boat"], exclude=["car"]))
    assert [(one.field, one.value) for one in error.value.faults] == [("items", "boat"), ("exclude", "car")]
    assert "guard" in error.value.faults[0].message


def test_of_whom_nothing_is_known_gets_what_most_own_of_what_needs_nothing(
    advice: Advice, recommender: Recommender
) -> None:
    found = advice.popular(ALL)
    assert (found.basis, found.band) == ("popularity", None)
    assert {one.item for one in found.items} == {"line", "locker"}
    for one in found.items:
        share = recommender.popularity[recommender.items.index(one.item)]
        assert (one.propensity, one.rank["liking"], one.rank["risk"]) == (share, share, 0)
        assert (one.before, one.after, one.liking) == (None, None, None)
        assert [reason.kind for reason in one.reasons] == ["popularity"]
    assert [one.item for one in advice.popular(Wish(exclude=["line"])).items] == ["locker"]
    assert advice.popular(ALL, {"locker"}).held_back == ["locker"]


def test_what_became_of_an_offer_moves_its_acceptance(recommender: Recommender, scorer: Scorer) -> None:
    assert smoothed(0.4, None) == 0.4
    assert smoothed(0.4, Counts(80, 0, 60)) == (20 * 0.4 + 0) / 100
    assert smoothed(0.5, Counts(0, 10, 10)) == (10 + 10) / 40  # answers without a showing are contacts, too
    told = Advice(recommender, scorer, {"gift": Counts(80, 8, 30), "boat": Counts(9, 9, 0)})
    member = next(one for one in rows(99) if scorer.predict([one])[0].risk == "low")
    (gift,) = told.recommend(member, Wish(items=["gift"])).items
    assert gift.liking is not None
    leaning = gift.liking - usual_liking(recommender, "gift")
    assert gift.propensity == pytest.approx(1 / (1 + 84 / 16 * np.exp(-leaning)))  # 16 in 100, (20 * 0.4 + 8) / 100
    assert gift.rank["risk"] == pytest.approx(2 * gift.propensity * gift.before)
    assert [(one.text, one.share, one.customers) for one in gift.reasons] == [
        ("Accepted by 8 of the 80 customers who were shown it", 0.1, 80)
    ]


def test_who_likes_a_learned_offer_more_than_most_is_likelier_to_get_it(
    recommender: Recommender, scorer: Scorer, contract: Contract
) -> None:
    members = rows(300)
    encoded = Encoder(contract).customers(members)
    liking = recommender.liking(encoded)
    usual = usual_liking(recommender, "gift")
    for version in (recommender, replace(recommender, scaling=Scaling(3.0, 0.2))):
        advice = Advice(version, scorer)
        cheaper, year, gift = advice.propensity(liking)[:, -3:].T
        assert (cheaper == 0.8).all()  # nobody has learned these two
        assert (year == advice.ranking.acceptance[1]).all()
        gone = liking[:, -1] - usual
        assert ((gift > 0.4) == (gone > 0)).all()
        assert np.array_equal(np.argsort(gift), np.argsort(liking[:, -1]))
        log_odds = np.log(gift / (1 - gift))
        assert log_odds.mean() == pytest.approx(np.log(0.4 / 0.6))
        assert log_odds - np.log(0.4 / 0.6) == pytest.approx(version.scaling.slope * gone)
    assert len({round(one, 3) for one in gift.tolist()}) > 20


def test_a_learned_offers_place_in_the_list_hangs_on_the_customer(recommender: Recommender, scorer: Scorer) -> None:
    weights = {"weights": RankWeights(liking=1, risk=0, margin=0)}
    recommendation = recommender.contract.recommendation.model_copy(update=weights)
    by_liking = recommender.contract.model_copy(update={"recommendation": recommendation})
    advice = Advice(replace(recommender, contract=by_liking), scorer)
    members = rows(200, seed=9)
    encoded = scorer.encoder.customers(members)
    ranked = BatchAdvice(advice).rank(encoded, scorer.probabilities(encoded), None, 50)
    gift_before_year = set()
    for member, places in zip(members, ranked.places, strict=True):
        names = [one.item for one in advice.recommend(member, ALL).items]
        assert names == [ranked.items[place] for place in places if place >= 0]
        if {"gift", "year"} <= set(names):
            gift_before_year.add(names.index("gift") < names.index("year"))
    assert gift_before_year == {True, False}


@pytest.mark.parametrize("acceptance", [0.0, 1.0])
def test_what_everybody_or_nobody_accepts_stays_so(recommender: Recommender, scorer: Scorer, acceptance: float) -> None:
    gift = recommender.contract.offers["gift"].model_copy(update={"acceptance": acceptance})
    contract = recommender.contract.model_copy(update={"offers": recommender.contract.offers | {"gift": gift}})
    steep = replace(recommender, contract=contract, scaling=Scaling(1e5, 0.0))
    encoded = Encoder(contract).customers(rows(300))
    with np.errstate(all="raise", under="ignore"):
        told = Advice(steep, scorer).propensity(steep.liking(encoded))
    assert (told[:, -1] == acceptance).all()


def test_every_reason_is_true_of_the_training_rows(advice: Advice, recommender: Recommender) -> None:
    members = rows(300)
    kinds = set()
    for member in rows(100, seed=9):
        for one in advice.recommend(member, ALL).items:
            for reason in one.reasons:
                kinds.add(reason.kind)
                if reason.kind == "popularity":
                    entry = advice.contract.products[one.item]
                    able = [m for m in members if all(m[c] in v for c, v in entry.requires.items())]
                    assert reason.share == pytest.approx(np.mean([m[one.item] in entry.owned for m in able]))
                elif reason.kind == "bundle":
                    other = {"guard": "film", "film": "guard"}[one.item]
                    assert member[other] == "yes"
                    assert "(net)" in reason.text
                elif reason.kind == "alike":
                    assert reason.customers >= shares.MIN_CUSTOMERS
                    assert reason.share > recommender.popularity[recommender.items.index(one.item)]
    assert kinds == {"alike", "popularity", "bundle", "acceptance"}


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (("Month-to-month contract", "DSL internet service"), "month-to-month contract and DSL internet service"),
        (("Has a partner",), "“Has a partner”"),
        (("Payment method: credit card (automatic)",), "“Payment method: credit card (automatic)”"),
    ],
)
def test_traits_stand_in_a_sentence(labels: tuple[str, ...], told: str) -> None:
    assert _alike_text(0.7, labels, requires=False) == f"Owned by about 7 in 10 customers with {told}"


def test_no_reason_names_a_sensitive_product(recommender: Recommender, scorer: Scorer) -> None:
    quiet = {"guard": {**PLAIN["features"]["guard"], "sensitive": True}}
    contract = contracts.parse({**PLAIN, "features": PLAIN["features"] | quiet})
    features = UserFeatures(contract, recommender.features.seen)
    told = Advice(replace(recommender, contract=contract, features=features), replace(scorer, contract=contract))
    reasons: dict[str, list[str]] = {"guard": [], "film": []}
    for member in rows(200, seed=9):
        for one in told.recommend(member, ALL).items:
            assert not [reason for reason in one.reasons if "guard" in reason.text]
            if one.item in reasons:
                reasons[one.item] += [reason.kind for reason in one.reasons]
    assert "bundle" in reasons["guard"]
    assert "bundle" not in reasons["film"]


def test_a_contract_of_numbers_alone_has_no_codes_to_change() -> None:
    features = {name: {"type": "integer", "min": 0, "max": 50} for name in ("visits", "weeks")}
    offers = {"more": {"label": "More", "cost": 1, "changes": {"weeks": 26}}, "gift": {"label": "A gift", "cost": 1}}
    told = {name: part for name, part in PLAIN.items() if name not in ("monthly_value", "economics")}
    contract = contracts.parse({**told, "features": features, "products": {}, "offers": offers})
    encoded = Encoder(contract).customers([{"visits": 3, "weeks": 4}])
    changed, there = Uptake(contract, None).rows(encoded, np.array([0, 1]))
    assert there.tolist() == [0]
    assert changed.numbers.tolist() == [[3, 26]]
    without = contracts.parse({**told, "features": features, "products": {}, "offers": {}})
    assert Uptake(without, None).rows(encoded, np.empty(0, dtype=np.int64))[1].tolist() == []


def test_a_reason_says_its_share_in_tenths(advice: Advice) -> None:
    for member in rows(30, seed=9):
        for one in advice.recommend(member, ALL).items:
            for reason in one.reasons:
                if reason.kind in ("alike", "popularity") and 0.05 <= reason.share <= 0.95:
                    assert f"about {round(10 * reason.share)} in 10 customers" in reason.text
                    assert reason.text.endswith(" who can have it") == bool(advice.contract.products[one.item].requires)


def test_many_customers_at_once_are_ranked_as_one_is_where_no_model_is_asked(advice: Advice, scorer: Scorer) -> None:
    members = rows(60, seed=9)
    encoded = scorer.encoder.customers(members)
    ranked = BatchAdvice(advice).rank(encoded, scorer.probabilities(encoded), None, 50)
    for member, places, scores in zip(members, ranked.places, ranked.scores, strict=True):
        one_by_one = {one.item: one for one in advice.recommend(member, ALL).items}
        names = [ranked.items[place] for place in places if place >= 0]
        assert set(names) == set(one_by_one)
        for name, score in zip(names, scores[: len(names)], strict=True):
            one = one_by_one[name]
            if one.risk_basis != "model":
                assert one.score == pytest.approx(score, abs=1e-12)
            else:
                assert score - one.rank["liking"] - one.rank["margin"] == pytest.approx(
                    2 * one.before * one.propensity if one.kind == "offer" else 0, abs=1e-12
                )


def test_the_same_customer_gets_the_same_answer(advice: Advice, recommender: Recommender, scorer: Scorer) -> None:
    again = Advice(recommender, scorer)
    for member in rows(20, seed=9):
        assert advice.recommend(member) == advice.recommend(member) == again.recommend(member)


def test_versions_of_other_rows_are_told_apart(recommender: Recommender, contract: Contract) -> None:
    other = contracts.parse({**PLAIN, "features": {**PLAIN["features"], "more": {"type": "boolean"}}})
    with pytest.raises(NotReady, match="other rows"):
        Advice(recommender, Scorer(Logistic(other), other, 0.2, ModelVersion("m", "2")))

"""The application factory: the one place where the API's parts are put together.

``gunicorn "api.app:create_app()"`` builds the real thing; a test passes other parts in.
"""

from typing import TYPE_CHECKING

from flask_openapi import Info, OpenAPI
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response

from api import (
    access,
    campaigns,
    customer_list,
    explain,
    health,
    interactions,
    metrics,
    models,
    monitoring,
    outcomes,
    pipelines,
    portfolio,
    predict,
    problems,
    promotions,
    rates,
    recommend,
    schema,
    score,
    segments,
    whatif,
)
from api.adviser import Adviser
from api.bodies import refuse_query
from api.document import Document
from api.keeper import Keeper
from api.replies import Problem
from api.score_desk import ScoreDesk
from api.serving import Serving
from churn import __version__
from churn.kinds import RECOMMENDER
from churn.pipelines import Pipelines
from churn.services import keys_required
from churn.settings import Settings, load

if TYPE_CHECKING:
    from churn.recommender import Recommender
    from churn.scoring import Scorer

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request: a thousand customers of a hundred columns fit."""

DESCRIPTION = """Churn probabilities, from the champion in the registry. Customers are given in the
columns of the data set's contract (`GET /schema`); faults are told as RFC 9457 problems."""


PARTS = (
    predict,
    explain,
    whatif,
    recommend,
    interactions,
    campaigns,
    customer_list,
    portfolio,
    segments,
    schema,
    models,
    promotions,
    pipelines,
    score,
    outcomes,
    monitoring,
    health,
    metrics,
)
"""What the API can do, in the order of its document."""


def create_app(
    settings: Settings | None = None,
    *,
    serving: "Serving[Scorer] | None" = None,
    recommender: "Serving[Recommender] | None" = None,
    pipelines_of: Pipelines | None = None,
    keeper: Keeper | None = None,
    desk: ScoreDesk | None = None,
) -> OpenAPI:
    """The API.

    Args:
        serving: what holds the classifier in service; left out, one that follows the registry from
            now on, and the recommender's with it.
        recommender: the same of the recommender; left out beside a `serving`, one that looks when
            it is first asked.
        pipelines_of: the client of Airflow; left out, one that the settings describe.
        keeper: what attends to the store; left out, one that begins to do so now.
        desk: what attends to files that are scored; left out, one that begins to do so now.
    """
    settings = settings or load()
    if serving is None:
        serving = Serving(settings)
        recommender = recommender or serving.beside(RECOMMENDER)
        serving.follow(settings.reload_seconds)
        recommender.follow(settings.reload_seconds)
    if keeper is None:
        keeper = Keeper(settings)
        keeper.start()
    if desk is None:
        desk = ScoreDesk(settings)
        desk.start()
    app = Document(
        "api",
        info=Info(title="churn", version=__version__, description=DESCRIPTION),
        validation_error_model=Problem,
        validation_error_callback=refuse_query,
        doc_prefix="/docs",
        contract_now=lambda: serving.contract,
        keys_required=keys_required(settings),
    )
    app.extensions["churn.serving"] = serving
    app.extensions["churn.recommender"] = recommender or serving.beside(RECOMMENDER)
    app.extensions["churn.keeper"] = keeper
    app.extensions["churn.adviser"] = Adviser(settings, keeper)
    app.extensions["churn.mlflow"] = settings.mlflow_public_url.rstrip("/")
    app.extensions["churn.score"] = desk
    app.extensions["churn.pipelines"] = pipelines_of or Pipelines(settings)
    _open(app, settings)
    return app


def _open(app: OpenAPI, settings: Settings) -> None:
    """The routes, and what stands before each of them."""
    if settings.proxies:  # of what a proxy tells, only who asks is used
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=0)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]  # columns keep the contract's order
    metrics.register(app)
    problems.register(app)
    access.register(app, settings)
    rates.register(app, settings)
    for part in PARTS:
        app.register_api(part.blueprint)
    app.add_url_rule("/openapi.json", "openapi_json", lambda: app.api_doc)
    app.add_url_rule("/docs", "docs", lambda: _to("/docs/swagger"), strict_slashes=False)
    app.add_url_rule("/", "home", lambda: _to("/docs"))


def _to(path: str) -> Response:
    return Response(status=302, headers={"Location": path})

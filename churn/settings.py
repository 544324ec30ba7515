"""Every setting of the platform: the only module that reads the environment.

Each can be set as a variable or in a ``.env`` file in the working directory; ``.env.example``
lists them with their defaults.
"""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from churn.errors import NotReady

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds ``churn/``, ``data/`` and ``airflow/``: a checkout, or an image's /app."""


_CRON = r"^(@(hourly|daily|weekly|monthly|yearly)|[-*/,0-9A-Za-z#?]+( [-*/,0-9A-Za-z#?]+){4})$"


class Settings(BaseSettings):
    """The settings; field ``home`` is the variable ``CHURN_HOME``, and so on."""

    model_config = SettingsConfigDict(
        env_prefix="CHURN_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    home: Path = ROOT / "var"
    """Holds all state: registry, prepared data, logs, secrets."""
    contract: Path = ROOT / "data/telco/contract.yaml"
    """The data set that this stack serves."""
    bind: str = "127.0.0.1"
    """The address that the services listen on."""
    api_url: str = "http://127.0.0.1:5055"
    """Where the web app and the client find the API."""
    ui_url: str = "http://127.0.0.1:8501"
    """Where `churn doctor` finds the web app."""
    airflow_url: str = "http://127.0.0.1:8090"
    """Where the API asks Airflow for the state of the pipelines."""
    airflow_public_url: str = "http://127.0.0.1:8090"
    """Where a person's browser finds Airflow; links in replies start with it."""
    mlflow_public_url: str = "http://127.0.0.1:5001"
    """Where a person's browser finds MLflow; links to its pages in replies start with it."""
    airflow_passwords: Path | None = None
    """The JSON file of Airflow's users and passwords; made on the first start."""
    dags: Path | None = None
    """A folder of DAGs of one's own, which Airflow runs beside ours."""

    require_keys: bool | None = None
    """Whether the API answers only those who have a key. Unset: where it listens beyond this machine."""
    rate_limit: int = Field(default=6_000, ge=0, le=1_000_000)
    """Requests a minute that the API takes with one key; 0: as many as there are."""
    proxies: int = Field(default=0, ge=0)
    """How many proxies in front of the API name the client in ``X-Forwarded-For``."""
    api_key: SecretStr | None = None
    """The key that the web app and the client send to the API."""
    api_key_file: Path | None = None
    """The file that holds that key; it goes before ``api_key``, and may change while the web app runs."""

    api_port: int = Field(default=5055, ge=1, le=65535)
    ui_port: int = Field(default=8501, ge=1, le=65535)
    mlflow_port: int = Field(default=5001, ge=1, le=65535)
    airflow_port: int = Field(default=8090, ge=1, le=65535)
    api_workers: int = Field(default=2, ge=1)

    training_schedule: str = Field(default="0 3 * * 1", pattern=_CRON)
    """When `churn_training` runs by itself, as cron (UTC)."""
    watch_seconds: int = Field(default=10, ge=1)
    """How often the pipeline looks whether the training rows have changed."""
    candidates: Annotated[list[str], NoDecode] = ["logistic_regression", "random_forest", "lightgbm"]
    """The models that a training compares, by comma."""
    folds: int = Field(default=5, ge=2)
    """Folds of the cross-validation."""
    repeats: int = Field(default=4, ge=1, le=100)
    """How often the cross-validation is repeated, each time over other folds."""
    tuning_seconds: float = Field(default=30, ge=0)
    """What each candidate's search for its parameters may take, in all folds together; 0: none."""
    gate_log_loss: float = Field(default=0.005, ge=0)
    """By how much a challenger's log loss on the gate set may exceed the champion's."""
    gate_profit: float = Field(default=0.01, ge=0)
    """Which share of the champion's expected profit a challenger may lose."""
    gate_calibration: float = Field(default=0.02, ge=0)
    """How far a challenger's calibration error may exceed what chance explains."""
    seed: int = Field(default=20, ge=0, le=2**32 - 1)
    """Seed of the folds and the models."""
    recommender_schedule: str = Field(default="30 3 * * 1", pattern=_CRON)
    """When `recommender_training` runs by itself, as cron (UTC)."""
    gate_ndcg: float = Field(default=0.02, ge=0)
    """By how much a challenging recommender's nDCG@5 on the gate set may fall short of that in service."""
    reload_seconds: float = Field(default=5, gt=0)
    """How often the API asks the registry which version is in service."""

    # left out of repr, since it may hold a password
    database_url: str | None = Field(default=None, repr=False)
    """Where the store is: ``sqlite:///…`` or ``postgresql://…``. Unset: ``churn.db`` in CHURN_HOME."""
    database_url_file: Path | None = None
    """A file that holds that address, as secrets are kept."""
    prediction_days: int = Field(default=30, ge=0, le=36_500)
    """For how many days the predictions served are kept in the store; 0: they are not."""
    refused_days: int = Field(default=90, ge=0, le=36_500)
    """For how many days what a customer has refused is not recommended to him again; 0: it is, at once."""

    scoring_schedule: str = Field(default="0 4 * * *", pattern=_CRON)
    """When `churn_scoring` scores the customer base whether or not anything has changed, as cron (UTC)."""
    scoring_runs: int = Field(default=2, ge=1, le=1_000)
    """How many scorings of the customer base are kept with every customer; what they add up to stays."""
    score_max_mb: int = Field(default=200, ge=1, le=100_000)
    """How large a file `POST /score` takes, in MiB."""
    score_hours: float = Field(default=24, gt=0, le=8_760)
    """For how many hours such a file and its result are kept."""

    monitoring_schedule: str = Field(default="0 5 * * *", pattern=_CRON)
    """When `churn_monitoring` looks for drift, as cron (UTC)."""
    drift_distance: float = Field(default=0.1, gt=0)
    """How far a column may move from the training rows before it counts as drifted."""
    drift_columns: int = Field(default=1, ge=1)
    """How many drifted columns start a training."""
    drift_score: float = Field(default=0.1, gt=0)
    """How far the scores may move before that starts a training."""
    performance_drop: float = Field(default=0.05, ge=0)
    """By how much the ROC AUC on outcomes may fall short of the report set's before that starts a training."""

    mlflow_tracking_uri: str | None = Field(default=None, validation_alias="MLFLOW_TRACKING_URI")
    """The MLflow server. Unset: the SQLite registry in CHURN_HOME, whatever server may run."""

    @field_validator("candidates", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        return [name.strip() for name in given.split(",")] if isinstance(given, str) else given

    @field_validator("candidates")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names) or "" in names:
            raise ValueError("expected names, each once")
        return names

    @property
    def tracking_uri(self) -> str:
        if self.mlflow_tracking_uri:
            return self.mlflow_tracking_uri
        return f"sqlite:///{(self.mlflow_home / 'mlflow.db').absolute()}"

    @property
    def store_url(self) -> str:
        """The address of the store, with its password.

        Raises:
            NotReady: the file that should hold it cannot be read or is empty, or there are two addresses.
        """
        if self.database_url_file is None:
            return self.database_url or f"sqlite:///{quote(str((self.home / 'churn.db').absolute()))}"
        if self.database_url:
            raise NotReady("CHURN_DATABASE_URL and CHURN_DATABASE_URL_FILE are both set: leave one out")
        try:
            told = self.database_url_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text"
            raise NotReady(f"CHURN_DATABASE_URL_FILE: {self.database_url_file}: {reason}") from error
        if not told:
            raise NotReady(f"CHURN_DATABASE_URL_FILE: {self.database_url_file} is empty")
        return told

    @property
    def mlflow_home(self) -> Path:
        return self.home / "mlflow"

    @property
    def passwords_file(self) -> Path:
        return self.airflow_passwords or self.home / "secrets" / "airflow_passwords.json"


def make_folder(path: Path) -> None:
    """Make a folder of the platform's state.

    Raises:
        NotReady: it cannot be made; the message names it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotReady(f"{path}: {error.strerror or error}; CHURN_HOME must be a folder that can be written") from error


def load() -> Settings:
    """The settings of this process.

    Raises:
        NotReady: a variable has a value that it cannot have; its name is in the message.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{_variable(fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise NotReady(f"settings: {wrong}") from error


def _variable(place: tuple[int | str, ...]) -> str:
    name = str(place[0]) if place else "?"
    return name if name.isupper() else f"CHURN_{name.upper()}"


__all__ = ["ROOT", "Settings", "load"]

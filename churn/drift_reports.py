"""What the monitoring saw, as runs of an experiment of its own: Evidently's page, and the figures."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from churn.tracking import Tracking

EXPERIMENT = "churn-monitoring"
_KEY = "monitoring_key"
_NOT_A_METRIC = re.compile(r"[^\w -]", re.ASCII)
_LONGEST = 200


class DriftReports(Tracking):
    """The runs of the monitoring."""

    def log(
        self, key: str, page: Path, metrics: Mapping[str, float], figures: Mapping[str, Any], tags: Mapping[str, str]
    ) -> str:
        """Log a look at the customers; the same key makes one run, however often.

        Returns:
            Where its page is, from the address of MLflow's pages on.
        """
        import mlflow

        with self.asked("log a monitoring run"), self.as_default():
            experiment = self.experiment(EXPERIMENT)
            quoted = key.replace("'", "")
            for known in self.client.search_runs([experiment], f"tags.{_KEY} = '{quoted}'"):
                self.client.delete_run(known.info.run_id)  # the try before this one was killed in the middle
            with mlflow.start_run(
                experiment_id=experiment, run_name=f"monitoring {tags.get('model_version', '')}"
            ) as run:
                mlflow.set_tags({_KEY: quoted, **tags})
                mlflow.log_metrics(_named(metrics))
                mlflow.log_artifact(str(page))
                self.client.log_text(run.info.run_id, json.dumps(figures, indent=2, ensure_ascii=False), "figures.json")
        return f"/#/experiments/{experiment}/runs/{run.info.run_id}/artifacts/{page.name}"


def _named(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics under names that MLflow takes: behind its first slash a name may hold anything, which is
    a column's. Of names that become the same, the later ones have their places behind them."""
    found: dict[str, float] = {}
    for place, (name, value) in enumerate(metrics.items()):
        kind, slash, column = name.partition("/")
        plain = kind + slash + _NOT_A_METRIC.sub("_", column)[:_LONGEST]
        while plain in found:
            plain += f"_{place}"
        found[plain] = value
    return found

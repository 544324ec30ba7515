"""Whom the bench asks for, and which replies are right."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import champions, load
from bench.processes import START_SECONDS, Server
from churn.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

CONNECTIONS = 16
CUSTOMERS = 100
TOLERANCE = 1e-6
"""How far a reply's probability may be from the pipeline's."""

Read = Callable[[Any], float]
"""A reply's JSON -> the churn probability in it."""


@dataclass(frozen=True)
class Asked:
    """Shipped customers, and what the pipeline in service says of each."""

    folder: Path
    """The version's artefacts."""
    features: "pd.DataFrame"
    customers: list[dict[str, Any]]
    """The same as JSON takes them, with their ids."""
    probabilities: list[float]

    def bodies(self, shape: Callable[[dict[str, Any]], Any]) -> dict[bytes, float]:
        """Each customer as a request's body, and the probability that a reply must have."""
        texts = [json.dumps(shape(customer)).encode() for customer in self.customers]
        return dict(zip(texts, self.probabilities, strict=True))


def asked(settings: Settings, scratch: Path) -> Asked:
    """Fetch the version in service into a folder under ``scratch``, and ask its pipeline."""
    from churn import contract as contracts
    from churn.scoring import load_pipeline

    contract = contracts.load(settings.contract)
    rows = champions.shipped_rows(contract).sample(CUSTOMERS, random_state=champions.SEED)
    features = rows[list(contract.features)]
    named = rows[[*([contract.id] if contract.id else []), *contract.features]].to_dict("records")
    customers = [{str(name): _plain(value) for name, value in row.items()} for row in named]
    folder = champions.champion_folder(settings, scratch / "artefacts")
    return Asked(folder, features, customers, load_pipeline(folder).predict_proba(features)[:, 1].tolist())


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


class Answers:
    """Bodies for one address and the right reply to each, learned in a first pass.

    Args:
        right: bodies, and the probability that the reply to each must have.
        read: finds it in the reply; None for an echo.
    """

    def __init__(self, url: str, right: Mapping[bytes, float], read: Read | None) -> None:
        self._url, self._bodies = url, list(right)
        self._right, self._read = right, read
        self._replies: dict[bytes, bytes] = {}

    def learn(self, server: Server) -> None:
        """Ask for each customer once, as soon as the server answers.

        Raises:
            RuntimeError: it does not in :data:`START_SECONDS`, or gives another probability than the pipeline.
        """
        until = time.monotonic() + START_SECONDS
        while True:
            server.check()
            seen = load.run(self._url, self._bodies, connections=CONNECTIONS, requests=CUSTOMERS, check=self._keep)
            if not seen.failures:
                return
            if seen.wrong or time.monotonic() > until:
                raise RuntimeError(f"{server.name}: {seen}; {dict(seen.statuses)}, {seen.complaints}\n{server.log()}")
            time.sleep(0.2)

    def measure(self, *, seconds: float | None = None, requests: int | None = None) -> load.Result:
        """Load the address; a reply that is not the one that was learned is a failure."""
        return load.run(
            self._url,
            self._bodies,
            connections=CONNECTIONS,
            seconds=seconds,
            requests=requests,
            check=self._check,
            timeout=60,
        )

    def _keep(self, sent: bytes, received: bytes) -> str | None:
        self._replies[sent] = received
        if self._read is None:
            return None if received == sent else "not an echo"
        off = abs(self._read(json.loads(received)) - self._right[sent])
        return None if off <= TOLERANCE else f"off by {off:g} from the pipeline: {received[:300]!r}"

    def _check(self, sent: bytes, received: bytes) -> str | None:
        # bytes against bytes: reading JSON would cost the client as much as the server
        return None if received == self._replies[sent] else f"not the first reply: {received[:300]!r}"

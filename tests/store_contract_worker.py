"""What the processes of ``tests/store_contract.py`` run: it imports nothing that a start would not."""

from churn.settings import Settings
from churn.store import Store


def store(url: str) -> Store:
    return Store(Settings(database_url=url, _env_file=None))

"""The README's requests to the API, as it tells people to make them."""

import re
import shlex

import httpx

from churn.services import services
from churn.settings import load
from tests.conftest import ROOT


def asked(api: str) -> list[int]:
    """The status of the answer to each of them.

    Args:
        api: the address that is asked instead of the usual one.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    usual = next(service.url for service in services(load()) if service.name == "API")
    found = []
    for command in re.findall(r"^curl (?:[^'\n]|'[^']*')+", text, re.MULTILINE):
        words = shlex.split(command, comments=True)
        url = next(word for word in words if word.startswith("http")).replace(usual, api)
        body = words[words.index("-d") + 1] if "-d" in words else None
        headers = {"Content-Type": "application/json"} if body else {}
        assert not body or "Content-Type: application/json" in words, command
        reply = httpx.request("POST" if body else "GET", url, content=body, headers=headers, timeout=30)
        found.append(reply.status_code)
    assert len(found) > 5
    return found

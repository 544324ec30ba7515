"""What the stack tests look for on the web app's page, whichever way the stack runs."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

PICTURES = Path(__file__).resolve().parents[2] / "artifacts"


def predict_on_the_page(browser: Browser, url: str, expected: dict[str, Any], picture: str) -> None:
    """Press Predict on the form, which starts with the contract's example, and hold what is seen
    against the API's own answer for that example."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    try:
        page.goto(url)
        page.get_by_role("button", name="Predict").click(timeout=60_000)
        answer = page.get_by_role("img", name=f"{expected['churn_probability']:.1%}")
        expect(answer).to_be_visible(timeout=60_000)
        expect(page.get_by_text(expected["action"]).first).to_be_visible()
        model = "{name} · version {version}".format(**expected["model"])
        expect(page.get_by_text(model).first).to_be_visible()
        expect(page.get_by_test_id("stException")).to_have_count(0)
    finally:
        PICTURES.mkdir(exist_ok=True)
        page.wait_for_timeout(1_500)  # the gauge's hand moves to its place
        page.screenshot(path=PICTURES / f"{picture}.png", full_page=True)
        page.close()

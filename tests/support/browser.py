"""Debian's Chromium, controlled by Playwright, for tests of web pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from emm_pipeline.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

PICTURES = PROJECT_ROOT / "docs" / "pictures"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
_WITHOUT_PATH = """(path) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(path, "");
}"""
"""Makes the commands in a picture relative to the checkout."""
TakePicture = Callable[[str], None]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page in a new browser."""
    program = shutil.which("chromium-headless-shell") or shutil.which(
        "chromium"
    )  # the first needs half of the CPU time
    if not program:
        reason = "Chromium is not installed: apt-get install chromium-headless-shell"
        if os.environ.get("EMM_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1400, "height": 860})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def messages(page: Page) -> list[str]:
    """The messages of the browser's console: errors of scripts, refused contents, failed requests."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.fixture
def no_messages(messages: list[str]) -> Iterator[None]:
    """Fail the test if the browser reports anything, except replies to wrong input, which have the status 422."""
    messages.clear()
    yield
    assert [message for message in messages if "status of 422" not in message] == []


@pytest.fixture
def picture(page: Page) -> TakePicture:
    """Take a picture of the page for docs/pictures/, if EMM_PICTURES=1 asks for it."""

    def take(name: str) -> None:
        if os.environ.get("EMM_PICTURES") == "1":
            page.wait_for_timeout(1500)  # charts are drawn a moment after their data came
            page.evaluate(_WITHOUT_PATH, f"{PROJECT_ROOT}/")
            page.screenshot(path=PICTURES / f"{name}.png")

    return take

"""axe-core, which finds barriers for people with disabilities in a page; .ci/run installs it with npm."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from emm_pipeline.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

FILE = PROJECT_ROOT / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = {"serious", "critical"}


def barriers(page: Page) -> list[str]:
    """Return the serious barriers of the present page: rule, element and what is wrong."""
    if not FILE.exists():
        reason = "axe-core is not installed: npm install --no-save axe-core"
        if os.environ.get("EMM_REQUIRE_SERVERS") == "1" and shutil.which("npm"):
            pytest.fail(reason)
        pytest.skip(reason)
    page.evaluate(FILE.read_text())  # through the debugger, which the page's policy does not concern
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {node['target']}: {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]

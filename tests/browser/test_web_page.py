"""The page of the real demo in a real browser."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.dagster_ui import DagsterUI, wait_for
from support.ports import free_port
from support.postgres import postgres_folder

from emm_pipeline.cli.demo.processes import answers

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """The address of the page of a running demo."""
    emm = Path(sys.executable).with_name("emm")
    port, web_port = free_port(), free_port()
    with postgres_folder() as folder:
        command = [emm, "demo", "--data-dir", folder / "demo", "--port", str(port), "--web-port", str(web_port)]
        output = (folder / "output").open("w+")
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{web_port}"
            wait_for("the page", lambda: process.poll() is not None or answers(f"{url}/healthz"), 120)
            ui = DagsterUI(f"http://127.0.0.1:{port}")
            wait_for("Dagster", lambda: process.poll() is not None or answers(f"{ui.url}/server_info"), 120)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            output.seek(0)
            printed = output.read()
            output.close()
    assert process.returncode == 0, printed
    assert printed.index(url) < printed.index("test_measurement"), "the page's address comes first"


@pytest.fixture(scope="module", autouse=True)
def messages(page: Page) -> list[str]:
    """The messages of the browser: errors of scripts, refused contents, failed requests."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.fixture(autouse=True)
def no_messages(messages) -> Iterator[None]:
    messages.clear()
    yield
    assert messages == []


def test_the_overview_shows_the_demos_meter(page: Page, demo):
    page.goto(demo)
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="test_energy_meter"))
    expect(row.get_by_text("ok", exact=True)).to_be_visible()

"""A malicious page in a real browser on the machine where Dagster runs: it cannot start, stop or read anything."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page
from support.postgres import postgres_folder
from support.stack import Stack

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

PAGE = """<!doctype html><title>foreign</title><body>
<img src="{target}/graphql?query=mutation%7BstopRunningSchedule(id%3A%22{id}%22)%7B__typename%7D%7D">
<iframe src="{target}/runs"></iframe>
<form id="form" method="post" target="sink"
  action="{target}/report_asset_materialization/meter_readings?partition=1"></form>
<iframe name="sink"></iframe>
<script>
const body = JSON.stringify({{query: 'mutation{{stopRunningSchedule(id:"{id}"){{__typename}}}}'}});
const results = [];
const attempts = [
  fetch('{target}/graphql', {{method: 'POST', mode: 'no-cors', body}}),
  fetch('{target}/graphql', {{method: 'POST', headers: {{'Content-Type': 'application/json'}}, body}}),
  fetch('{target}/report_asset_observation/meter_readings', {{method: 'POST', mode: 'no-cors'}}),
  fetch('{target}/server_info').then(answer => answer.text()).then(text => results.push('read ' + text)),
  new Promise((resolve) => {{
    const socket = new WebSocket('{target}/graphql'.replace('http', 'ws'), 'graphql-ws');
    socket.onopen = () => {{ results.push('socket'); resolve(); }};
    socket.onerror = () => resolve();
  }}),
];
document.getElementById('form').submit();
Promise.allSettled(attempts).then(() => setTimeout(() => {{
  document.title = 'done ' + results.join();
}}, 1000));
</script>"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with postgres_folder() as folder, Stack(folder, {"READINGS_STORE": "postgresql", "TZ": "UTC"}) as stack:
        yield stack


@pytest.fixture
def foreign_page(stack) -> Iterator[str]:
    """The address of a malicious page on another port; it knows all ids, and Dagster has no login here."""
    state = stack.ui.ask(
        """{ schedulesOrError(repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "emm"}) {
               ... on Schedules { results { name scheduleState { id } } } } }"""
    )["schedulesOrError"]["results"]
    (id_,) = [one["scheduleState"]["id"] for one in state if one["name"] == "poll_schedule"]
    page = PAGE.format(target=stack.ui.url, id=id_).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server looks for
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def events_of_the_asset(stack: Stack) -> int:
    return len(
        stack.ui.ask(
            """{ assetOrError(assetKey: {path: ["meter_readings"]}) { ... on Asset {
                   assetMaterializations(limit: 5) { timestamp } assetObservations(limit: 5) { timestamp } } } }"""
        )["assetOrError"].get("assetMaterializations", [])
    )


def test_a_page_of_another_origin_can_neither_stop_polling_nor_write_events_nor_read(page: Page, stack, foreign_page):
    assert stack.ui.schedules()["poll_schedule"] == "RUNNING"
    page.goto(foreign_page)
    page.wait_for_function("document.title.startsWith('done')")
    framed = [frame.title() for frame in page.frames[1:] if "Dagster" in frame.title()]
    assert page.title() == "done", "what the page could read or open"
    assert framed == []
    assert stack.ui.schedules()["poll_schedule"] == "RUNNING"
    assert events_of_the_asset(stack) == 0


def test_dagsters_own_pages_work_in_the_same_browser_the_live_connection_too(page: Page, stack):
    page.goto(f"{stack.ui.url}/runs")
    page.get_by_text("Runs").first.wait_for()
    opened = page.evaluate(
        """() => new Promise(resolve => {
             const socket = new WebSocket(location.origin.replace('http', 'ws') + '/graphql', 'graphql-ws');
             socket.onopen = () => resolve(true); socket.onerror = () => resolve(false); })"""
    )
    assert opened

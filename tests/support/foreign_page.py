"""A malicious page on another port of the machine where Dagster runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


@contextmanager
def foreign_page(target: str, schedule_id: str) -> Iterator[str]:
    """The address of a page that tries to use the Dagster at `target`; it knows all ids."""
    page = PAGE.format(target=target, id=schedule_id).encode()

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
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""The ZeverSolar example against a real HTTP server."""

import logging
import math
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.virtual_server import eventually, exception_code, read

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import EnergyMeter
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.modbus.fleet_reading import read_meters
from virtual_modbustcp_server import zeversolar
from virtual_modbustcp_server.zeversolar import ZeverSolarServer, parse

PAGE = """\
1
1
EAB241267A2D
ABCDEFGHIJKLMNOP
M11
17B31-658R+17829-719R
16:22 20/02/2022
0
1
ZS15004512
1234
8.95
OK
"""


class Inverter:
    """An inverter's HTTP server, with a page, a status and a way to switch it off and on at the same port."""

    def __init__(self):
        self.page, self.status, self.paths = PAGE, 200, []
        self.hold = threading.Event()
        self.hold.set()
        self._server, self.port = None, 0
        self.on()

    def on(self):
        inverter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                inverter.paths.append(self.path)
                inverter.hold.wait(60)
                self.send_response(inverter.status)
                self.end_headers()
                self.wfile.write(inverter.page.encode())

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def off(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def inverter():
    inverter = Inverter()
    yield inverter
    inverter.hold.set()
    inverter.off()


@pytest.fixture
def server(inverter, monkeypatch):
    monkeypatch.setenv("VIRTUAL_SERVER_UPDATE_CRON_SECOND_TRIGGER", "*")
    return ZeverSolarServer("127.0.0.1", 0, f"127.0.0.1:{inverter.port}")


def values(server):
    return struct.unpack(">2f", read(server.port, 0, 4, unit_id=1))


def nothing(server):
    return all(math.isnan(each) for each in values(server))


def test_power_and_energy_come_from_lines_10_and_11_of_the_page(inverter, server):
    with server:
        assert values(server) == (1234, pytest.approx(8.95))
    assert inverter.paths[0] == "/home.cgi?sid=0"


def test_at_night_there_is_no_value_and_no_error_and_in_the_morning_values_return(inverter, server, caplog):
    caplog.set_level(logging.INFO)
    with server:
        inverter.off()
        eventually(lambda: nothing(server))
        inverter.on()
        eventually(lambda: not nothing(server))
        assert values(server)[0] == 1234
    ours = [record for record in caplog.records if record.name == "virtual_modbustcp_server"]
    assert all(record.levelno == logging.INFO for record in ours)
    assert "the device is off" in caplog.text
    assert "the device is on again" in caplog.text


def test_a_start_at_night_serves_no_value_but_the_registers_are_there(inverter, server):
    inverter.off()
    with server:
        assert nothing(server)
        assert exception_code(server.port, 4, unit_id=1) == 2


def test_an_inverter_that_hangs_counts_as_off(inverter, server, monkeypatch):
    monkeypatch.setattr(zeversolar, "TIMEOUT_S", 0.2)
    inverter.hold.clear()
    with server:
        assert nothing(server)


@pytest.mark.parametrize("page", ["", "<html>login</html>", PAGE.replace("1234", "nan"), PAGE.replace("8.95", "-1")])
def test_an_invalid_page_is_a_failure_and_never_a_value(inverter, server, page, caplog):
    inverter.page = page
    with server:
        assert exception_code(server.port, 0, 2, unit_id=1) == 4
    assert "of home.cgi should be the" in caplog.text


def test_an_http_error_is_a_failure(inverter, server, caplog):
    inverter.status = 500
    with server:
        assert exception_code(server.port, 0, 2, unit_id=1) == 4
    assert "HTTP Error 500" in caplog.text


def test_a_server_that_does_not_speak_http_is_a_failure(monkeypatch, caplog):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        port = listener.getsockname()[1]
        with ZeverSolarServer("127.0.0.1", 0, f"127.0.0.1:{port}") as server:
            assert exception_code(server.port, 0, 2, unit_id=1) == 4
    assert "set_datastore failed: BadStatusLine" in caplog.text


def test_a_host_name_that_does_not_resolve_is_a_failure(caplog):
    with ZeverSolarServer("127.0.0.1", 0, "inverter.invalid") as server:
        assert exception_code(server.port, 0, 2, unit_id=1) == 4
    assert "check ZEVERSOLAR_HOST" in caplog.text


def test_a_proxy_in_the_environment_is_not_used(inverter, server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with server:
        assert values(server)[0] == 1234


def test_a_page_with_carriage_returns_is_the_same_page():
    assert parse(PAGE.replace("\n", "\r\n")) == parse(PAGE) == (1234, 8.95)


@given(st.text())
def test_any_text_is_either_two_numbers_or_a_value_error(page):
    try:
        numbers = parse(page)
    except ValueError:
        return
    assert all(0 <= number < math.inf for number in numbers)


def test_without_the_inverters_address_it_does_not_start():
    import os
    import subprocess
    import sys

    environment = {name: value for name, value in os.environ.items() if name != "ZEVERSOLAR_HOST"}
    command = [sys.executable, "-m", "virtual_modbustcp_server.zeversolar"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "set --inverter or ZEVERSOLAR_HOST" in done.stderr


def test_the_catalogues_type_reads_what_the_server_serves(server):
    types = {"zeversolar": load_catalogue()["zeversolar"].meter_type}
    with server:
        meter = EnergyMeter(1, "127.0.0.1", server.port, 1, "zeversolar")
        samples = run_fast(read_meters([meter], types, deadline=time.monotonic() + 60))
    frame = decode_readings(samples, types)
    assert dict(zip(frame["measurement"], frame["value"], strict=True)) == {
        "activePower": 1234,
        "generatedEnergyToday": pytest.approx(8.95),
    }

"""A real InfluxDB 1.8 whose disk is full (D10), and one behind TLS with a certificate of a private authority (D11)."""

import ssl
import subprocess
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.disks import small_disk
from support.frames import points, reading, readings
from support.influxdb import INFLUXD_1_8, InfluxDB

from emm_pipeline.errors import ConfigurationError, StoreError
from emm_pipeline.stores.influxdb.administration import InfluxAdministration
from emm_pipeline.stores.influxdb.setup import InfluxSetup
from emm_pipeline.stores.influxdb.store import InfluxReadingsStore


def write(server: InfluxDB, number: int) -> None:
    rows = [reading(id=id_, value=number + id_ / 7, measurement=f"m{number}x{id_ % 50}") for id_ in range(4000)]
    with closing(InfluxReadingsStore(server.url, server.token, server.org, server.bucket)) as store:
        store.write(points(readings(*rows)))


def write_more(server: InfluxDB) -> None:
    for number in range(1, 40):
        write(server, number)


@pytest.mark.skipif(not INFLUXD_1_8.exists(), reason="Debian's InfluxDB 1.6 reports a full disk in other words")
def test_a_full_disk_is_reported_with_what_to_do_and_the_store_works_after_it(tmp_path: Path):
    with small_disk(tmp_path / "disk", 200) as disk:
        if not disk.can_be_filled:
            pytest.skip("only root may mount a small disk")
        with closing(InfluxDB(disk.folder, INFLUXD_1_8)) as server:
            write(server, 0)
            disk.fill()
            with pytest.raises(StoreError, match=r"HTTP 500.*make room on InfluxDB's disk, then restart") as caught:
                write_more(server)
            assert "INFLUXDB_BUCKET" not in str(caught.value)
            disk.make_room()
            server.stop()
            server.start()
            write(server, 50)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """The certificate of a private authority for localhost, and its key."""
    made, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    options = ["-addext", "subjectAltName=DNS:localhost", "-out", str(made), "-keyout", str(key)]
    subprocess.run([*command, *options], check=True, capture_output=True)
    return made, key


@pytest.fixture
def server(certificate):
    """A server with TLS that accepts every write, as an InfluxDB 1.x."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://localhost:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_server_with_a_certificate_of_a_private_authority_is_used_with_its_file_only(server, certificate):
    ca_file, _ = certificate
    with closing(InfluxReadingsStore(server, "token", "emm", "emm", ca_file=ca_file)) as store:
        assert store.write(points(readings(reading()))) == []
    assert InfluxAdministration(server, ca_file).is_version_1()
    assert not InfluxSetup(server, "token", "emm", "emm", ca_file).has_tokens()
    with (
        closing(InfluxReadingsStore(server, "token", "emm", "emm")) as store,
        pytest.raises(StoreError, match="certificate verify failed"),
    ):
        store.write(points(readings(reading())))
    with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
        InfluxAdministration(server).is_version_1()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_without_a_certificate_is_named(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=rf"INFLUXDB_CA_FILE={file} is not a file with certificates"):
        InfluxReadingsStore("https://localhost:1", "token", "emm", "emm", ca_file=file)

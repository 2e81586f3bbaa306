"""A real Mosquitto for the tests, what its clients receive, and a proxy that stalls."""

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
from support.ports import free_port
from support.third_parties import need

PATIENCE_S = 30.0


def need_program(name: str) -> str:
    """Return the path of a program of Mosquitto; skip the test if it is not installed, in CI fail."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    need(found, name)
    return str(found)


def wait_until(condition, patience_s: float = PATIENCE_S):
    """Return the first true result of `condition`; fail if there is none in time."""
    deadline = time.monotonic() + patience_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return result


class Mosquitto:
    """A broker on 127.0.0.1, configured by the lines of mosquitto.conf."""

    def __init__(self, folder: Path, *lines: str, listener: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.port = free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "mosquitto.conf"
        self.log = folder / "mosquitto.log"
        self._listener = listener
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(*lines)

    def configure(self, *lines: str) -> None:
        """Replace the configuration; a running broker keeps the old one."""
        default = () if any("allow_anonymous" in line for line in lines) else ("allow_anonymous true",)
        user = ("user root",) if os.geteuid() == 0 else ()
        content = (f"listener {self.port} 127.0.0.1", *self._listener, *default, *user, *lines)
        self.config.write_text("".join(f"{line}\n" for line in content))

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> "Mosquitto":
        starts = self._starts()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [need_program("mosquitto"), "-v", "-c", str(self.config)], stdout=log, stderr=log
            )
        # Mosquitto 2.0.11 would count the connection of a probe wrongly, and then accept more than max_connections.
        wait_until(lambda: self._starts() > starts)
        return self

    def _starts(self) -> int:
        """Return how often it has logged that it listens."""
        assert self._process is None or self._process.poll() is None, self.log.read_text()
        return len(re.findall("mosquitto version .* running", self.log.read_text())) if self.log.exists() else 0

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def logged(self, pattern: str) -> bool:
        return bool(re.search(pattern, self.log.read_text(errors="replace")))

    def client(self, *arguments: str) -> "Subscriber":
        return Subscriber(self.port, *arguments)

    def publish(self, topic: str, payload: str, *arguments: str) -> None:
        command = [need_program("mosquitto_pub"), "-p", str(self.port), "-t", topic, "-m", payload, *arguments]
        subprocess.run(command, check=True, timeout=30)

    def retained(self, *arguments: str) -> dict[str, str]:
        """Return the messages that the broker retains now, by topic."""
        with self.client(*arguments) as client:
            self.publish("the-end", "x")  # the broker sends what it retains before
            wait_until(lambda: "the-end" in client.received)
            return dict(client.retained)


class Subscriber:
    """mosquitto_sub on all topics; `messages` as received, `received` the last of each topic."""

    def __init__(self, port: int, *arguments: str) -> None:
        self.messages: list[tuple[str, str]] = []
        self.retained: list[tuple[str, str]] = []
        command = ["-p", str(port), "-t", "#", "-d", "-F", "%r\t%t\t%p", *arguments]
        self._process = subprocess.Popen(
            ["stdbuf", "-oL", need_program("mosquitto_sub"), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._subscribed = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        assert self._subscribed.wait(PATIENCE_S)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            text = line.decode().rstrip("\n")
            if text.startswith(("Subscribed", "Client ")):
                if text.startswith("Subscribed"):
                    self._subscribed.set()
                continue
            retained, topic, payload = text.split("\t", 2)
            self.messages.append((topic, payload))
            if retained == "1":
                self.retained.append((topic, payload))

    @property
    def received(self) -> dict[str, str]:
        return dict(self.messages)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


class StallingProxy:
    """Forwards connections to a port. While `stall` is set, it accepts them, but neither reads nor forwards."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = free_port()
        self.stall = threading.Event()
        self._server = socket.create_server(("127.0.0.1", self.port))
        # Small buffers, so that a stalled connection soon accepts no more data.
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                with suppress(OSError):
                    server = socket.create_connection(("127.0.0.1", self._target))
                    for one, other in ((client, server), (server, client)):
                        threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while True:
                while self.stall.is_set():
                    time.sleep(0.05)
                data = source.recv(65536)
                while self.stall.is_set():
                    time.sleep(0.05)
                if not data:
                    break
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.close()

    def close(self) -> None:
        self.stall.clear()
        self._server.close()


@pytest.fixture
def mosquitto(tmp_path) -> Iterator[Mosquitto]:
    """A running broker without a login."""
    broker = Mosquitto(tmp_path / "mosquitto").start()
    yield broker
    broker.kill()

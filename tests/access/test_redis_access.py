"""The stack's Redis: `emm secrets rotate redis`, with a real Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from support.celery_workers import Redis, redis_or_skip
from support.ports import free_port

from emm_pipeline.cli.demo.processes import ProcessGroup
from emm_pipeline.credentials import PUBLISHED


@pytest.fixture
def server(tmp_path) -> Iterator[Redis]:
    with ProcessGroup(tmp_path / "logs") as processes:
        yield redis_or_skip(processes)


class Stack:
    """`emm secrets rotate redis`, with a folder of credentials."""

    def __init__(self, emm, server: Redis, folder: Path) -> None:
        self._emm, self.server, self.folder = emm, server, folder
        (folder / "secrets").mkdir(parents=True)

    def __call__(self, *arguments: str, **variables: str):
        place = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.server.port)}
        return self._emm("secrets", *arguments, "--folder", str(self.folder), **place, **variables)

    def rotate(self, **variables: str):
        return self("rotate", "redis", **variables)

    def files(self) -> set[str]:
        return {(self.folder / name / "REDIS_PASSWORD").read_text() for name in ("redis", "dagster", "pipeline")}


@pytest.fixture
def own(server) -> dict[str, str]:
    """The user's own password, as config/.env has it."""
    return {"REDIS_PASSWORD": server.password}


@pytest.fixture
def stack(emm_alone, server, own, tmp_path) -> Stack:
    stack = Stack(emm_alone, server, tmp_path / "access")
    assert stack("create", **own).returncode == 0
    return stack


def accepts(server: Redis, password: str) -> bool:
    try:
        with redis.Redis(port=server.port, password=password) as client:
            return bool(client.ping())
    except redis.AuthenticationError:
        return False


def test_after_three_rotations_old_passwords_are_refused_and_clients_stay_connected(stack, server, own):
    passwords = [server.password]
    with redis.Redis(port=server.port, password=server.password, single_connection_client=True) as worker:
        worker.set("task", "waits")
        for _ in range(3):
            done = stack.rotate(**own)
            assert done.returncode == 0, done.stderr
            (password,) = stack.files()
            assert password not in done.stdout + done.stderr
            assert accepts(server, password)
            assert not accepts(server, passwords[-1])
            assert worker.get("task") == b"waits"
            passwords.append(password)
    assert len(set(passwords)) == 4
    assert "restart worker daemon webserver" in done.stdout + done.stderr


def test_a_redis_that_was_not_restarted_since_its_password_was_set_again_is_rotated_too(stack, server, own):
    assert stack.rotate(**own).returncode == 0
    changed = {"REDIS_PASSWORD": "mine"}
    assert stack("create", **changed).returncode == 0
    assert stack.rotate(**changed).returncode == 0
    (password,) = stack.files()
    assert accepts(server, password)


@pytest.mark.parametrize("theirs", ["of another stack", "", PUBLISHED["REDIS_PASSWORD"]])
def test_a_rotation_without_a_password_that_redis_accepts_fails_and_changes_nothing(stack, server, theirs):
    other = {"REDIS_PASSWORD": theirs}
    stack("create", **other)
    before = stack.files()
    done = stack.rotate(**other)
    assert done.returncode == 2
    assert f"127.0.0.1:{server.port}" in done.stderr
    assert "nothing was changed" in done.stderr
    assert stack.files() == before
    assert accepts(server, server.password)


def test_a_redis_that_is_unavailable_fails_with_its_address_and_changes_nothing(stack, server, own):
    before = stack.files()
    server.off()
    server.port = free_port()
    done = stack.rotate(**own)
    assert done.returncode == 1
    assert f"127.0.0.1:{server.port}" in done.stderr
    assert "COMPOSE_PROFILES=celery" in done.stderr
    assert stack.files() == before


def test_a_redis_whose_password_no_client_may_change_fails(stack, server, own):
    with redis.Redis(port=server.port, password=server.password) as client:
        client.execute_command("ACL", "SETUSER", "default", "-config")
    done = stack.rotate(**own)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert stack.files() == {server.password}

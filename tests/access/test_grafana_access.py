"""The stack's Grafana: its login, and `emm secrets rotate grafana`.

Grafana's image is not available here: tests/support/grafana_api.py simulates its documented HTTP API.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.grafana_api import ATTEMPTS, LOCKED_S, GrafanaAPI, running_grafana
from support.ports import free_port

from emm_pipeline.credentials import EXAMPLES, PUBLISHED

NAME = "GF_SECURITY_ADMIN_PASSWORD"
EXAMPLE = PUBLISHED[NAME]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def grafana(clock) -> Iterator[GrafanaAPI]:
    """A simulated Grafana that an older version's stack set up with the published password."""
    with running_grafana(EXAMPLE, clock=clock) as grafana:
        yield grafana


class Stack:
    """`emm secrets …` against Grafana, with a folder of credentials."""

    def __init__(self, emm: CommandLine, url: str, folder: Path) -> None:
        self._emm, self.url, self.folder = emm, url, folder
        (folder / "secrets").mkdir()
        self("create")

    def __call__(self, *arguments: str, **variables: str):
        grafana = [] if arguments == ("create",) else ["--grafana-url", self.url]
        return self._emm("secrets", *arguments, "--folder", str(self.folder), *grafana, **variables)

    def password(self, **variables: str) -> str:
        """Return Grafana's password as `emm settings --show-secrets` prints it."""
        shown = self._emm("settings", "--show-secrets", "--json", "--folder", str(self.folder), **variables)
        return next(one["password"] for one in json.loads(shown.stdout) if one["what"] == "Grafana")

    def file(self) -> str:
        return (self.folder / "grafana" / NAME).read_text()


@pytest.fixture
def stack(emm_alone, grafana, tmp_path) -> Stack:
    return Stack(emm_alone, grafana.url, tmp_path)


def texts(done) -> str:
    return done.stdout + done.stderr


def test_a_volume_with_the_published_password_gets_the_one_that_emm_settings_prints(stack, grafana):
    for _ in range(2):
        done = stack("apply", "grafana")
        assert done.returncode == 0
        assert grafana.password == stack.password() == stack.file()
        assert grafana.password not in EXAMPLES
        assert grafana.password not in texts(done)


def test_a_password_that_is_set_later_replaces_the_previous_one(stack, grafana):
    stack("apply", "grafana")
    assert stack("apply", "grafana", **{NAME: "mine!"}).returncode == 0
    assert grafana.password == "mine!"


def test_a_password_changed_in_grafana_is_kept_at_a_start_and_the_stack_reports_it(stack, grafana):
    grafana.password = "changed by a person"
    done = stack("apply", "grafana")
    assert done.returncode == 0, "the stack starts"
    assert "does not know" in texts(done)
    assert grafana.password == "changed by a person"


def test_three_rotations_refuse_the_old_password_each_time(stack, grafana):
    stack("apply", "grafana")
    passwords = [grafana.password]
    for _ in range(3):
        done = stack("rotate", "grafana")
        assert done.returncode == 0
        assert "new password" in texts(done)
        assert grafana.password == stack.password() == stack.file()
        assert grafana.password not in texts(done)
        passwords.append(grafana.password)
    assert len(set(passwords)) == 4


def test_a_value_of_the_users_own_can_be_rotated_and_counts_as_not_set_afterwards(stack, grafana):
    own = {NAME: "mine!"}
    stack("apply", "grafana", **own)
    assert stack("rotate", "grafana", **own).returncode == 0
    rotated = grafana.password
    assert rotated == stack.password(**own) != "mine!"
    assert stack("apply", "grafana", **own).returncode == 0
    assert grafana.password == rotated


def test_a_rotation_without_a_password_that_grafana_accepts_fails_and_changes_nothing(stack, grafana):
    stack("apply", "grafana")
    before = stack.password(), stack.file()
    grafana.password = "changed by a person"
    done = stack("rotate", "grafana")
    assert done.returncode == 2
    assert grafana.url in done.stderr
    assert "nothing was changed" in done.stderr
    assert NAME in done.stderr
    assert (stack.password(), stack.file()) == before
    assert stack("rotate", "grafana", **{NAME: "changed by a person"}).returncode == 0, "as the message says"
    assert grafana.password == stack.password()


def test_a_rotation_while_grafana_refuses_all_logins_fails_and_succeeds_afterwards(stack, grafana, clock):
    stack("apply", "grafana")
    before = grafana.password
    for _ in range(ATTEMPTS):
        grafana.handle("GET /api/user", "Basic YWRtaW46Z3Vlc3M=", {})
    done = stack("rotate", "grafana")
    assert done.returncode == 2
    assert "five minutes" in done.stderr
    clock.now += LOCKED_S + 1
    assert stack("rotate", "grafana").returncode == 0
    assert grafana.password == stack.password() != before


def test_a_rotation_that_grafana_refuses_fails_and_the_next_start_completes_it(stack, grafana, monkeypatch):
    stack("apply", "grafana")
    monkeypatch.setattr(grafana, "_change", lambda _: (500, {"message": "Failed to update user"}))
    done = stack("rotate", "grafana")
    assert done.returncode == 1
    assert "HTTP 500" in done.stderr
    monkeypatch.undo()
    assert stack("apply", "grafana").returncode == 0
    assert grafana.password == stack.password()


@pytest.mark.parametrize("command", ["apply", "rotate"])
def test_a_grafana_that_is_unavailable_or_not_ready_fails_with_its_address(stack, grafana, command):
    grafana.ready = False
    done = stack(command, "grafana")
    assert done.returncode == 1
    assert "HTTP 503" in done.stderr
    stack.url = f"http://127.0.0.1:{free_port()}"
    done = stack(command, "grafana")
    assert done.returncode == 1
    assert stack.url in done.stderr
    assert grafana.password == EXAMPLE

"""The stack's warning about old Docker engines at its start. `make test-stack` tests it with a real engine."""

import pytest
from click.testing import CliRunner

from emm_pipeline.access import engine
from emm_pipeline.access.engine import interfaces, is_older_than_28
from emm_pipeline.cli.main import emm

BEFORE_28 = ("02:42:ac:13:00:02", "172.19.0.2")
FROM_28_ON = ("6a:5d:0c:8e:21:f4", "172.19.0.2")


@pytest.mark.parametrize(
    ("addresses", "is_older"),
    [
        ([BEFORE_28], True),
        ([FROM_28_ON], False),
        ([("02:42:ac:13:00:03", "172.19.0.2")], False),
        ([FROM_28_ON, ("02:42:0a:00:00:07", "10.0.0.7")], True),
        ([], None),
    ],
)
def test_an_engine_before_28_is_recognized_by_its_container_addresses(addresses, is_older):
    assert is_older_than_28(addresses) is is_older


def test_the_interfaces_of_this_machine_can_be_read():
    assert "127.0.0.1" not in [address for _, address in interfaces()]
    assert is_older_than_28(interfaces()) in {True, False, None}


def check(monkeypatch, addresses, bind: str) -> str:
    monkeypatch.setattr(engine, "interfaces", lambda: addresses)
    monkeypatch.setenv("EMM_BIND", bind)
    result = CliRunner().invoke(emm, ["settings", "check"], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_check_at_the_start_warns_of_such_an_engine_and_says_what_to_do(monkeypatch):
    output = check(monkeypatch, [BEFORE_28], "127.0.0.1")
    assert "WARNING" in output
    assert "docker/check-engine" in output
    assert "version 28" in output


@pytest.mark.parametrize(
    ("addresses", "bind"), [([FROM_28_ON], "127.0.0.1"), ([], "127.0.0.1"), ([BEFORE_28], "0.0.0.0")]
)
def test_the_check_does_not_warn_where_no_port_is_exposed_against_the_settings(monkeypatch, addresses, bind):
    assert "WARNING" not in check(monkeypatch, addresses, bind)

"""Virtual devices at a glance: which meters they are, whether they answer, and where their log is."""

from datetime import UTC, datetime

import pytest

from emm_pipeline.condition.meters import MeterCondition
from emm_pipeline.condition.virtual_devices import virtual_devices
from emm_pipeline.status import State, Status
from virtual_modbustcp_server.status import status_words

READ = datetime(2026, 3, 1, 12, tzinfo=UTC)
UPDATED = datetime(2026, 3, 1, 11, 30, tzinfo=UTC)


def meter(state=State.OK, reason=None, *, host="boiler", type_="boiler", read_at=READ):
    row = {"id": 1, "host": host, "port": 502, "type": type_, "description": None}
    return MeterCondition(row, 1, Status(state, reason), read_at)


def only(condition, *, in_stack=True):
    (device,) = virtual_devices([condition], in_stack=in_stack)
    return device


@pytest.mark.parametrize(
    ("host", "type_", "found"),
    [
        ("boiler", "boiler", True),
        ("127.0.0.1", "virtual_modbustcp", True),
        ("192.168.1.5", "zeversolar", True),
        ("gateway1", "sdm630", False),
        ("", "", False),
    ],
)
def test_examples_and_devices_named_as_their_type_are_virtual(host, type_, found):
    assert bool(virtual_devices([meter(host=host, type_=type_)], in_stack=False)) == found


def test_a_device_that_answers_has_current_data_and_a_log_in_the_stack():
    device = only(meter())
    assert (device.answers, device.current_at, device.log) == (True, READ, "docker compose logs boiler")
    assert only(meter(), in_stack=False).log is None
    assert only(meter(host="127.0.0.1", type_="zeversolar")).log is None, "not a service of the stack"


def test_a_device_without_data_says_since_when_and_where_its_log_is(monkeypatch):
    monkeypatch.setenv("VIRTUAL_SERVER_LOG", "docker compose logs {host}")
    words = status_words(UPDATED, ValueError("no page (yet); its log: nowhere"))
    text = b"".join(word.to_bytes(2) for word in words).rstrip(b"\0").decode().removeprefix("EMM virtual server: ")
    reason = f"server device failure (exception 4); it is a virtual server: {text.replace('{host}', 'boiler')}"
    device = only(meter(State.FAILING, reason, host="10.0.0.5", type_="sdm630"), in_stack=False)
    assert (device.answers, device.current_at, device.log) == (True, UPDATED, "docker compose logs boiler")


@pytest.mark.parametrize(("state", "answers"), [(State.FAILING, False), (State.NEW, None), (State.DISABLED, None)])
def test_a_device_that_was_not_read_is_no_device_that_answers(state, answers):
    device = only(meter(state, "no reply within 3 s", read_at=None))
    assert (device.answers, device.current_at) == (answers, None)
    assert device.as_record()["answers"] is answers

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.mqtt.packets import header, json_payload, number, packet


@given(st.text(min_size=1, max_size=300), st.binary(max_size=20_000), st.booleans())
def test_a_packet_can_be_read_by_the_rules_of_the_standard(topic, payload, retain):
    """An independent reader of a PUBLISH packet: MQTT 3.1.1, sections 2.2 and 3.3."""
    data = packet(header(topic), payload, retain=retain)
    assert data[0] == (0x31 if retain else 0x30)
    length, shift, at = 0, 0, 1
    while True:
        length += (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            break
    rest = data[at:]
    assert len(rest) == length
    size = rest[0] * 256 + rest[1]
    assert rest[2 : 2 + size].decode() == topic
    assert rest[2 + size :] == payload


@pytest.mark.parametrize(
    ("value", "text"),
    [(230.0, "230"), (-0.5, "-0.5"), (0.1 + 0.2, "0.30000000000000004"), (1e22, "1e+22"), (123456.789, "123456.789")],
)
def test_a_value_is_published_as_it_is_stored(value, text):
    assert number(value) == text
    assert float(number(value)) == value


def test_the_json_of_a_meter_has_the_time_of_the_reading():
    assert json.loads(json_payload(1_767_268_800_250, {"voltage": 230.5})) == {
        "time": "2026-01-01T12:00:00.250Z",
        "values": {"voltage": 230.5},
    }

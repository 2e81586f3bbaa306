import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from emm_pipeline.mqtt.topics import Topics, level, level_names

TOPICS = Topics()


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("voltageL1", "voltageL1"),
        ("active power", "active power"),
        ("Zähler", "Zähler"),
        ("a/b", "a%2Fb"),
        ("50%+#", "50%25%2B%23"),
        ("a\tb\x7f", "a%09b%7F"),
        ("x\u0085\ufdd0\U0001ffff", "x%C2%85%EF%B7%90%F0%9F%BF%BF"),
    ],
)
def test_a_name_becomes_one_level_that_can_be_read(name, escaped):
    assert level(name) == escaped


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_have_different_topics_without_wildcards(one, other):
    topics = {TOPICS.value(5, level(name)) for name in (one, other)}
    assert len(topics) == len({one.encode("utf-8", "replace"), other.encode("utf-8", "replace")})
    for topic in topics:
        assert topic.count("/") == 2
        assert not re.search(r"[+#\x00-\x1f\x7f-\x9f]", topic)
        assert topic_matches_sub("emm/5/+", topic)


def test_one_name_with_two_units_has_two_topics():
    series = [
        ("energy", "kWh"),
        ("energy", "Wh"),
        ("power", "W"),
        ("energy kWh", None),
        ("flow", "m³/h"),
        ("flow", None),
    ]
    assert list(level_names(series).values()) == [
        "energy%20kWh",
        "energy%20Wh",
        "power",
        "energy kWh",
        "flow%20m³%2Fh",
        "flow%20",
    ]


@pytest.mark.parametrize(
    ("topic", "owned"),
    [
        ("emm/5/voltage", True),
        ("emm/5", True),
        ("emm/-1/x", True),
        ("emm/status/5", True),
        ("homeassistant/device/emm/5/config", True),
        ("emm/status", False),
        ("emm/5/a/b", False),
        ("emm/garage/door", False),
        ("homeassistant/device/other/5/config", False),
        ("homeassistant/sensor/emm/5/config", False),
    ],
)
def test_only_topics_that_can_be_those_of_a_meter_may_be_cleared(topic, owned):
    assert TOPICS.owns(topic) is owned


def test_several_installations_share_a_broker_with_different_prefixes():
    barn = Topics("farm/barn", "ha")
    assert barn.discovery(5) == "ha/device/farm_barn/5/config"
    assert barn.owns("farm/barn/5/voltage")
    assert not barn.owns("emm/5/voltage")

"""Fixtures for all tests; each real server has its module in tests/support."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from emm_pipeline.modbus.transport.memory import forget_gateways
from emm_pipeline.settings import current_settings

# A busy machine must not fail a test.
settings.register_profile("emm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("emm")

pytest_plugins = [
    "soak.table",
    "support.browser",
    "support.command_line",
    "support.postgres",
    "support.influxdb",
    "support.influxdb_2",
    "support.meters",
    "support.clock",
    "support.polling",
    "support.instance",
    "support.mail",
    "support.mosquitto",
    "support.mqtt_installation",
    "support.passwords",
    "support.web",
]


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    """Make each test read the settings again, and know no gateway: another test may have used the port before."""
    current_settings.cache_clear()
    forget_gateways()
    yield
    current_settings.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that wait for ticks first, so that other tests run during the waiting time."""
    items.sort(key=lambda item: item.get_closest_marker("end_to_end") is None)

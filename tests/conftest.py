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
    "support.shared",
    "soak.table",
    "support.browser",
    "support.postgres",
    "support.command_line",
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

LONGEST = (
    "test_end_to_end",
    "test_status_of_the_stack",
    "test_celery_runs",
    "test_operation",
    "test_wheel",
    "test_operator",
    "test_web_page",
    "test_commissioning",
    "test_types_commands",
    "test_transports",
    "test_alerts_job",
    "test_demo",
    "test_web_accessibility",
    "test_prune",
    "test_status_command",
    "test_meters_commands",
    "test_absent_registers",
    "test_poll",
    "test_register_contents_commands",
    "test_publisher",
    "test_news",
    "test_every_command",
    "test_original_database",
    "test_late_replies",
    "test_failing_meters",
    "test_walkthrough",
    "test_commands",
    "test_dagster_commands",
)
"""The files that take longest, in decreasing order."""


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    """Make each test read the settings again, and know no gateway: another test may have used the port before."""
    current_settings.cache_clear()
    forget_gateways()
    yield
    current_settings.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that take longest first, so that none of them is alone at the end."""
    first = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path.stem, len(first)))

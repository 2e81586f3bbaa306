"""Fixtures for all tests; each real server has its module in tests/support."""

from hypothesis import HealthCheck, settings

# A busy machine is no failure.
settings.register_profile("emm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("emm")

pytest_plugins = [
    "soak.table",
    "support.browser",
    "support.postgres",
    "support.influxdb",
    "support.meters",
    "support.instance",
    "support.mail",
]

"""Fixtures for all tests; each real server has its module in tests/support."""

pytest_plugins = [
    "support.browser",
    "support.postgres",
    "support.influxdb",
    "support.meters",
    "support.instance",
    "support.mail",
]

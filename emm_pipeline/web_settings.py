"""Settings of Dagster's pages and of the web page: logins, addresses in browsers, and proxies (pure)."""

from __future__ import annotations

import re

from pydantic import BaseModel, SecretStr, field_validator


class WebSettings(BaseModel):
    """The settings; a field's name in capitals is its environment variable.

    `dagster_url` and `grafana_url` are the addresses in browsers, for links. `dagster_api_url` is the address at which
    the web page reaches Dagster's webserver.
    """

    emm_hosts: str = ""
    emm_trusted_proxies: str = "proxy"
    emm_proxy_host: str = "localhost"
    grafana_url: str = ""
    dagster_url: str = ""
    dagster_api_url: str = ""
    dagster_login_user: str = "admin"
    dagster_login_password: SecretStr = SecretStr("")
    web_login_user: str = "admin"
    web_login_password: SecretStr = SecretStr("")

    @field_validator("grafana_url", "dagster_url", "dagster_api_url")
    @classmethod
    def _is_http_if_any(cls, value: str) -> str:
        return require_http(value) if value else value


def require_http(value: str) -> str:
    """Return an HTTP URL.

    Raises:
        ValueError: It is not one.
    """
    if not re.fullmatch(r"https?://[^\s/?#]+\S*", value):
        raise ValueError("allowed: http://host:port or https://host:port")
    return value

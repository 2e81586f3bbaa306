"""Change the password of Grafana's administrator, and make Grafana reload its provisioned token."""

from __future__ import annotations

import urllib3

from emm_pipeline.errors import EmmError

_TIMEOUT_S = 10.0
_SUCCESS = range(200, 300)
_NO_LOGIN = {401, 403}


class GrafanaAccess:
    """Grafana at `url`, as the user `user`. No error contains a password.

    Grafana's API: https://grafana.com/docs/grafana/latest/developers/http_api/

    Attributes:
        where: Grafana and its URL, for messages.
    """

    def __init__(self, url: str, user: str) -> None:
        self._url = url.rstrip("/")
        self.where = f"Grafana at {self._url}"
        self._user = user
        self._http = urllib3.PoolManager(timeout=_TIMEOUT_S, retries=False)

    def accepts(self, password: str) -> bool:
        """Whether the user can log in with this password.

        Raises:
            EmmError: Grafana does not answer, or its answer neither accepts nor rejects the login.
        """
        status = self._request("GET", "/api/user", password).status
        if status not in _SUCCESS and status not in _NO_LOGIN:
            raise EmmError(f"{self.where} answered HTTP {status} to a login; is it ready?")
        return status in _SUCCESS

    def change(self, old: str, new: str) -> None:
        """Change the user's own password.

        Raises:
            EmmError: Grafana does not answer, or rejects the change.
        """
        answer = self._request("PUT", "/api/user/password", old, {"oldPassword": old, "newPassword": new})
        if answer.status not in _SUCCESS:
            raise EmmError(f"{self.where} answered HTTP {answer.status} to a change of {self._user}'s password")

    def read_token_again(self, password: str) -> bool:
        """Make Grafana reload its provisioned data sources with InfluxDB's token; return whether it did."""
        try:
            answer = self._request("POST", "/api/admin/provisioning/datasources/reload", password)
        except EmmError:
            return False  # Grafana is not running, and will read them when it starts
        return answer.status in _SUCCESS

    def _request(
        self, method: str, path: str, password: str, body: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        headers = urllib3.make_headers(basic_auth=f"{self._user}:{password}", basic_auth_encoding="utf-8")
        try:
            return self._http.request(method, self._url + path, headers=headers, json=body)
        except urllib3.exceptions.HTTPError as err:
            raise EmmError(f"{self.where} does not answer: {err}; is it running?") from None

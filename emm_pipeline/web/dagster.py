"""Start a poll of one meter, or the discovery, through Dagster's webserver: it is in the history of runs.

The page does not import Dagster: its GraphQL API is asked over HTTP, with the login of its pages.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import urllib3

from emm_pipeline.credentials import hide_credentials
from emm_pipeline.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emm_pipeline.settings import Settings

TIMEOUT_S = 20.0
_OK, _UNAUTHORIZED = 200, frozenset({401, 403})
_LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on InvalidSubsetError { message } ... on UnauthorizedError { message } } }"""
_LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "emm"}
_POLL = {**_LOCATION, "pipelineName": "poll"}
_DISCOVERY = {**_LOCATION, "pipelineName": "discovery"}


def poll_now(settings: Settings, meter_id: int, who: str) -> str:
    """Start a run that polls one meter; return its id.

    Raises:
        ConfigurationError: DAGSTER_API_URL is not set, or Dagster refuses the login.
        TransientError: Dagster does not answer, or could not start the run.
    """
    return _launch(settings, "poll", _POLL, {"dagster/partition": str(meter_id), "started_by": who})


def discover_now(settings: Settings, who: str) -> str:
    """Start a run of the discovery, after which new meters are polled; return its id.

    Raises:
        ConfigurationError, TransientError: As `poll_now`.
    """
    return _launch(settings, "discovery", _DISCOVERY, {"started_by": who})


def _launch(settings: Settings, what: str, selector: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    params = {
        "selector": selector,
        "mode": "default",
        "runConfigData": {},
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
    }
    result = _ask(settings, _LAUNCH, params=params)["launchRun"]
    if result["__typename"] != "LaunchRunSuccess":
        raise TransientError(f"Dagster did not start the {what}: {result.get('message') or result['__typename']}")
    return str(result["run"]["runId"])


def _ask(settings: Settings, query: str, **variables: Any) -> dict[str, Any]:
    url = settings.dagster_api_url.rstrip("/")
    if not url:
        raise ConfigurationError("DAGSTER_API_URL is not set: the address of Dagster's webserver, for polling now")
    where = f"Dagster at {hide_credentials(url)}"
    # Its guard accepts requests for localhost, whatever the name of its container is.
    headers = {"Content-Type": "application/json", "Host": "localhost"}
    if password := settings.dagster_login_password.get_secret_value():
        headers |= urllib3.make_headers(
            basic_auth=f"{settings.dagster_login_user}:{password}", basic_auth_encoding="utf-8"
        )
    body = json.dumps({"query": query, "variables": variables})
    try:
        with urllib3.PoolManager(timeout=TIMEOUT_S, retries=False) as pool:
            answer = pool.request("POST", f"{url}/graphql", body=body, headers=headers)
            result = json.loads(answer.data) if answer.status == _OK else {}
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as err:
        raise TransientError(f"{where} does not answer: {type(err).__name__}; is it running?") from None
    if answer.status in _UNAUTHORIZED:
        raise ConfigurationError(f"{where} refuses the login: check DAGSTER_LOGIN_USER and DAGSTER_LOGIN_PASSWORD")
    if "data" not in result or result.get("errors"):
        reasons = "; ".join(str(each.get("message")) for each in result.get("errors", ()))
        raise TransientError(f"{where} answered HTTP {answer.status}: {reasons[:300] or 'no data'}")
    data: dict[str, Any] = result["data"]
    return data

"""Dagster's GraphQL API, used as by its web UI."""

import base64
import json
import re
import time
import urllib.request
from collections.abc import Callable
from typing import Any

ASSET = [{"path": ["meter_readings"]}]
LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "emm"}
SCHEDULES = ("discovery_schedule", "poll_schedule", "prune_schedule")
FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}


def wait_for(what: str, look: Callable[[], Any], timeout_s: float = 60, every_s: float = 0.5) -> Any:
    """Return the first true result of `look`; fail after `timeout_s` with a message that contains `what`."""
    deadline = time.monotonic() + timeout_s
    while not (result := look()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}"
        time.sleep(every_s)
    return result


class DagsterUI:
    """A webserver at `url`.

    Attributes:
        login: user and password, if a login is required.
    """

    def __init__(self, url: str, login: tuple[str, str] | None = None) -> None:
        self.url = url
        self.login = login

    def ask(self, query: str, **variables: Any) -> Any:
        """Return a query's data; fail if there is a GraphQL error."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        if self.login:
            credentials = base64.b64encode(":".join(self.login).encode()).decode()
            request.add_header("Authorization", f"Basic {credentials}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            result = json.load(answer)
        assert "errors" not in result, result["errors"]
        return result["data"]

    def partitions(self, asset: str = "meter_readings") -> dict[str, set[str]]:
        """Return an asset's partition keys by status: all, materialized, failed, materializing."""
        node = self.ask(
            """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
                 partitionKeys
                 assetPartitionStatuses { ... on DefaultPartitionStatuses {
                   materializedPartitions failedPartitions materializingPartitions }
                   ... on TimePartitionStatuses { ranges { startKey endKey status } } } } } }""",
            key={"path": [asset]},
        )["assetNodeOrError"]
        statuses = node["assetPartitionStatuses"]
        if "ranges" in statuses:
            keys = node["partitionKeys"]
            of_status: dict[str, set[str]] = {
                "all": set(keys),
                "materialized": set(),
                "failed": set(),
                "materializing": set(),
            }
            for each in statuses["ranges"]:
                inside = keys[keys.index(each["startKey"]) : keys.index(each["endKey"]) + 1]
                of_status.setdefault(each["status"].lower(), set()).update(inside)
            return of_status
        return {
            "all": set(node["partitionKeys"]),
            "materialized": set(statuses.get("materializedPartitions", ())),
            "failed": set(statuses.get("failedPartitions", ())),
            "materializing": set(statuses.get("materializingPartitions", ())),
        }

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Return the latest runs, newest first."""
        return self.ask(
            """query($filter: RunsFilter) { runsOrError(filter: $filter, limit: 50) { ... on Runs { results {
                 runId jobName status creationTime startTime endTime parentRunId tags { key value } } } } }""",
            filter=filters,
        )["runsOrError"]["results"]

    def failure(self, run_id: str) -> str:
        """Return the error texts of a run's failed steps."""
        events = self.ask(
            """query($id: ID!) { runOrError(runId: $id) { ... on Run { eventConnection { events {
                 ... on ExecutionStepFailureEvent {
                   error { message } failureMetadata { description } } } } } } }""",
            id=run_id,
        )["runOrError"]["eventConnection"]["events"]
        texts = []
        for event in events:
            texts += [event["error"]["message"]] if event.get("error") else []
            texts += [event["failureMetadata"]["description"] or ""] if event.get("failureMetadata") else []
        return "\n".join(texts)

    def launch(self, job: str, **tags: str) -> str:
        """Launch a job without a partition, as its launchpad does, with these tags; return the run id."""
        return self._launch({**LOCATION, "pipelineName": job}, tags)

    def materialize(self, partition: str) -> str:
        """Press "materialize" for one partition on the asset's page; return the run id."""
        selector = {**LOCATION, "pipelineName": "__ASSET_JOB", "assetSelection": ASSET}
        return self._launch(selector, {"dagster/partition": partition})

    def _launch(self, selector: dict[str, Any], tags: dict[str, str]) -> str:
        params = {
            "selector": selector,
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        result = self.ask(
            """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
                 __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            params=params,
        )["launchRun"]
        assert result["__typename"] == "LaunchRunSuccess", result
        return str(result["run"]["runId"])

    def re_execute(self, run_id: str, strategy: str = "FROM_FAILURE") -> str:
        """Press "re-execute from failure"; return the new run's id."""
        result = self.ask(
            """mutation($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params) {
                 __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            params={"parentRunId": run_id, "strategy": strategy},
        )["launchRunReexecution"]
        assert result["__typename"] == "LaunchRunSuccess", result
        return str(result["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """Press "terminate"."""
        result = self.ask(
            """mutation($id: String!) { terminateRun(runId: $id) {
                 __typename ... on TerminateRunFailure { message } ... on PythonError { message } } }""",
            id=run_id,
        )["terminateRun"]
        assert result["__typename"] == "TerminateRunSuccess", result

    def backfill(self, partitions: list[str]) -> str:
        """Launch a backfill of partitions; return its id."""
        result = self.ask(
            """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
                 __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params={"assetSelection": ASSET, "partitionNames": partitions},
        )["launchPartitionBackfill"]
        assert result["__typename"] == "LaunchBackfillSuccess", result
        return str(result["backfillId"])

    def backfills(self) -> list[str]:
        """Return the ids of the latest backfills, newest first."""
        found = self.ask("{ partitionBackfillsOrError(limit: 20) { ... on PartitionBackfills { results { id } } } }")[
            "partitionBackfillsOrError"
        ]["results"]
        return [str(each["id"]) for each in found]

    def wait_for_backfill(self, backfill_id: str, timeout_s: float = 120) -> str:
        """Wait for the end of a backfill; return its status."""

        def look() -> str | None:
            status = self.ask(
                """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
                     ... on PartitionBackfill { status } } }""",
                id=backfill_id,
            )["partitionBackfillOrError"]["status"]
            return status if status.startswith(("COMPLETED", "FAILED", "CANCELED")) else None

        return str(wait_for(f"backfill {backfill_id}", look, timeout_s))

    def wait_for_run(self, run_id: str, timeout_s: float = 60) -> dict[str, Any]:
        """Wait for the end of a run; return the run."""

        def look() -> dict[str, Any] | None:
            run = self.runs(runIds=[run_id])[0]
            return run if run["status"] in FINISHED else None

        return wait_for(f"run {run_id}", look, timeout_s)

    def process_of(self, run_id: str) -> int:
        """Return the process id of a run's worker from its events."""
        events = self.ask(
            """query($id: ID!) { runOrError(runId: $id) { ... on Run { eventConnection { events {
                 ... on MessageEvent { message } } } } } }""",
            id=run_id,
        )["runOrError"]["eventConnection"]["events"]
        messages = " ".join(event.get("message", "") for event in events)
        found = re.search(r"process for run \(pid: (\d+)\)", messages)
        assert found, messages
        return int(found[1])

    def schedules(self) -> dict[str, str]:
        """Return the status of each schedule: RUNNING or STOPPED."""
        results = self.ask(
            """query($selector: RepositorySelector!) { schedulesOrError(repositorySelector: $selector) {
                 ... on Schedules { results { name scheduleState { status } } } } }""",
            selector=LOCATION,
        )["schedulesOrError"]["results"]
        return {schedule["name"]: schedule["scheduleState"]["status"] for schedule in results}

    def toggle(self, schedule: str, on: bool) -> None:
        """Switch a schedule on or off."""
        selector = {**LOCATION, "scheduleName": schedule}
        if on:
            query = "mutation($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename } }"
            self.ask(query, s=selector)
            return
        state = self.ask(
            """query($s: ScheduleSelector!) { scheduleOrError(scheduleSelector: $s) {
                 ... on Schedule { scheduleState { id } } } }""",
            s=selector,
        )["scheduleOrError"]["scheduleState"]["id"]
        self.ask("mutation($id: String!) { stopRunningSchedule(id: $id) { __typename } }", id=state)

    def stop_sensor(self, sensor: str) -> None:
        """Switch a sensor off, so that it starts no runs during a test."""
        state = self.ask(
            """query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) {
                 ... on Sensor { sensorState { id } } } }""",
            s={**LOCATION, "sensorName": sensor},
        )["sensorOrError"]["sensorState"]["id"]
        self.ask("mutation($id: String!) { stopSensor(id: $id) { __typename } }", id=state)

    def ticks(self, schedule: str) -> list[dict[str, Any]]:
        """Return a schedule's last ticks, newest first."""
        return self.ask(
            """query($s: ScheduleSelector!) { scheduleOrError(scheduleSelector: $s) { ... on Schedule {
                 scheduleState { ticks(limit: 10) {
                   timestamp endTimestamp status skipReason runIds error { message } } } } } }""",
            s={**LOCATION, "scheduleName": schedule},
        )["scheduleOrError"]["scheduleState"]["ticks"]

"""Checks of the asset `meter_readings` as a whole: whether all meters were read, and whether their values can be right.

Each run of a poll evaluates them over all known meters, with a table of the meters that fail the check: a run over one
meter does not turn a check green while others fail. A failed check of a red run is blocking, because only then can
Dagster re-execute the run "from asset failure".

Asset checks: https://docs.dagster.io/guides/test/asset-checks
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from dagster import AssetCheckEvaluation, AssetCheckSeverity, AssetCheckSpec, MetadataValue

from emm_pipeline.config_db.device_state.meter_status import MeterStatus
from emm_pipeline.defs.partitions import METER_READINGS
from emm_pipeline.defs.reporting import table
from emm_pipeline.status import RegisterIssue, RegisterIssueKind

ALL_METERS_READ = "all_meters_read"
ALL_REGISTERS_DELIVERED = "all_registers_delivered"
VALUES_PLAUSIBLE = "values_plausible"
OUTBOX_EMPTY = "outbox_empty"

CHECKS = (
    AssetCheckSpec(
        ALL_METERS_READ,
        asset=METER_READINGS,
        description="Every enabled meter was read when it was last polled, or may be off and did not reply.",
    ),
    AssetCheckSpec(
        ALL_REGISTERS_DELIVERED,
        asset=METER_READINGS,
        description="Each device delivered every configured register, or a person has accepted its absence.",
    ),
    AssetCheckSpec(
        VALUES_PLAUSIBLE,
        asset=METER_READINGS,
        description="Every value is within the range that meters measure: frequency, voltage, power factor and others.",
    ),
    AssetCheckSpec(
        OUTBOX_EMPTY,
        asset=METER_READINGS,
        description="No points wait for the readings store, and no points of this run were lost or rejected.",
    ),
)
OUTPUTS = tuple(f"{METER_READINGS.path[-1]}_{check.name}" for check in CHECKS)
"""The outputs of the last step for the checks. The step does not yield them: it logs the evaluations instead."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The input of the checks: meters that fail, registers that do not deliver by meter id, and why points wait."""

    failing: Sequence[MeterStatus] = ()
    issues: Mapping[int, Collection[RegisterIssue]] = field(default_factory=dict)
    store_problems: Sequence[str] = ()


_OFFENDERS = {
    ALL_METERS_READ: ("meter that fails", "meters that fail"),
    ALL_REGISTERS_DELIVERED: ("register that is missing", "registers that are missing"),
    VALUES_PLAUSIBLE: ("register with an implausible value", "registers with implausible values"),
    OUTBOX_EMPTY: ("reason why points are not stored", "reasons why points are not stored"),
}
"""By check, the names of one offender and of several."""


def evaluations(findings: Findings, *, red: bool) -> list[AssetCheckEvaluation]:
    """Return the evaluation of each check."""
    implausible: list[dict[str, object]] = []
    absent: list[dict[str, object]] = []
    for meter_id, issues in sorted(findings.issues.items()):
        for issue in issues:
            is_implausible = issue.kind is RegisterIssueKind.IMPLAUSIBLE
            (implausible if is_implausible else absent).append(_issue_row(meter_id, issue))
    failing: list[dict[str, object]] = [
        {"id": each.id, "reason": each.reason, "since": _shown(each.failing_since)} for each in findings.failing
    ]
    problems: list[dict[str, object]] = [{"reason": problem} for problem in findings.store_problems]
    error, warn = AssetCheckSeverity.ERROR, AssetCheckSeverity.WARN
    return [
        _evaluation(ALL_METERS_READ, failing, error, red=red),
        _evaluation(ALL_REGISTERS_DELIVERED, absent, warn, red=red),
        _evaluation(VALUES_PLAUSIBLE, implausible, warn, red=red),
        _evaluation(OUTBOX_EMPTY, problems, error, red=red),
    ]


def _evaluation(
    name: str, offenders: Sequence[Mapping[str, object]], severity: AssetCheckSeverity, *, red: bool
) -> AssetCheckEvaluation:
    singular, plural = _OFFENDERS[name]
    metadata: dict[str, MetadataValue] = {"count": MetadataValue.int(len(offenders))}
    if offenders:
        kinds = {"id": "int"}
        metadata[plural] = table({column: kinds.get(column, "string") for column in offenders[0]}, offenders)
    return AssetCheckEvaluation(
        METER_READINGS,
        name,
        passed=not offenders,
        severity=severity,
        metadata=metadata,
        description=None if not offenders else f"{len(offenders)} {singular if len(offenders) == 1 else plural}",
        blocking=bool(red and offenders),
    )


def _issue_row(meter_id: int, issue: RegisterIssue) -> dict[str, object]:
    return {
        "id": meter_id,
        "measurement": issue.measurement,
        "issue": issue.kind.value,
        "reason": issue.reason,
        "since": _shown(issue.since),
    }


def _shown(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else ""


def failing_of(statuses: Iterable[MeterStatus], existing: Collection[int]) -> list[MeterStatus]:
    """Return the meters that fail, by id, among those that have a partition."""
    return [each for each in statuses if each.failing_since and not each.asleep and each.id in existing]

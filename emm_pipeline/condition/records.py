"""The condition of meters and parts as dictionaries, for `--json` and for the API of the web page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.condition.meters import MeterCondition
    from emm_pipeline.condition.parts import PipelineCondition

_COLUMNS = ("id", "description", "host", "port", "slave_address", "type", "transport", "serial_settings")


def meter_record(each: MeterCondition) -> dict[str, Any]:
    """Return a meter as a record; its times are aware. `status` is one of `status.State`."""
    return {
        **{name: each.row.get(name) for name in _COLUMNS},
        "status": each.status.state,
        "since": each.status.since,
        "reason": each.status.reason,
        "what_to_do": each.status.what_to_do,
        "last_read_at": each.last_read_at,
        "failures_in_a_row": each.failures_in_a_row,
        "next_attempt_at": each.next_attempt_at,
        "registers": [
            {"measurement": i.measurement, "issue": i.kind, "reason": i.reason, "since": i.since} for i in each.issues
        ],
        "labels": dict(each.labels),
    }


def meter_records(conditions: Sequence[MeterCondition]) -> list[dict[str, Any]]:
    """Return a record per row of `energy_meters`."""
    return [meter_record(each) for each in conditions]


def pipeline_record(condition: PipelineCondition) -> dict[str, Any]:
    """Return all parts and meters (None if they are unknown), and the exit code of `emm status`."""
    return {
        "at": condition.at,
        "exit_code": condition.exit_code.value,
        "parts": [
            {
                "name": part.name,
                "status": part.status.state,
                "since": part.status.since,
                "reason": part.status.reason,
                "what_to_do": part.status.what_to_do,
            }
            for part in condition.parts
        ],
        "meters": None if condition.meters is None else meter_records(condition.meters),
    }

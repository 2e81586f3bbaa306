"""Status of each meter in the database, for `emm meters list`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emm_pipeline.cli.output import say, shown_time
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.config_db.device_state.failing_meters import load_failing
from emm_pipeline.config_db.device_state.meter_labels import load_labels
from emm_pipeline.config_db.device_state.meter_status import load_statuses
from emm_pipeline.config_db.editing.meter_rows import load_meter_rows
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.validation.meters import id_of
from emm_pipeline.polling.clock import clock_issue
from emm_pipeline.polling.device_state import absent_registers

if TYPE_CHECKING:
    from sqlalchemy import Engine


_SHOWN_COLUMNS = (
    *("id", "description", "host", "port", "slave_address", "type"),
    *("transport", "serial_settings"),
)


def meter_states(engine: Engine) -> list[dict[str, Any]]:
    """Return a record per row of `energy_meters`; its times are aware (UTC).

    `status` is `ok`, `failing`, `new` (not polled yet), `disabled` or `misconfigured`. `clock_issue` says why the times
    of what is read now are wrong, if they are; None for meters that are not read. `absent` are configured registers
    that the device does not give at present, a line each. `labels` are the texts that were read of the meter, such as
    its serial number, by name.
    """
    statuses, failing, labels = load_statuses(engine), load_failing(engine), load_labels(engine)
    newest_reading = max((status.last_read_at for status in statuses.values() if status.last_read_at), default=None)
    wrong_clock = clock_issue(datetime.now(UTC), newest_reading)
    fleet = load_fleet(engine)
    misconfigured = fleet.misconfigured
    absent = absent_registers(engine, fleet, datetime.now(UTC))
    states = []
    for row in load_meter_rows(engine):
        id_ = id_of(row)
        status = fails = issue = None
        if id_ is not None:
            status, fails, issue = statuses.get(id_), failing.get(id_), misconfigured.get(id_)
        reason = str(issue) if issue else fails.reason if fails else status.reason if status else None
        if row.get("enabled") is False:
            word, reason = "disabled", None
        elif issue:
            word = "misconfigured"
        elif reason:
            word = "failing"
        else:
            word = "ok" if status and status.last_read_at else "new"
        states.append(
            {
                **{name: row.get(name) for name in _SHOWN_COLUMNS},
                "status": word,
                "last_read_at": status.last_read_at if status else None,
                "failures_in_a_row": max(fails.failures if fails else 0, status.failures_in_a_row if status else 0),
                "next_attempt_at": fails.next_attempt_at if fails else None,
                "reason": reason,
                "absent": absent.get(id_, ()) if id_ is not None else (),
                "clock_issue": None if word in {"disabled", "misconfigured"} else wrong_clock,
                "labels": labels.get(id_, {}) if id_ is not None else {},
            }
        )
    return states


def print_states(states: list[dict[str, Any]]) -> None:
    """Print the meters as a table, and below it the reasons why some are not read."""
    if not states:
        say("no meters yet: emm scan HOST finds the units behind a gateway, emm meters add adds one")
        return
    headers = [*("id", "description", "host:port", "unit", "type", "status"), "last reading (UTC)", "failures"]
    headers += ["next attempt (UTC)", *(["labels"] if any(state["labels"] for state in states) else [])]
    rows = [
        (
            *(state["id"], state["description"], _address(state), state["slave_address"]),
            *(state["type"], _shown_status(state), shown_time(state["last_read_at"])),
            *(state["failures_in_a_row"] or "", shown_time(state["next_attempt_at"])),
            ", ".join(f"{name} {text}" for name, text in state["labels"].items()),
        )[: len(headers)]
        for state in states
    ]
    print_table(headers, rows, right=("id", "unit", "failures"))
    for state in states:
        if state["reason"]:
            say(f"meter {state['id']} {state['status']}: {state['reason']}")
        for line in state["absent"]:
            say(f"meter {state['id']} lacks {line}")
    for issue in dict.fromkeys(state["clock_issue"] for state in states if state["clock_issue"]):
        say(f"clock: {issue}")


def _address(state: dict[str, Any]) -> str:
    """The gateway, with its transport where that is not Modbus TCP."""
    if str(state["host"]).startswith("/"):
        return f"{state['host']} {state['serial_settings'] or ''}".rstrip()
    address = f"{state['host']}:{state['port']}"
    return address if state["transport"] in {None, "tcp"} else f"{state['transport']} {address}"


def _shown_status(state: dict[str, Any]) -> str:
    return f"{state['status']}, wrong clock" if state["clock_issue"] else str(state["status"])

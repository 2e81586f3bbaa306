"""Status of each meter in the database, for `emm meters list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.cli.local_time import shown_time, since, zone_name
from emm_pipeline.cli.output import say
from emm_pipeline.cli.showing.tables import print_table
from emm_pipeline.config_db.editing.meter_rows import shown_gateway

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emm_pipeline.condition.meters import MeterCondition


def print_list(conditions: Sequence[MeterCondition]) -> None:
    """Print the meters as a table, and below it the reasons of those that are not ok."""
    if not conditions:
        say("no meters yet: emm scan HOST finds the units behind a gateway, emm meters add adds one")
        return
    headers = [
        *("id", "description", "host:port", "unit", "type", "status"),
        f"last reading ({zone_name()})",
        "failures",
    ]
    headers += [f"next attempt ({zone_name()})", *(["labels"] if any(each.labels for each in conditions) else [])]
    rows = [
        (
            *(each.row.get("id"), each.row.get("description"), shown_gateway(each.row)),
            *(each.row.get("slave_address"), each.row.get("type"), each.status.state, shown_time(each.last_read_at)),
            *(each.failures_in_a_row or "", shown_time(each.next_attempt_at)),
            ", ".join(f"{name} {text}" for name, text in each.labels.items()),
        )[: len(headers)]
        for each in conditions
    ]
    print_table(headers, rows, right=("id", "unit", "failures"), below=(*headers[:5:-1], "description"))
    alike: dict[str, list[str]] = {}
    for each in conditions:
        if each.status.reason:
            text = f"{each.status.state}{since(each.status.since)}: {each.status.reason}"
            alike.setdefault(text, []).append(str(each.row.get("id")))
    for text, ids in alike.items():
        say(f"{'meters' if len(ids) > 1 else 'meter'} {', '.join(ids)} {text}")

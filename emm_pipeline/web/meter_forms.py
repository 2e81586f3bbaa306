"""The form of a meter: its fields as texts, the row that they mean, and what is wrong with each field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.editing.meter_rows import HIGHEST_POWER_W
from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.config_db.values import TRANSPORT_NAMES, InvalidValueError, positive
from emm_pipeline.fleet import SERIAL_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 500
NUMBERS = {"port": int, "slave_address": int, "factor": float}
_NAMES = {"port": "the port", "slave_address": "the unit id", "factor": "the factor"}
_PLACEHOLDER_TYPE = "type of the form"


@dataclass(slots=True)
class MeterForm:
    """A form. `issues` are by column; the form can be used if there are none."""

    values: dict[str, str]
    issues: dict[str, str] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> MeterForm:
        """Return the form of a new meter."""
        return cls({"host": "", "port": "502", "slave_address": "1", "type": "", "description": "", "transport": "tcp",
                    "serial_settings": "", "factor": "1", "may_be_off": "",
                    "tariff": "", "max_power_w": ""})  # fmt: skip

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> MeterForm:
        """Return the form of a meter in the database."""
        values = {name: "" if row.get(name) is None else str(row[name]) for name in cls.empty().values}
        factor = row.get("factor")
        return cls(
            values
            | {
                "may_be_off": "on" if row.get("may_be_off") else "",
                "transport": str(row.get("transport") or "tcp"),
                "factor": "1" if factor is None else f"{float(factor):g}",
                "max_power_w": "" if row.get("max_power_w") is None else f"{float(row['max_power_w']):g}",
            }
        )

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> MeterForm:
        """Return a form that a person has filled in."""
        given = {name: fields.get(name, "") for name in cls.empty().values}
        return cls({name: value.strip()[:LONGEST] if isinstance(value, str) else "" for name, value in given.items()})

    def row(self) -> dict[str, Any]:
        """Return the row that the fields mean; fill `issues` with what is wrong."""
        row: dict[str, Any] = {
            "host": self.values["host"],
            "type": self.values["type"],
            "description": self.values["description"] or None,
            "transport": self.values["transport"] or None,
            "serial_settings": self.values["serial_settings"] or None,
            "may_be_off": bool(self.values["may_be_off"]),
            "tariff": self.values["tariff"] or None,
            "max_power_w": None,
        }
        if row["transport"] not in {*TRANSPORT_NAMES, None}:
            self.issues["transport"] = f"is {row['transport']!r}; allowed: {', '.join(TRANSPORT_NAMES)}"
        if row["host"].startswith("/"):
            row |= {"transport": "serial"}
            self.values["port"] = str(SERIAL_PORT)
        for name, kind in NUMBERS.items():
            text = self.values[name].replace(",", ".") if kind is float else self.values[name]
            try:
                row[name] = kind(text)
            except (ValueError, OverflowError):
                self.issues[name] = f"{_NAMES[name]} is {self.values[name]!r}, which is not a number"
        if given := self.values["max_power_w"]:
            try:
                row["max_power_w"] = positive(given.replace(",", "."), HIGHEST_POWER_W)
            except InvalidValueError as err:
                self.issues["max_power_w"] = str(err)
        if not row["type"]:
            self.issues["type"] = "choose a type"
        if not row["host"]:
            self.issues["host"] = "enter a name or an address"
        if not self.issues:
            self._check(row)
        return row

    def _check(self, row: Mapping[str, Any]) -> None:
        # Whether there is such a type is checked where the row is used: it may come from the catalogue.
        checked = {**row, "id": 0, "enabled": True, "type": _PLACEHOLDER_TYPE}
        for issue in check_rows([checked], [], []).issues:
            if issue.table == "energy_meters" and issue.column != "type":
                self.issues.setdefault(issue.column, issue.reason)

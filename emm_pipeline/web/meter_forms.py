"""The form of a meter: its fields as texts, the row that they mean, and what is wrong with each field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emm_pipeline.config_db.validation import check_rows
from emm_pipeline.config_db.validation.meters import DEFAULT_PORT
from emm_pipeline.config_db.values import TRANSPORT_NAMES, InvalidValueError, power, shown
from emm_pipeline.fleet import SERIAL_PORT
from emm_pipeline.web.scan_forms import host_issue, split_port

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 500
NUMBERS = {"port": int, "slave_address": int, "factor": float}
_SERIAL = "serial"
_PLACEHOLDER_TYPE = "type of the form"


@dataclass(slots=True)
class MeterForm:
    """A form. `issues` are by column; the form can be used if there are none.

    `is_known_unit`: Another meter is the same unit, which a person may want.
    """

    values: dict[str, str]
    issues: dict[str, str] = field(default_factory=dict)
    is_known_unit: bool = False

    @property
    def first_issue(self) -> str | None:
        """The first field with an issue."""
        return next((name for name in self.values if name in self.issues), None)

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
        values = {name: value.strip()[:LONGEST] if isinstance(value, str) else "" for name, value in given.items()}
        host, port = split_port(values["host"])
        if port is None:
            values["host"] = host
        elif values["port"] in {port, str(DEFAULT_PORT), ""}:
            values |= {"host": host, "port": port}
        return cls(values)

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
            row["transport"] = _SERIAL
        if row["transport"] == _SERIAL:
            self.values["port"] = str(SERIAL_PORT)
        elif row["serial_settings"]:
            self.issues["serial_settings"] = "only a serial line has them: leave the field empty"
        self._read_numbers(row)
        if not row["type"]:
            self.issues["type"] = "choose a type"
        if reason := host_issue(row["host"]):
            self.issues["host"] = reason
        self._check(row)
        return row

    def _read_numbers(self, row: dict[str, Any]) -> None:
        for name, kind in NUMBERS.items():
            text = self.values[name].replace(",", ".") if kind is float else self.values[name]
            try:
                row[name] = kind(text)
            except (ValueError, OverflowError):
                kind_name = "a number" if kind is float else "a whole number"
                found = f"is {shown(text)}, which is not {kind_name}" if text else f"enter {kind_name}"
                self.issues[name] = found
        if given := self.values["max_power_w"]:
            try:
                row["max_power_w"] = power(given.replace(",", "."))
            except InvalidValueError as err:
                self.issues["max_power_w"] = str(err)

    def _check(self, row: Mapping[str, Any]) -> None:
        # Whether there is such a type is checked where the row is used: it may come from the catalogue.
        checked = {**row, "id": 0, "enabled": True, "type": _PLACEHOLDER_TYPE}
        for issue in check_rows([checked], [], []).issues:
            if issue.table == "energy_meters" and issue.column != "type":
                self.issues.setdefault(issue.column, issue.reason)

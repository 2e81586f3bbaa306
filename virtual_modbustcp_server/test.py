"""Serves random data: the virtual meter of EMM's demo, and a short example of a virtual server.

    unit 0   holding register 0                 INT: a random number from 0 to 100
    unit 1   holding registers 0, 4 … 28        the eight data types in the order of their codes, big-endian (ABCD)
             starting at 100, 200 and 300       the same with words swapped (CDAB), bytes swapped (BADC), both (DCBA)
    unit 2   input registers of an SDM630       a house with three phases (FLOAT, ABCD)

The values change with each update.
"""

from __future__ import annotations

import math
import random
import time
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from .server import DataType, FunctionCode, Order, VirtualModbusTCPServer, argument_parser
else:  # the folder was copied, and its files run as scripts
    from server import DataType, FunctionCode, Order, VirtualModbusTCPServer, argument_parser

SIGNED = (DataType.INT, DataType.LONG, DataType.INT64)
FLOATS = (DataType.FLOAT, DataType.FLOAT64)


def wander(value: float, step: float, lowest: float, highest: float) -> float:
    """Return a random number at most `step` away from `value`, within the limits."""
    return min(max(value + random.uniform(-step, step), lowest), highest)  # noqa: S311 - simulated data, not a secret


class RandomDataServer(VirtualModbusTCPServer):
    """Three units with random data."""

    def __init__(self, host: str, port: int, **options: str) -> None:
        super().__init__(host, port, max_data_age_s=None, **options)
        self._number = 50.0
        self._house = House()

    def set_datastore(self) -> None:
        """Change every value a little, and write all of them."""
        self._number = wander(self._number, 5, 0, 100)
        self.write(0, round(self._number), DataType.INT)
        self._write_all_types(round(self._number))
        for address, value in self._house.registers().items():
            self.write(address, value, unit_id=2, function_code=FunctionCode.READ_INPUT_REGISTERS)

    def _write_all_types(self, number: int) -> None:
        orders = product((Order.BIG_ENDIAN, Order.LITTLE_ENDIAN), repeat=2)
        for start, (byte_order, word_order) in zip((0, 100, 200, 300), orders, strict=True):
            for data_type in DataType:
                value = number / 4 if data_type in FLOATS else -number if data_type in SIGNED else number
                self.write(
                    start + 4 * (data_type - 1),
                    value,
                    data_type,
                    unit_id=1,
                    word_order=word_order,
                    byte_order=byte_order,
                )


class House:
    """Simulated readings of an SDM630 in a house with three phases."""

    def __init__(self) -> None:
        self._volts = [230.0, 231.0, 229.0]
        self._amperes = [2.0, 0.6, 4.0]
        self._imported_kwh = 1234.5
        self._imported_kvarh = 321.0
        self._updated_at = time.monotonic()

    def registers(self) -> dict[int, float]:
        """Return new values by register address; energies grow with the time since the last call.

        Addresses and units are those of the SDM630 manual.
        """
        self._volts = [wander(each, 0.5, 225, 235) for each in self._volts]
        self._amperes = [wander(each, 0.5, 0.3, 16) for each in self._amperes]
        phi = math.radians(wander(15, 5, 0, 30))
        apparent = [volts * amperes for volts, amperes in zip(self._volts, self._amperes, strict=True)]
        active = [each * math.cos(phi) for each in apparent]
        reactive = [each * math.sin(phi) for each in apparent]

        hours = (time.monotonic() - self._updated_at) / 3600
        self._updated_at += hours * 3600
        self._imported_kwh += sum(active) / 1000 * hours
        self._imported_kvarh += sum(reactive) / 1000 * hours

        values = {
            42: sum(self._volts) / 3,
            46: sum(self._amperes) / 3,
            48: sum(self._amperes),
            52: sum(active),
            56: sum(apparent),
            60: sum(reactive),
            62: math.cos(phi),
            66: math.degrees(phi),
            70: wander(50, 0.05, 49.8, 50.2),
            72: self._imported_kwh,
            74: 0.0,
            76: self._imported_kvarh,
            78: 0.0,
            342: self._imported_kwh,
            344: self._imported_kvarh,
        }
        per_phase = {
            0: self._volts,
            6: self._amperes,
            12: active,
            18: apparent,
            24: reactive,
            30: [math.cos(phi)] * 3,
            36: [math.degrees(phi)] * 3,
        }
        for start, phases in per_phase.items():
            values |= {start + 2 * phase: value for phase, value in enumerate(phases)}
        return values


if __name__ == "__main__":
    options = argument_parser(__doc__, transport=True).parse_args()
    RandomDataServer(
        options.host, options.port, transport=options.transport, serial_settings=options.serial_settings
    ).run()

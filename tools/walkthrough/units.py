"""Three simulated meters of different vendors behind one gateway, with different data types, orders and scales."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.fleet import DataType
from emm_pipeline.modbus.planning import plan_requests
from virtual_modbustcp_server.server import VirtualModbusTCPServer, argument_parser

if TYPE_CHECKING:
    from emm_pipeline.fleet import Register

METERS = {1: "sdm630", 2: "cg_em24_ethernet", 7: "abb_b23_b24"}
"""Types by unit id: floats in input registers; word-swapped 32-bit integers; unsigned integers of 32 and 64 bits."""

QUANTITIES = (
    (r"voltage(L1|LN)?", 231.4),
    (r"voltageL2", 229.8),
    (r"voltageL3", 232.6),
    (r"voltageL.*", 400.8),
    (r"frequency", 50.02),
    (r"current(L1|Mean)", 4.25),
    (r"currentL2", 0.5),
    (r"currentL3", 9.75),
    (r"current", 14.5),
    (r"powerFactor.*", 0.96),
    (r"activePowerL1", 944.1),
    (r"activePowerL2", 110.3),
    (r"activePowerL3", 2177.1),
    (r"activePower", 3231.5),
    (r"apparentPowerL1", 983.4),
    (r"apparentPowerL2", 114.9),
    (r"apparentPowerL3", 2267.9),
    (r"apparentPower", 3366.2),
    (r"phaseAngle.*", 16.3),
    (r"reactivePowerL.", -120.0),
    (r"reactivePower", -360.0),
    (r"import.*EnergyL.", 4115.2),
    (r"import.*Energy", 12345.6),
    (r"export.*Energy.*", 78.9),
    (r"(total|net)\w*Energy.*", 12424.5),
    (r".*Thd.*", 2.5),
)
"""The simulated value for a pattern of measurement names; the first pattern that matches applies.

The values go together, as those of a real meter do: a scan checks that.
"""

FLOATS = {DataType.FLOAT: ">f", DataType.FLOAT64: ">d"}


def raw_value(register: Register) -> float:
    """Return the raw value of the register, a whole number for integer types."""
    name = register.measurement_name
    measured = next((value for pattern, value in QUANTITIES if re.fullmatch(pattern, name)), 1.0)
    raw = measured / register.scale
    if register.data_type in FLOATS:
        return raw
    return round(abs(raw) if register.data_type in {DataType.UINT16, DataType.UINT32, DataType.UINT64} else raw)


def held_values(unit_id: int) -> dict[str, float]:
    """Return the values that a poll of the unit must return, by measurement."""
    values = {}
    for register in load_catalogue()[METERS[unit_id]].registers:
        raw = raw_value(register)
        if register.data_type in FLOATS:
            (raw,) = struct.unpack(FLOATS[register.data_type], struct.pack(FLOATS[register.data_type], raw))
        values[register.measurement_name] = raw * register.scale
    return values


class ThreeMeters(VirtualModbusTCPServer):
    """Three units. Requests to other units are answered with exception 11."""

    def set_datastore(self) -> None:
        """Write all registers of each unit's type, its identification registers, and zeros in the gaps."""
        for unit_id, type_name in METERS.items():
            entry = load_catalogue()[type_name]
            taken: set[tuple[int, int]] = set()
            for register in entry.registers:
                self._write(unit_id, register, raw_value(register), taken)
            for each in entry.identifications:
                if (each.register.function_code, each.register.register_address) not in taken:
                    self._write(unit_id, each.register, each.low, taken)
            for request in plan_requests(entry.meter_type):
                for address in range(request.address, request.end):
                    if (request.function_code, address) not in taken:
                        self.write(
                            address, 0, DataType.UINT16, unit_id=unit_id, function_code=int(request.function_code)
                        )

    def _write(self, unit_id: int, register: Register, raw: float, taken: set[tuple[int, int]]) -> None:
        self.write(
            register.register_address,
            raw if register.data_type in FLOATS else int(raw),
            int(register.data_type),
            unit_id=unit_id,
            function_code=int(register.function_code),
            word_order=int(register.word_order),
            byte_order=int(register.byte_order),
        )
        taken |= {(register.function_code, address) for address in range(register.register_address, register.end)}


if __name__ == "__main__":
    options = argument_parser(__doc__).parse_args()
    ThreeMeters(options.host, options.port).run()

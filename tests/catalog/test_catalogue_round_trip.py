"""Each type with its rows in a real database, and a meter of the type on a real socket."""

import csv
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from support.meters import SimulatedUnit, encode_registers
from support.sunspec import sunspec_registers

import emm_pipeline.catalog
from emm_pipeline.catalog import load_catalogue
from emm_pipeline.config_db.editing.register_rows import COMBINED_COLUMNS, SETTING_COLUMNS, combined_rows
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.tables import combined_measurements
from emm_pipeline.event_loop import run_fast
from emm_pipeline.fleet import DataType, EnergyMeter
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.modbus.fleet_reading import read_meters
from emm_pipeline.modbus.planning import plan_requests
from emm_pipeline.modbus.sunspec.models import has_models, locate
from emm_pipeline.stores.texts import text_or_none

CATALOGUE = load_catalogue()
FOLDER = Path(emm_pipeline.catalog.__file__).parent


def insert_catalogue(engine):
    with engine.begin() as connection:
        for path in sorted(FOLDER.glob("*.csv")):
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
            for row in csv.DictReader(lines):
                cells: dict[str, str | list[str]] = {column: cell for column, cell in row.items() if cell}
                if several := row.get("invalid_values"):
                    cells["invalid_values"] = several.split()
                columns = ", ".join(cells)
                values = ", ".join(
                    f"CAST(:{column} AS numeric[])" if column == "invalid_values" else f":{column}" for column in cells
                )
                connection.execute(text(f"INSERT INTO registers ({columns}) VALUES ({values})"), cells)
        for entry in CATALOGUE.values():
            row = {"type": entry.name} | {column: getattr(entry.meter_type, column) for column in SETTING_COLUMNS}
            columns, values = ", ".join(row), ", ".join(f":{column}" for column in row)
            connection.execute(text(f"INSERT INTO meter_types ({columns}) VALUES ({values})"), row)
        for row in (row for entry in CATALOGUE.values() for row in combined_rows(entry.meter_type)):
            connection.execute(combined_measurements.insert().values(dict(zip(COMBINED_COLUMNS, row, strict=True))))
        for meter_id, name in enumerate(CATALOGUE, 1):
            row = {"id": meter_id, "type": name}
            connection.execute(text("INSERT INTO energy_meters VALUES (:id, 'h', 502, 1, :type, NULL)"), row)


def test_the_database_takes_every_row_and_gives_the_same_types_back(config_engine):
    insert_catalogue(config_engine)
    fleet = load_fleet(config_engine)
    assert fleet.issues == ()
    assert [meter.type for meter in fleet.meters] == list(CATALOGUE)
    assert fleet.types == {name: entry.meter_type for name, entry in CATALOGUE.items()}


def raw_values(meter_type):
    """Return a different raw value for each measurement, and negative ones for signed data types."""
    values = {}
    for number, register in enumerate(meter_type.measured, 1):
        raw = number + 0.5 if register.data_type in (DataType.FLOAT, DataType.FLOAT64) else 100 + number
        unsigned = register.data_type in (DataType.UINT16, DataType.UINT32, DataType.UINT64)
        values[register.measurement_name] = raw if unsigned or number % 2 else -raw
    return values


def device(entry, raw):
    """Return a device with these raw values, and its type with the device's addresses; powers of ten are -3 to 3."""
    if not has_models(entry.meter_type):
        return encode_registers(entry.meter_type, raw), entry.meter_type, {}
    ((model, begin),) = locate(entry.meter_type, {entry.meter_type.measured[0].model: 40070}).models
    located = locate(entry.meter_type, {model: begin})
    words = encode_registers(located, raw)
    powers = {r.scale_register: r.scale_register % 7 - 3 for r in located.registers if r.scale_register is not None}
    words |= {(3, address): power % 65536 for address, power in powers.items()}
    content = [words.get((3, address), 0) for address in range(begin + 2, max(address for _, address in words) + 1)]
    registers, begins = sunspec_registers([(1, [0] * 66), (model, content)])
    assert begins[model] == begin
    return registers, located, powers


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_a_meter_of_the_type_is_read_right_in_the_requests_that_the_document_lists(entry, simulated_gateway):
    raw = raw_values(entry.meter_type)
    registers, located, powers = device(entry, raw)
    gateway = simulated_gateway({1: SimulatedUnit(registers)})
    meter = EnergyMeter(1, gateway.host, gateway.port, 1, entry.name)
    types = {entry.name: entry.meter_type}

    samples = run_fast(read_meters([meter], types, deadline=time.monotonic() + 20))
    frame = decode_readings(samples, types)

    values = dict(zip(frame["measurement"], frame["value"], strict=True))
    numbers = {
        r.measurement_name: abs(raw[r.measurement_name]) if r.absolute else raw[r.measurement_name]
        for r in located.measured
    }
    parts = {
        r.measurement_name: numbers[r.measurement_name] * r.scale * 10.0 ** powers.get(r.scale_register, 0)
        + r.value_offset
        for r in located.measured
    }
    sums = {
        each.measurement_name: sum(part.factor * parts[part.measurement_name] for part in each.parts)
        for each in entry.meter_type.combined
    }
    stored = [register for register in entry.meter_type.measured if register.stored]
    assert values == pytest.approx({r.measurement_name: parts[r.measurement_name] for r in stored} | sums)
    units = dict(zip(frame["measurement"], map(text_or_none, frame["unit"]), strict=True))
    of_sums = {each.measurement_name: each.data_unit for each in entry.meter_type.combined}
    assert units == {r.measurement_name: r.data_unit for r in stored} | of_sums
    asked = [(request.function_code, request.address, request.count) for request in gateway.received]
    planned = [(r.function_code, r.address, r.count) for r in plan_requests(located)]
    assert asked[-len(planned) :] == planned
    assert len(asked) == len(planned) or has_models(entry.meter_type), "only models are searched for before"

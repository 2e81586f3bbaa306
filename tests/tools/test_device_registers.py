"""The registers of public device maps, as rows of EMM: what can be expressed, and what the script says of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.device_registers import FILE, is_expressed, is_measured, judge, percent_complete, read_rows

ROOT = Path(__file__).parents[2]
ROW = {
    "source": "s",
    "device": "d",
    "name": "power",
    "function_code": "3",
    "address": "10",
    "encoding": "UINT16",
    "word_order": "2",
    "byte_order": "2",
    "scale": "0.1",
    "offset": "0",
    "not_expressible_because": "",
}


@pytest.fixture(scope="module")
def devices():
    return judge(read_rows(FILE))


def test_98_percent_of_the_device_definitions_can_have_every_measured_value(devices):
    assert len(devices) == 572
    assert sum(not device.is_modbus for device in devices.values()) == 14
    assert percent_complete(devices) >= 98


@pytest.mark.parametrize(
    ("row", "expressed"),
    [
        ({}, True),
        ({"encoding": "LONG", "not_expressible_because": "sign-magnitude"}, True),
        ({"encoding": "LONG", "not_expressible_because": "registers not next to each other"}, True),
        ({"encoding": "UINT64", "not_expressible_because": "registers not next to each other"}, True),
        ({"encoding": "FLOAT", "not_expressible_because": "bit/mask"}, False),  # as the database's own checks say
        ({"not_expressible_because": "special transform"}, False),
    ],
)
def test_a_register_counts_as_expressed_if_its_row_is_valid(row, expressed):
    assert is_expressed(ROW | row) is expressed


def test_texts_states_and_clocks_are_not_measured_values():
    reasons = ["string", "bit/mask", "date/time; offset", "structure (PeakSettingPeriods)"]
    assert not any(is_measured(ROW | {"not_expressible_because": reason}) for reason in reasons)
    assert not is_measured(ROW | {"name": "Info_Type", "not_expressible_because": "type 8"})
    assert is_measured(ROW | {"not_expressible_because": "type 8"})
    assert is_measured(ROW | {"not_expressible_because": "structure (I32AbsoluteValue)"})


def test_the_script_prints_sources_reasons_and_the_devices_that_lose_something():
    command = [sys.executable, "-m", "tools.device_registers"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "evcc-meter" in printed
    assert "registers not next to each other" in printed
    assert "definitions that speak Modbus have every measured value" in printed
    assert "not: solax-modbus growatt" in printed

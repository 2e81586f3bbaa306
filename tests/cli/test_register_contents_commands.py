"""Commands for sums, labels, factors and further columns of registers."""

import json

import pytest
from sqlalchemy import text
from support.meters import COILS, SimulatedUnit, encode_text, encode_value, holding, inputs
from support.sunspec import sunspec_registers

from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.fleet import CombinedMeasurement, DataType, Part

REGISTERS = """\
type,register_address,measurement_name,data_unit,data_type,function_code,word_order,byte_order,scale,value_offset,\
invalid_values,sign_register,sign_mask,uses_factor,stored,length
meter,0,import,W,4,4,2,2,0.1,,65535 32767,,,true,false,
meter,1,export,W,4,4,2,2,0.1,,65535 32767,,,true,false,
meter,2,temperature,°C,4,4,2,2,0.1,-100,,,,,,
meter,3,battery,W,4,4,2,2,1,,,4,0x8000,,,
meter,10,serialNumber,,17,4,2,2,,,,,,,,8
"""
SUMS = """\
type,measurement_name,data_unit,part,factor,optional
meter,gridPower,W,import,1,
meter,gridPower,W,export,-1,true
"""
HELD = inputs(0, [5000, 1200, 1234, 700, 0x8000]) | inputs(10, encode_text("SN-4711", 8))


@pytest.fixture
def configured(emm, tmp_path):
    """The type, imported from files as a person has them."""
    for command, rows in (("registers", REGISTERS), ("combined", SUMS)):
        file = tmp_path / f"{command}.csv"
        file.write_text(rows)
        result = emm(command, "import", file)
        assert result.returncode == 0, result.stderr


@pytest.fixture
def meter(emm, configured, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(HELD)})
    place = f"{gateway.host}:{gateway.port}"
    added = emm("meters", "add", "--no-test", place, "--unit", 1, "--type", "meter", "--factor", 2, "--may-be-off")
    assert added.returncode == 0, added.stderr
    return gateway


def test_imported_sums_are_exported_unchanged_and_loaded(emm, configured, config_engine, tmp_path):
    exported = emm("registers", "export", "meter").stdout
    assert "sign_register" in exported
    assert "high_register_address" not in exported, "no row uses it"
    file = tmp_path / "again.csv"
    file.write_text(exported)
    assert "0 added, 0 changed, 0 removed, 5 unchanged" in emm("registers", "import", file).stdout
    file.write_text(emm("combined", "export", "meter").stdout)
    assert "0 parts of sums added, 0 removed" in emm("combined", "import", file).stdout
    fleet = load_fleet(config_engine, all_types=True)
    assert fleet.types["meter"].combined == (
        CombinedMeasurement("gridPower", "W", (Part("export", -1.0, optional=True), Part("import"))),
    )


def test_a_wrong_sum_is_reported_and_nothing_is_written(emm, configured, config_engine):
    wrong = SUMS.replace("export", "exports")
    result = emm("combined", "import", "-", stdin=wrong)
    assert result.returncode == 2
    assert "part is 'exports', which is not a valid measurement of the type's registers" in result.stderr
    assert len(load_fleet(config_engine, all_types=True).types["meter"].combined) == 1


def test_a_poll_gives_sums_signs_offsets_and_the_meters_factor(emm, meter):
    polled = json.loads(emm("poll", "--dry-run", "--json").stdout)
    assert {row["measurement"]: row["value"] for row in polled["readings"]} == {
        "temperature": 23.4,
        "battery": -700,
        "gridPower": 760,
    }


def test_the_reason_why_a_sum_is_absent_is_reported(emm, configured, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(HELD | inputs(0, [65535]))})
    emm("meters", "add", "--no-test", f"{gateway.host}:{gateway.port}", "--unit", 1, "--type", "meter")
    polled = json.loads(emm("poll", "--dry-run", "--json").stdout)
    assert "gridPower" not in {row["measurement"] for row in polled["readings"]}
    (finding,) = polled["findings"]
    assert finding.endswith("left out: gridPower, since the device has no value for its part import")


def test_check_shows_values_texts_and_sums(emm, meter):
    result = emm("meters", "check", "1", "--json")
    assert result.returncode == 0, result.stdout
    (checked,) = json.loads(result.stdout)["meters"]
    shown = {each["measurement"]: each["text"] or each["value"] for each in checked["registers"]}
    assert shown == {
        "import": 1000,
        "export": 240,
        "temperature": 23.4,
        "battery": -700,
        "serialNumber": "SN-4711",
    }
    assert checked["combined"] == [{"measurement": "gridPower", "value": 760, "data_unit": "W", "reason": None}]
    assert "gridPower" in emm("meters", "check", "1").stdout


def test_labels_are_listed_once_they_were_read(emm, meter):
    (before,) = json.loads(emm("meters", "list", "--json").stdout)
    assert before["labels"] == {}
    emm("poll", "--dry-run")
    (after,) = json.loads(emm("meters", "list", "--json").stdout)
    assert after["labels"] == {"serialNumber": "SN-4711"}
    assert "serialNumber SN-4711" in emm("meters", "list").stdout


def test_status_shows_the_labels_of_a_meter_so_that_the_device_can_be_found(emm, meter, config_engine):
    emm("poll", "--dry-run")
    (shown,) = json.loads(emm("status", "--json").stdout)["meters"]
    assert shown["labels"] == {"serialNumber": "SN-4711"}
    with config_engine.begin() as connection:
        connection.execute(text("ALTER TABLE energy_meters DROP CONSTRAINT energy_meters_port"))
        connection.execute(text("UPDATE energy_meters SET port = 70000"))
    printed = emm("status").stdout
    assert "MISCONFIGURED  meter 1" in printed
    assert "labels: serialNumber SN-4711" in printed


@pytest.mark.parametrize("fault", [{"silent": True}, {"exception": 11}], ids=str)
def test_a_meter_that_may_be_off_is_asleep_while_it_or_its_gateway_for_it_does_not_reply(
    emm, meter, config_engine, fault
):
    with config_engine.begin() as connection:
        connection.execute(text("INSERT INTO meter_types (type, timeout_s) VALUES ('meter', 0.3)"))
    for name, value in fault.items():
        setattr(meter.units[1], name, value)
    polled = emm("poll", "--json")
    assert polled.returncode == 0, polled.stderr
    (row,) = json.loads(polled.stdout)["meters"]
    assert row["status"] == "asleep"
    emm("meters", "edit", "1", "--always-on")
    assert emm("poll", "--json").returncode == 1


def test_a_meters_factor_and_whether_it_may_be_off_can_be_changed(emm, meter, config_engine):
    changed = emm("meters", "edit", "1", "--factor", "-40", "--always-on").stdout
    assert "factor 2.0 → -40.0" in changed
    assert "may_be_off True → False" in changed
    (found,) = load_fleet(config_engine).meters
    assert (found.factor, found.may_be_off) == (-40, False)
    refused = emm("meters", "edit", "1", "--factor", "0")
    assert refused.returncode == 2
    assert "factor is 0.0; allowed: a finite number other than 0" in refused.stderr


def test_a_type_is_shown_with_its_further_columns_and_sums(emm, configured):
    shown = emm("types", "show", "meter").stdout
    assert "value_offset -100" in shown
    assert "65535" in shown
    assert "combined: gridPower W = - export (optional) + import" in shown


@pytest.mark.parametrize(
    ("words", "expected", "found"),
    [
        ([0x8064], "-100", "SIGN_MAGNITUDE (10)"),
        ([0x1234, 0x5678], "12345678", "BCD8 (15)"),
        ([12, 3456], "12345.6", "MODULO_10000 (16)"),
        ([0x0001, 0x0000, 0x0003], "4294967299", "UINT48 (12)"),
        ([1215], "21.5", "UINT16 (4)"),
        ([15884], "-500", "UINT16 (4)"),
    ],
)
def test_read_finds_the_further_types_and_offsets_of_an_expected_value(
    emm_alone, simulated_gateway, words, expected, found
):
    gateway = simulated_gateway({1: SimulatedUnit(holding(10, words))})
    place = f"{gateway.host}:{gateway.port}"
    result = emm_alone("read", place, "--fc", 3, "--address", 10, "--count", len(words), f"--expect={expected}")
    assert result.returncode == 0, result.stdout
    assert found in result.stdout


def test_the_row_that_read_prints_for_an_offset_can_be_inserted(emm, config_engine, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(holding(10, [1215]))})
    place = f"{gateway.host}:{gateway.port}"
    result = emm("read", place, "--fc", 3, "--address", 10, "--count", 1, "--expect", "21.5")
    (line,) = [line for line in result.stdout.splitlines() if "INSERT INTO" in line]
    with config_engine.begin() as connection:
        connection.exec_driver_sql(line)
    (register,) = load_fleet(config_engine, all_types=True).types["my_type"].registers
    assert (register.scale, register.value_offset) == (0.1, -100)


def test_read_shows_texts_and_bits(emm_alone, simulated_gateway):
    registers = holding(0, encode_text("SDM630-V2", 6)) | {(COILS, place): place % 2 for place in range(4)}
    gateway = simulated_gateway({1: SimulatedUnit(registers)})
    place = f"{gateway.host}:{gateway.port}"
    read = emm_alone("read", place, "--fc", 3, "--count", 6).stdout
    assert "as text (data_type 17, length 6): SDM630-V2" in read
    bits = json.loads(emm_alone("read", place, "--fc", 1, "--count", 4, "--json").stdout)
    assert bits["blocks"][0]["words"] == [0, 1, 0, 1]


def test_read_reads_registers_of_four_bytes(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(inputs(115, [1234567, 77]), register_bytes=4)})
    place = f"{gateway.host}:{gateway.port}"
    arguments = ("read", place, "--fc", 4, "--address", 115, "--count", 2, "--register-bytes", 4)
    result = emm_alone(*arguments, "--expect", "77", "--json")
    assert result.returncode == 0, result.stdout
    fits = json.loads(result.stdout)["blocks"][0]["fits"]
    assert (116, "UINT32", 77) in [(fit["address"], fit["type"], fit["value"]) for fit in fits]


def test_scan_shows_the_labels_of_a_unit(emm_alone, simulated_gateway):
    common = [*encode_text("Fronius", 16), *[0] * 32, *encode_text("32145678", 16)]
    inverter = [0] * 50
    inverter[22 - 2 : 24 - 2] = encode_value(1234, DataType.UINT32)
    registers, _ = sunspec_registers([(1, [*common, 0]), (103, inverter)])
    gateway = simulated_gateway({1: SimulatedUnit(registers)})
    scanned = emm_alone("scan", f"{gateway.host}:{gateway.port}", "--units", "1", "--address", 40000, "--json")
    (unit,) = json.loads(scanned.stdout)["units"]
    likeliest = unit["candidates"][0]
    assert (likeliest["type"], likeliest["proven"]) == ("sunspec_103", True)
    assert unit["labels"] == {"manufacturer": "Fronius", "serialNumber": "32145678"}

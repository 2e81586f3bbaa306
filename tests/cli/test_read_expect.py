"""`emm read --expect` finds what a display shows in registers of every kind, and prints rows that polls can use."""

import json

import pytest
from support.meters import SimulatedUnit, encode_text, encode_value, holding, inputs

from emm_pipeline.fleet import DataType

SUNGROW = inputs(13000, [0x0042, *[0] * 20, 3000])
DEYE = holding(625, [-40000 & 0xFFFF, *range(1, 65), -40000 >> 16 & 0xFFFF])
SCALED = holding(104, [-2 % 65536, *[0] * 76, 6000])
DEVICES = {
    "Deye, halves apart": (DEYE, ["--address", 625, "--count", 66], "-40000"),
    "Deye, the manual names both registers": (DEYE, ["--address", 625, "--count", 1, "--companion", 690], "-40100"),
    "Sungrow, sign in another register": (
        SUNGROW,
        ["--fc", 4, "--address", 13021, "--count", 1, "--companion", 13000],
        "-3000",
    ),
    "DTSD422, sign bit in 32 bits": (holding(7, [0x8000, 5230]), ["--address", 7, "--count", 2], "-5.23"),
    "charge in the upper byte": (holding(5, [0x5507]), ["--address", 5, "--count", 1], "85"),
    "charge in the lower byte": (holding(5, [0x0755]), ["--address", 5, "--count", 1], "85"),
    "Huawei, negative export": (holding(37119, encode_value(-12345, DataType.LONG)), ["--address", 37119], "123.45"),
    "the other direction": (holding(3, [500]), ["--address", 3, "--count", 1], "-500"),
    "power of ten in another register": (SCALED, ["--address", 181, "--count", 1, "--companion", 104], "60"),
    "transformers": (holding(3, [2575]), ["--address", 3, "--count", 1, "--factor", -40], "-10300"),
    "decimal digits": (holding(3, [0x1234, 0x5678]), ["--address", 3, "--count", 2], "1234567.8"),
    "offset": (holding(3, [1215]), ["--address", 3, "--count", 1], "21.5"),
    "coil": ({(1, 4): 1, (1, 3): 0}, ["--fc", 1, "--address", 3, "--count", 2], "1"),
}


def place(gateway):
    return f"{gateway.host}:{gateway.port}"


def poll_with_the_printed_row(emm, config_engine, gateway, arguments, **columns):
    """Read, insert the printed row, and return the values of a poll."""
    result = emm("read", place(gateway), *arguments)
    assert result.returncode == 0, result.stdout
    (insert,) = [line.strip() for line in result.stdout.splitlines() if "INSERT" in line]
    with config_engine.begin() as connection:
        connection.exec_driver_sql(insert.replace("%", "%%"))
        connection.exec_driver_sql(f"""
            INSERT INTO energy_meters (id, host, port, slave_address, type, factor)
            VALUES (1, '{gateway.host}', {gateway.port}, 1, 'my_type', {columns.get("factor", 1.0)})
        """)
        connection.exec_driver_sql(
            f"INSERT INTO meter_types (type, register_bytes) VALUES ('my_type', {columns.get('register_bytes', 2)})"
        )
    polled = json.loads(emm("poll", "--dry-run", "--json").stdout)
    return [reading["value"] for reading in polled["readings"]]


@pytest.mark.parametrize("device", DEVICES)
def test_a_poll_with_the_printed_row_gives_what_the_display_shows(emm, config_engine, simulated_gateway, device):
    registers, arguments, shown = DEVICES[device]
    gateway = simulated_gateway({1: SimulatedUnit(registers)})
    factor = -40.0 if device == "transformers" else 1.0
    found = poll_with_the_printed_row(emm, config_engine, gateway, [*arguments, f"--expect={shown}"], factor=factor)
    assert found == [-40000.0 if shown == "-40100" else float(shown)]


def test_a_poll_reads_registers_of_four_bytes_with_the_printed_row(emm, config_engine, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(inputs(115, [9, -4321 % 2**32, 9]), register_bytes=4)})
    arguments = ["--fc", 4, "--address", 115, "--count", 3, "--register-bytes", 4, "--expect=-432.1"]
    assert poll_with_the_printed_row(emm, config_engine, gateway, arguments, register_bytes=4) == [-432.1]


def test_every_fit_is_printed_with_the_columns_that_distinguish_it(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(SUNGROW)})
    arguments = ("read", place(gateway), "--fc", 4, "--address", 13021, "--count", 1, "--companion", 13000)
    found = emm_alone(*arguments, "--expect=-3000").stdout
    assert "companion 13000: 0x0042 (66)" in found
    assert "sign_register 13000, sign_mask 2" in found
    assert "sign_register 13000, sign_mask 64" in found
    fits = json.loads(emm_alone(*arguments, "--expect=-3000", "--json").stdout)["blocks"][0]["fits"]
    assert [fit.get("sign_mask") for fit in fits[:2]] == [2, 64]


def test_a_companion_that_cannot_be_read_is_reported_and_the_value_is_found_without_it(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(holding(3, [2314]))})
    result = emm_alone("read", place(gateway), "--address", 3, "--count", 1, "--companion", 90, "--expect", "231.4")
    assert result.returncode == 0
    assert "companion 90: exception 2 (illegal data address)" in result.stdout


def test_a_text_is_found_and_its_row_makes_it_a_label(emm, config_engine, simulated_gateway):
    words = [7, 8, *encode_text("SN-4711/03", 6), 9]
    gateway = simulated_gateway({1: SimulatedUnit(holding(40, words) | inputs(0, [230]))})
    printed = emm("read", place(gateway), "--fc", 3, "--address", 40, "--count", 9, "--expect-text", "SN-4711")
    assert printed.returncode == 0, printed.stdout
    assert "registers 42 to 46, byte_order 2: SN-4711/03" in printed.stdout
    (insert,) = [line.strip() for line in printed.stdout.splitlines() if "INSERT" in line]
    with config_engine.begin() as connection:
        connection.exec_driver_sql(insert)
        connection.exec_driver_sql("INSERT INTO registers VALUES ('my_type', 0, 'voltageL1', 'V', 4, 4, 2, 2)")
        connection.exec_driver_sql(
            f"INSERT INTO energy_meters VALUES (1, '{gateway.host}', {gateway.port}, 1, 'my_type', NULL)"
        )
    emm("poll", "--dry-run")
    (meter,) = json.loads(emm("meters", "list", "--json").stdout)
    assert meter["labels"] == {"my_label": "SN-4711/03"}


def test_a_text_with_swapped_bytes_is_found_and_one_that_is_absent_is_not(emm_alone, simulated_gateway):
    swapped = [(word & 0xFF) << 8 | word >> 8 for word in encode_text("ELR-W10", 4)]
    gateway = simulated_gateway({1: SimulatedUnit(holding(40, swapped))})
    arguments = ("read", place(gateway), "--fc", 3, "--address", 40, "--count", 4, "--expect-text")
    found = emm_alone(*arguments, "ELR-W10", "--json")
    assert found.returncode == 0
    (text,) = json.loads(found.stdout)["blocks"][0]["texts"]
    assert (text["address"], text["text"]) == (40, "ELR-W10")
    absent = emm_alone(*arguments, "ELR-W11")
    assert absent.returncode == 1
    assert "The text was not found in these registers or next to them" in absent.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--expect", "5", "--expect-text", "a"], "give either --expect or --expect-text"),
        (["--companion", "5"], "give --expect as well"),
        (["--expect", "5", "--factor", "0"], "--factor is 0; a finite number other than 0 is allowed"),
        (["--expect-text", " "], "--expect-text is empty"),
    ],
)
def test_options_that_cannot_be_combined_are_an_error(emm_alone, arguments, said):
    result = emm_alone("read", "h", *arguments)
    assert result.returncode == 2
    assert said in result.stderr

"""A wrong file of the catalogue is an error that names the line."""

import pytest

from emm_pipeline.catalog.identifying import parse_identification
from emm_pipeline.catalog.loader import parse_type
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.fleet import DataType, FunctionCode, Order, Register

HEAD = """\
# title: A meter
# vendor: ACME
# kind: meter
# interfaces: RS485, Modbus TCP
# document: its manual
# source: one/project, a file
# source: another/project, a file
"""
HEADER = "type,register_address,measurement_name,data_unit,data_type,function_code,word_order,byte_order\n"
ROW = "acme,0,voltageL1,V,3,4,2,2\n"


def test_a_file_becomes_a_type():
    entry = parse_type(
        "acme.csv",
        HEAD
        + "# note: a colon: is fine\n# note: a second one\n# identify: 4 0 3 2 2 in 80..300\n# timeout_s: 1.5\n"
        + HEADER.replace("\n", ",scale,invalid_value\n")
        + "acme,0,voltageL1,V,3,4,2,2,,\nacme,2,activePower,W,2,4,1,2,0.1,-1\n",
    )
    assert (entry.name, entry.title, entry.vendor, entry.document) == ("acme", "A meter", "ACME", "its manual")
    assert (entry.kind, entry.interfaces, entry.aliases) == ("meter", ("RS485", "Modbus TCP"), ())
    assert entry.sources == ("one/project, a file", "another/project, a file")
    assert entry.notes == ("a colon: is fine", "a second one")
    assert entry.meter_type.timeout_s == 1.5
    assert entry.meter_type.max_registers_per_request == 125
    assert entry.registers == (
        Register(0, "voltageL1", "V", DataType.FLOAT, FunctionCode.READ_INPUT_REGISTERS),
        Register(
            *(2, "activePower", "W", DataType.LONG, FunctionCode.READ_INPUT_REGISTERS),
            word_order=Order.LITTLE_ENDIAN,
            scale=0.1,
            invalid_value=-1,
        ),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD.replace("# title", "# name") + HEADER + ROW, "line 1: is '# name: A meter'; allowed: .*title"),
        (HEAD + "# title: again\n" + HEADER + ROW, "line 8: title appears a second time"),
        (HEAD.replace("# vendor: ACME\n", "") + HEADER + ROW, "line 1: the head does not contain vendor"),
        (HEAD.replace("another", "one") + HEADER + ROW, "line 1: the head names fewer than 2 sources"),
        (HEAD.replace("kind: meter", "kind: thing"), "line 3: kind is 'thing'; allowed: meter, inverter"),
        (HEAD.replace("RS485, M", "RS232, M"), "line 4: interfaces is 'RS232, Modbus TCP'; allowed: RS485, Modbus TCP"),
        (HEAD, "line 1: has no header; required columns: type, register_address"),
        (HEAD + HEADER, "has no rows"),
        (HEAD + ROW, "line 8: unknown columns 'acme', '0'"),
        (HEAD + HEADER.replace(",byte_order", "") + ROW, "line 8: the header lacks byte_order"),
        (HEAD + HEADER + ROW.replace(",2\n", "\n"), "line 9: has 7 cells, the header has 8"),
        (HEAD + HEADER + ROW.replace("acme", "acne"), "line 9: type is 'acne'; allowed: the file's name, acme"),
        (HEAD + HEADER + ROW + ROW.replace(",3,4,", ",18,4,"), "line 10: .*data_type is '18'; allowed: 1"),
        (HEAD + HEADER + ROW.replace("acme,0", "acme,65535"), "line 9: .*beyond the last address"),
        (HEAD + HEADER + ROW.replace("voltageL1", "voltL1"), "line 9: measurement_name voltL1 is not in the vocab"),
        (HEAD + HEADER + ROW.replace(",V,", ",mV,"), "line 9: data_unit of voltageL1 is mV; allowed: V"),
        (HEAD + HEADER + ROW + ROW.replace("acme,0", "acme,8"), "line 10: measurement_name voltageL1 appears a second"),
        (HEAD + HEADER + ROW + ROW.replace("0,voltageL1", "1,voltageL2"), "line 10: voltageL2 overlaps voltageL1 at"),
        (HEAD + HEADER + ROW + ROW.replace("voltageL1", "voltageL2"), "line 10: voltageL2 overlaps voltageL1 at"),
        (HEAD + "# max_gap: many\n" + HEADER + ROW, "line 1: .*max_gap is 'many'; allowed: 0 to 124"),
        (
            HEAD + "# identify: 4 0 3 >= 80\n" + HEADER + ROW,
            "line 8: identify is '4 0 3 >= 80'; allowed: function",
        ),
        (HEAD + "# identify: 4 0 3 in 9..1\n" + HEADER + ROW, "line 8: identify has the range 9 to 1, whose limits"),
        (HEAD + "# identify: 5 0 3 = 9\n" + HEADER + ROW, "line 8: identify 5 is not a valid FunctionCode"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_line(text, reason):
    with pytest.raises(ConfigurationError, match=f"catalogue, acme.csv .*{reason}"):
        parse_type("acme.csv", text)


@pytest.mark.parametrize(
    ("text", "low", "high", "strong"),
    [
        ("3 11 4 = 1650", 1650, 1650, True),
        ("3 11 4 = 1648..1653", 1648, 1653, True),
        ("4 0 3 2 2 in 80..300", 80, 300, False),
        ("4 0 3 1 2 in -0.5..0.5", -0.5, 0.5, False),
    ],
)
def test_an_equality_is_strong_and_a_plausible_range_weak(text, low, high, strong):
    identification = parse_identification(text)
    assert (identification.low, identification.high, identification.strong) == (low, high, strong)
    assert identification.register.word_order is (Order.LITTLE_ENDIAN if " 1 2 " in text else Order.BIG_ENDIAN)

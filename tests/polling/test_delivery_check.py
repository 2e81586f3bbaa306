"""The configured registers that a meter reading did not deliver."""

from dataclasses import replace
from datetime import UTC, datetime

from support.meters import encode_value

from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Register
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.polling.delivery_check import register_issues
from emm_pipeline.readings import Failure, FailureKind, MeterReading, RegisterBlock, Request, UnsupportedRange
from emm_pipeline.status import RegisterIssueKind

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
INPUT = FunctionCode.READ_INPUT_REGISTERS
VOLTAGE = Register(0, "voltageL1", "V", DataType.FLOAT, INPUT)
FREQUENCY = Register(2, "frequency", "Hz", DataType.FLOAT, INPUT)
TYPE = MeterType("t", (VOLTAGE, FREQUENCY))
METER = EnergyMeter(1, "10.0.0.5", 502, 1, "t")


def read(*values, id_=1, **changes):
    words = [word for value in values for word in encode_value(value, DataType.FLOAT)]
    data = b"".join(word.to_bytes(2, "big") for word in words)
    block = RegisterBlock(Request(INPUT, 0, len(words)), data)
    return MeterReading(replace(METER, id=id_), NOON, (block,), **changes)


def issues_of(*samples, meter_type=TYPE, accepted=None):
    types = {"t": meter_type}
    return register_issues(samples, decode_readings(samples, types), types, accepted or {})


def test_a_meter_that_delivers_every_register_has_no_issue():
    assert issues_of(read(230.5, 50.0)) == {}


def test_a_register_without_a_value_is_absent_and_the_other_meters_are_not_concerned():
    found = issues_of(read(230.5, 50.0), read(230.5, float("nan"), id_=2))
    assert list(found) == [2]
    (issue,) = found[2]
    assert (issue.measurement, issue.kind) == ("frequency", RegisterIssueKind.ABSENT)


def test_a_register_that_the_device_refuses_is_unsupported_and_says_so():
    refused = UnsupportedRange(INPUT, 2, 2, 2, NOON)
    ((issue,),) = issues_of(read(230.5, unsupported=(refused,))).values()
    assert (issue.measurement, issue.kind) == ("frequency", RegisterIssueKind.UNSUPPORTED)
    assert "exception 2 (illegal data address)" in issue.reason


def test_an_absence_that_a_person_has_accepted_is_no_issue():
    assert issues_of(read(230.5, float("nan")), accepted={1: {"frequency"}}) == {}


def test_an_implausible_value_is_an_issue_also_where_its_absence_is_accepted():
    ((issue,),) = issues_of(read(230.5, 231.4), accepted={1: {"frequency"}}).values()
    assert issue.kind is RegisterIssueKind.IMPLAUSIBLE
    assert "231.4 Hz" in issue.reason


def test_a_row_that_cannot_be_used_is_an_issue_of_every_meter_of_its_type():
    broken = replace(TYPE, unusable=(("register_address 4 measurement_name 'x'", "data_type is 99"),))
    found = issues_of(read(230.5, 50.0), read(230.5, 50.0, id_=2), meter_type=broken)
    assert [issue.kind for id_ in (1, 2) for issue in found[id_]] == [RegisterIssueKind.MISCONFIGURED] * 2


def test_the_registers_of_a_meter_that_was_not_read_completely_are_not_judged():
    failure = Failure(FailureKind.TIMEOUT, "no reply")
    assert issues_of(read(230.5, float("nan"), failure=failure)) == {}

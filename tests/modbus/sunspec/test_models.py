"""SunSpec devices: values scaled by registers, and registers whose addresses depend on the device."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.meters import SimulatedUnit, encode_value
from support.polling import plan_of, read, slot, values
from support.sunspec import sunspec_registers

from emm_pipeline.config_db.device_state.fingerprints import fingerprint
from emm_pipeline.fleet import DataType, EnergyMeter, FunctionCode, MeterType, Order, Register, scale_factor
from emm_pipeline.modbus.decoding import decode_readings
from emm_pipeline.modbus.planning import Plans, plan_requests
from emm_pipeline.modbus.sunspec.model_poll import ModelPoll
from emm_pipeline.modbus.sunspec.models import MARK, ModelSearch, locate
from emm_pipeline.modbus.unsupported import EarlierRequests
from emm_pipeline.readings import FailureKind, MeterReading, RegisterBlock, Request, UnsupportedRange

HOLDING = FunctionCode.READ_HOLDING_REGISTERS
INVERTER = MeterType(
    "t",
    (
        Register(2, "current", "A", DataType.UINT16, HOLDING, invalid_value=65535, scale_register=6, model=103),
        Register(14, "activePower", "W", DataType.INT, HOLDING, invalid_value=-32768, scale_register=15, model=103),
        Register(22, "activePower", "W", DataType.FLOAT, HOLDING, model=113),
    ),
    timeout_s=0.3,
)
COMMON = (1, [0] * 66)


@pytest.fixture
def simulated_gateway(polled_gateway):
    """Silence and pauses take no real time."""
    return polled_gateway


def model_103(power=2314, power_scale=-1, current=425, current_scale=-2):
    """Model 103 with 50 registers after its header; addresses are relative to the header's first register."""
    words = [0] * 50
    for address, value in ((2, current), (6, current_scale), (14, power), (15, power_scale)):
        words[address - 2] = value % 65536
    return 103, words


def model_113(power=1234.5):
    words = [0] * 60
    words[20:22] = encode_value(power, DataType.FLOAT)
    return 113, words


def device(*models, base=40000, **faults):
    return SimulatedUnit(sunspec_registers(models, base)[0], **faults)


@pytest.mark.parametrize("base", [40000, 50000, 0])
def test_a_device_is_read_wherever_it_has_its_models(config_engine, simulated_gateway, base):
    gateway = simulated_gateway({1: device(COMMON, (160, [0] * 8), model_103(), base=base)})
    plan = plan_of(gateway, INVERTER)
    samples = read(config_engine, plan, slot(0))
    assert values(plan, samples) == {(101, "current"): 4.25, (101, "activePower"): 231.4}
    assert samples[0].failure is None


def test_the_addresses_of_models_are_saved_and_not_searched_for_again(config_engine, simulated_gateway):
    gateway = simulated_gateway({1: device(COMMON, model_103())})
    plan = plan_of(gateway, INVERTER)
    first, second = (read(config_engine, plan, slot(number))[0] for number in (0, 1))
    assert second.requests == 1
    assert first.requests > 2
    assert values(plan, [second]) == {(101, "current"): 4.25, (101, "activePower"): 231.4}


def test_whichever_of_several_models_a_device_has_gives_the_measurement(config_engine, simulated_gateway):
    gateway = simulated_gateway({1: device(COMMON, model_113()), 2: device(COMMON, model_103(), model_113())})
    plan = plan_of(gateway, INVERTER)
    samples = read(config_engine, plan, slot(0))
    found = values(plan, samples)
    assert found == {(101, "activePower"): 1234.5, (102, "activePower"): 231.4, (102, "current"): 4.25}
    assert samples[0].failure is None
    (notice,) = samples[0].notices
    assert "current" in notice
    assert "103" in notice
    assert "device has models 1, 113" in notice
    assert samples[1].notices == ()


def test_a_firmware_that_moves_its_models_gives_right_values_in_the_same_poll(config_engine, simulated_gateway):
    gateway = simulated_gateway({1: device(COMMON, model_103())})
    plan = plan_of(gateway, INVERTER)
    read(config_engine, plan, slot(0))
    gateway.units[1].registers = device(COMMON, (64, [7] * 30), model_103(power=100)).registers
    moved = read(config_engine, plan, slot(1))
    assert values(plan, moved) == {(101, "current"): 4.25, (101, "activePower"): 10.0}
    gateway.units[1].registers = device((1, [0] * 4), model_103(power=200), base=0).registers
    assert values(plan, read(config_engine, plan, slot(2)))[101, "activePower"] == 20.0


def test_models_that_moved_are_noticed_though_their_id_was_refused_once(config_engine, simulated_gateway):
    registers, begins = sunspec_registers([COMMON, model_103()])
    gateway = simulated_gateway({1: SimulatedUnit(registers)})
    plan = plan_of(gateway, INVERTER)
    read(config_engine, plan, slot(0))
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO refused_registers VALUES (101, 't', 3, %(address)s, 1, 2, now(), %(configuration)s)",
            {"address": begins[103], "configuration": fingerprint(plan.meters[0], plan.types["t"])},
        )
    gateway.units[1].registers = device(COMMON, (64, [7] * 30), model_103(power=100)).registers
    assert values(plan, read(config_engine, plan, slot(1))) == {(101, "current"): 4.25, (101, "activePower"): 10.0}


def test_a_search_that_was_cut_short_is_not_remembered(config_engine, simulated_gateway):
    registers, begins = sunspec_registers([COMMON, model_103()])
    gateway = simulated_gateway({1: SimulatedUnit(registers, exceptions={begins[103]: 4})})
    plan = plan_of(gateway, INVERTER)
    (sample,) = read(config_engine, plan, slot(0))
    assert "device has models 1" in sample.failure.reason
    gateway.units[1].exceptions = {}
    assert values(plan, read(config_engine, plan, slot(1))) == {(101, "current"): 4.25, (101, "activePower"): 231.4}


def test_a_scale_that_changes_is_that_of_the_same_sample(config_engine, simulated_gateway):
    gateway = simulated_gateway({1: device(COMMON, model_103(power_scale=-1))})
    plan = plan_of(gateway, INVERTER)
    read(config_engine, plan, slot(0))
    gateway.units[1].registers = device(COMMON, model_103(power_scale=1)).registers
    assert values(plan, read(config_engine, plan, slot(1)))[101, "activePower"] == 23140.0


@pytest.mark.parametrize("power_scale", [-32768, 11, -11, 32767])
def test_an_invalid_scale_omits_only_its_own_value(config_engine, simulated_gateway, power_scale):
    gateway = simulated_gateway({1: device(COMMON, model_103(power_scale=power_scale))})
    plan = plan_of(gateway, INVERTER)
    assert values(plan, read(config_engine, plan, slot(0))) == {(101, "current"): 4.25}


def test_a_value_that_is_not_implemented_is_absent(config_engine, simulated_gateway):
    gateway = simulated_gateway({1: device(COMMON, model_103(power=-32768, current=65535))})
    plan = plan_of(gateway, INVERTER)
    assert values(plan, read(config_engine, plan, slot(0))) == {}


def test_an_unsupported_scale_register_omits_its_value_and_is_reported(config_engine, simulated_gateway):
    registers, begins = sunspec_registers([COMMON, model_103()])
    gateway = simulated_gateway({1: SimulatedUnit(registers, exceptions={begins[103] + 15: 2})})
    plan = plan_of(gateway, INVERTER)
    (sample,) = read(config_engine, plan, slot(0))
    assert values(plan, [sample]) == {(101, "current"): 4.25}
    assert any("scale factor of activePower" in notice for notice in sample.notices)


@pytest.mark.parametrize("registers", [{}, {(3, address): 0 for address in range(100)}, lambda _f, _a: 0])
def test_a_device_without_sunspec_fails_with_that_reason(config_engine, simulated_gateway, registers):
    gateway = simulated_gateway({1: SimulatedUnit(registers)})
    (sample,) = read(config_engine, plan_of(gateway, INVERTER), slot(0))
    assert sample.failure.kind is FailureKind.CONFIGURATION
    assert "the mark SunS is at none of the holding registers 40000, 50000, 0" in sample.failure.reason
    assert f"{gateway.host}:{gateway.port} unit 1" in sample.failure.reason


def test_registers_without_a_model_are_read_also_where_there_is_no_sunspec(config_engine, simulated_gateway):
    mixed = MeterType("t", (*INVERTER.registers, Register(5, "plain", None, DataType.INT, HOLDING)))
    gateway = simulated_gateway({1: SimulatedUnit({(3, 5): 42})})
    plan = plan_of(gateway, mixed)
    samples = read(config_engine, plan, slot(0))
    assert values(plan, samples) == {(101, "plain"): 42.0}
    assert "SunS" in samples[0].failure.reason


def test_a_busy_and_a_silent_device_do_not_affect_their_neighbour(config_engine, simulated_gateway):
    gateway = simulated_gateway(
        {1: device(COMMON, model_103(), exception=6), 2: device(silent=True), 3: device(COMMON, model_103())}
    )
    plan = plan_of(gateway, INVERTER)
    samples = read(config_engine, plan, slot(0))
    assert values(plan, samples) == {(103, "current"): 4.25, (103, "activePower"): 231.4}
    assert "exception 6" in samples[0].failure.reason
    assert "list of its SunSpec models" in samples[0].failure.reason
    assert samples[1].failure.kind is FailureKind.TIMEOUT


class BusyOnce(dict):
    """Exceptions by address: the first request that includes 40000 is answered with exception 6."""

    def __contains__(self, address):
        busy, self["left"] = address == 40000 and self.get("left", True), self.get("left", True) and address != 40000
        return busy

    def __getitem__(self, key):
        return super().__getitem__(key) if key == "left" else 6


def test_a_device_that_is_busy_during_the_search_is_asked_again_in_the_same_poll(config_engine, simulated_gateway):
    registers, _ = sunspec_registers([COMMON, model_103()])
    gateway = simulated_gateway({1: SimulatedUnit(registers, exceptions=BusyOnce())})
    plan = plan_of(gateway, INVERTER)
    (sample,) = read(config_engine, plan, slot(0))
    assert sample.failure is None
    assert values(plan, [sample]) == {(101, "current"): 4.25, (101, "activePower"): 231.4}
    assert [request.address for request in gateway.received][:2] == [40000, 40000]


@given(st.lists(st.binary(min_size=4, max_size=8) | st.none(), max_size=300))
@example([MARK + b"\0\1\0\0"])
@example([MARK + b"\0\1\xff\xff"])
@example([MARK + b"\0\1\0\1", *[b"\0\2\0\1"] * 200])
def test_a_search_ends_whatever_list_of_models_a_device_sends(replies):
    search = ModelSearch()
    asked = 0
    for reply in replies:
        if search.request is None:
            break
        assert 0 <= search.request.address <= search.request.end <= 65536
        asked += 1
        if reply is None:
            search.take_exception()
        else:
            search.take(reply.ljust(2 * search.request.count, b"\0"))
    assert asked <= 3 + 65536 // 3
    assert all(0 <= address < 65536 for address in search.found.values())
    assert search.failure is None or not search.found


PLAIN_TYPES = [each for each in DataType if each <= DataType.FLOAT64]
SCALED = st.builds(
    Register,
    register_address=st.integers(0, 60),
    measurement_name=st.just("value"),
    data_unit=st.none(),
    data_type=st.sampled_from(PLAIN_TYPES),
    function_code=st.just(HOLDING),
    word_order=st.sampled_from(Order),
    byte_order=st.sampled_from(Order),
    scale_register=st.integers(70, 90),
)


@given(SCALED, st.integers(-1000, 1000).filter(bool), st.integers(-32768, 32767))
def test_a_value_is_scaled_by_the_power_of_ten_of_its_register_whatever_their_types_and_orders(register, raw, power):
    raw = abs(raw) if register.data_type in {DataType.UINT16, DataType.UINT32, DataType.UINT64} else raw
    words = [0] * 100
    for one, value in ((register, raw), (scale_factor(register), power)):
        encoded = encode_value(value, one.data_type, one.word_order, one.byte_order)
        words[one.register_address : one.end] = encoded
    meter = EnergyMeter(1, "h", 502, 1, "t")
    block = RegisterBlock(Request(HOLDING, 0, 100), b"".join(word.to_bytes(2, "big") for word in words))
    frame = decode_readings([MeterReading(meter, slot(0).due, (block,))], {"t": MeterType("t", (register,))})
    if abs(power) > 10:
        assert frame.empty
    else:
        assert math.isclose(frame["value"][0], raw * 10.0**power, rel_tol=1e-12)


@given(st.lists(SCALED, min_size=1, max_size=4))
def test_every_scale_register_is_asked_for(registers):
    meter_type = MeterType("t", tuple(registers))
    requests = plan_requests(meter_type)
    for register in (*registers, *map(scale_factor, registers)):
        assert any(request.covers(register) for request in requests)


def test_located_registers_keep_their_distance_and_say_which_model_they_are_of():
    located = locate(INVERTER, {103: 40070})
    assert [register.register_address for register in located.registers] == [40072, 40084]
    assert [register.scale_register for register in located.registers] == [40076, 40085]
    assert located.models == ((103, 40070),)
    assert locate(INVERTER, {103: 65530}).registers == (), "beyond the last register"


POWER_ALONE = MeterType(
    "t",
    (Register(14, "activePower", "W", DataType.INT, HOLDING, scale_register=15, model=103),),
    max_registers_per_request=10,
    max_gap=0,
    timeout_s=0.3,
)


def test_registers_after_the_end_of_a_model_are_not_used_as_its_values(config_engine, simulated_gateway):
    """An older firmware's model may be shorter than in the type; the next model follows it."""
    short, neighbour = (103, [425, 0, 0, 0, 65534, 0]), (160, [7] * 40)
    gateway = simulated_gateway({1: device(COMMON, short, neighbour)})
    plan = plan_of(gateway, INVERTER)
    for number in (0, 1):
        (sample,) = read(config_engine, plan, slot(number))
        assert values(plan, [sample]) == {(101, "current"): 4.25}
        assert any("activePower" in notice and "103" in notice for notice in sample.notices)


def test_values_are_not_used_while_the_model_s_id_cannot_be_read(config_engine, simulated_gateway):
    """The id is requested separately here, and the device is busy: the values could be those of another model."""
    registers, begins = sunspec_registers([COMMON, model_103(power=2314)])
    gateway = simulated_gateway({1: SimulatedUnit(registers)})
    plan = plan_of(gateway, POWER_ALONE)
    assert values(plan, read(config_engine, plan, slot(0))) == {(101, "activePower"): 231.4}

    moved, _ = sunspec_registers([COMMON, (64, [7] * 50), model_103(power=100)])
    gateway.units[1].registers = moved
    gateway.units[1].exceptions = {begins[103]: 6}
    (sample,) = read(config_engine, plan, slot(1))
    assert values(plan, [sample]) == {}
    assert sample.failure is not None

    gateway.units[1].exceptions = {}
    assert values(plan, read(config_engine, plan, slot(2))) == {(101, "activePower"): 10.0}


def test_registers_refused_at_a_models_old_address_are_requested_at_its_new_one(config_engine, simulated_gateway):
    """Unsupported registers are saved by address: after an update another register may have the address."""
    registers, begins = sunspec_registers([COMMON, model_103()])
    gateway = simulated_gateway({1: SimulatedUnit(registers, exceptions={begins[103] + 14: 2})})
    plan = plan_of(gateway, INVERTER)
    assert values(plan, read(config_engine, plan, slot(0))) == {(101, "current"): 4.25}

    moved, now = sunspec_registers([(1, [0] * 78), model_103(current=500)])
    assert now[103] + 2 == begins[103] + 14, "the current is where the power was"
    gateway.units[1].registers, gateway.units[1].exceptions = moved, {}
    for number in (1, 2):
        found = values(plan, read(config_engine, plan, slot(number)))
        assert found == {(101, "current"): 5.0, (101, "activePower"): 231.4}


def test_an_id_that_was_refused_once_is_read_again_where_the_list_gives_it(config_engine, simulated_gateway):
    registers, begins = sunspec_registers([COMMON, model_103()])
    gateway = simulated_gateway({1: SimulatedUnit(registers)})
    plan = plan_of(gateway, INVERTER)
    read(config_engine, plan, slot(0))
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO refused_registers VALUES (101, 't', 3, %(address)s, 1, 2, now(), %(configuration)s)",
            {"address": begins[103], "configuration": fingerprint(plan.meters[0], plan.types["t"])},
        )
    assert values(plan, read(config_engine, plan, slot(1))) == {(101, "current"): 4.25, (101, "activePower"): 231.4}


def test_a_device_that_was_busy_at_the_beginning_of_the_search_only_is_not_called_busy():
    poll = ModelPoll(EnergyMeter(1, "h", 502, 1, "t"), INVERTER, (), plans=Plans({"t": INVERTER}))
    poll.begin_turn()
    poll.request_sent()
    poll.take_exception("exception 6 (device busy)", 6)
    poll.begin_turn()
    poll.request_sent()
    poll.take_registers(MARK + b"\0\1\0\x42")
    poll.run_out_of_time("0 of 1 units behind it were read")
    assert poll.reading().failure.kind is FailureKind.DEADLINE


def test_a_search_without_a_reply_does_not_count_requests_that_were_never_sent():
    others = tuple(
        Register(address, f"v{address}", None, DataType.FLOAT, FunctionCode.READ_HOLDING_REGISTERS)
        for address in (500, 600)
    )
    kind = MeterType("t", (*INVERTER.registers, *others))
    now = datetime.now(UTC)
    ranges = tuple(UnsupportedRange(each.function_code, each.register_address, 2, 0, now) for each in others)
    earlier = EarlierRequests(ranges, ())
    poll = ModelPoll(EnergyMeter(1, "h", 502, 1, "t"), kind, (), earlier=earlier, plans=Plans({"t": kind}))
    poll.begin_turn()
    poll.request_sent()
    poll.fail_request(FailureKind.TIMEOUT, "no reply within 3 s")
    reason = poll.reading().failure.reason
    assert "no reply within 3 s" in reason
    assert "requests answered" not in reason


@pytest.mark.parametrize("lengths", [1, 2, 600])
def test_the_search_is_bounded_for_a_device_that_always_sends_the_same_reply(config_engine, simulated_gateway, lengths):
    """The device sends the mark once, and then a model 1 at every address, which is an endless list."""
    registers, _ = sunspec_registers([], 40000)
    endless = lambda _, address: registers[HOLDING, address] if address in (40000, 40001) else [1, lengths][address % 2]  # noqa: E731
    gateway = simulated_gateway({1: SimulatedUnit(endless), 2: device(COMMON, model_103())})
    plan = plan_of(gateway, INVERTER)
    bad, good = read(config_engine, plan, slot(0))
    assert bad.failure is not None
    assert bad.requests <= 110
    assert good.failure is None

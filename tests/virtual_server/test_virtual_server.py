"""The server as its clients and its operator see it, over real sockets."""

import logging
import math
import re
import struct
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import product
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import Clock
from support.virtual_server import BareClient, ModbusError, eventually, exception_code, mbpoll, read

from virtual_modbustcp_server import server as server_module
from virtual_modbustcp_server import update_cron
from virtual_modbustcp_server.server import DataType, DeviceOff, Order, VirtualModbusTCPServer
from virtual_modbustcp_server.status import status_words

CRON = "VIRTUAL_SERVER_UPDATE_CRON_{}_TRIGGER"


class Device(VirtualModbusTCPServer):
    """Serves what `script` writes; a test swaps the script."""

    def __init__(self, script, **arguments):
        super().__init__("127.0.0.1", 0, **arguments)
        self.script = script
        self.updates = 0

    def set_datastore(self):
        self.updates += 1
        self.script(self)


def write_42(device):
    device.write(0, 42, DataType.INT)


def fail(_device):
    raise RuntimeError("no such device")


@pytest.fixture
def every_second(monkeypatch):
    monkeypatch.setenv(CRON.format("SECOND"), "*")
    monkeypatch.delenv(CRON.format("MINUTE"), raising=False)
    monkeypatch.delenv(CRON.format("HOUR"), raising=False)


@pytest.fixture
def age(monkeypatch):
    """The clock by which data grows old; a test moves it."""
    clock = Clock()
    monkeypatch.setattr(server_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def move_wall_clock(monkeypatch):
    """Sets the clock of the cron ahead, by seconds, or back."""

    class ClockThatIsSet(datetime):
        ahead = 0.0

        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(datetime.now(UTC).timestamp() + cls.ahead, tz)

    def move(seconds):
        ClockThatIsSet.ahead += seconds

    monkeypatch.setattr(update_cron, "datetime", ClockThatIsSet)
    return move


@pytest.fixture(scope="module")
def server():
    with Device(write_map) as device:
        yield device


VALUES = {1: -1234, 2: -123456789, 3: 230.5, 4: 54321, 5: 3123456789, 6: -(2**62) - 3, 7: 2**63 + 5, 8: math.pi}
FORMATS = {1: "h", 2: "i", 3: "f", 4: "H", 5: "I", 6: "q", 7: "Q", 8: "d"}
ORDERS = list(product((1, 2), repeat=2))


def write_map(device):
    """Unit 0: one INT. Unit 1: every type in every order, by its codes. Unit 2: input registers at both ends."""
    write_42(device)
    for (at, (word_order, byte_order)), data_type in product(enumerate(ORDERS), VALUES):
        address = 100 * at + 4 * data_type
        device.write(address, VALUES[data_type], data_type, unit_id=1, word_order=word_order, byte_order=byte_order)
    device.write(0, 1.5, unit_id=2, function_code=4)
    device.write(65534, 2.5, unit_id=2, function_code=4)


@pytest.mark.parametrize("data_type", VALUES)
@pytest.mark.parametrize("at", range(4))
def test_each_type_reads_back_in_each_order(server, at, data_type):
    word_order, byte_order = ORDERS[at]
    code = FORMATS[data_type]
    data = read(server.port, 100 * at + 4 * data_type, struct.calcsize(code) // 2, unit_id=1)
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    if word_order == Order.LITTLE_ENDIAN:
        words.reverse()
    if byte_order == Order.LITTLE_ENDIAN:
        words = [word[::-1] for word in words]
    (value,) = struct.unpack(">" + code, b"".join(words))
    assert value == VALUES[data_type]


def test_the_first_and_the_last_register_can_be_read(server):
    assert read(server.port, 0, 2, unit_id=2, function_code=4) == struct.pack(">f", 1.5)
    assert read(server.port, 65534, 2, unit_id=2, function_code=4) == struct.pack(">f", 2.5)


@pytest.mark.parametrize("address", [1, 65535])
def test_an_address_that_was_not_written_is_answered_with_exception_2(server, address):
    assert exception_code(server.port, address) == 2


def test_a_read_beyond_the_last_register_is_answered_with_exception_2(server):
    assert exception_code(server.port, 65535, 2, unit_id=2, function_code=4) == 2


def test_a_read_that_is_only_partly_there_is_answered_with_exception_2(server):
    assert exception_code(server.port, 0, 2) == 2


def test_holding_and_input_registers_are_not_confused(server):
    assert exception_code(server.port, 0, 2, unit_id=2, function_code=3) == 2


@pytest.mark.parametrize("unit_id", [3, 247, 255])
def test_a_unit_that_was_not_written_is_answered_as_by_a_gateway_with_exception_11(server, unit_id):
    assert exception_code(server.port, 0, unit_id=unit_id) == 0x0B


@pytest.mark.parametrize("count", [0, 126, 65535])
def test_a_count_that_fits_no_reply_is_answered_with_exception_3(server, count):
    assert exception_code(server.port, 0, count) == 3


@pytest.mark.parametrize(
    "pdu",
    [
        struct.pack(">BHH", 5, 0, 0xFF00),
        struct.pack(">BHH", 6, 0, 7),
        struct.pack(">BHHBB", 15, 0, 1, 1, 1),
        struct.pack(">BHHBH", 16, 0, 1, 2, 7),
        struct.pack(">BHHHHBH", 23, 0, 1, 0, 1, 2, 7),
        struct.pack(">BHH", 1, 0, 1),
        bytes([8, 0, 4, 0, 0]),
        bytes([0x41]),
    ],
    ids=["coil", "register", "coils", "registers", "read/write", "read coils", "diagnostics", "unknown"],
)
def test_functions_other_than_reading_registers_are_answered_with_exception_1(server, pdu):
    with BareClient(server.port) as client:
        with pytest.raises(ModbusError) as refusal:
            client.request(0, pdu)
        assert refusal.value.code == 1
        assert client.read(0) == b"\0\x2a"


@pytest.mark.parametrize("pdu", [b"\x03", b"\x03\0\0", b"\x03\0\0\0\x01\0"])
def test_a_request_of_the_wrong_length_is_answered_with_exception_3(server, pdu):
    with BareClient(server.port) as client:
        with pytest.raises(ModbusError) as refusal:
            client.request(0, pdu)
        assert refusal.value.code == 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=600), max_size=4))
def test_invalid_requests_do_not_disturb_other_clients(server, chunks):
    with BareClient(server.port) as good, BareClient(server.port) as hostile:
        for chunk in chunks:
            try:
                hostile._socket.sendall(chunk)
            except OSError:
                break
            assert good.read(0) == b"\0\x2a"


def test_hundreds_of_clients_are_answered_concurrently(server):
    clients = [BareClient(server.port) for _ in range(300)]
    assert {client.read(0) for client in clients} == {b"\0\x2a"}
    for client in clients:
        client.__exit__()


def test_libmodbus_reads_integers_floats_and_exceptions(server):
    assert "[0]: \t42" in mbpoll(server.port, "-a", "0", "-t", "4", "-r", "0", "127.0.0.1")
    big_float = 300 + 4 * DataType.FLOAT  # orders 2, 2
    assert f"[{big_float}]: \t230.5" in mbpoll(
        server.port, "-B", "-a", "1", "-t", "4:float", "-r", str(big_float), "127.0.0.1"
    )
    word_swapped = 100 + 4 * DataType.LONG  # orders 1, 2: libmodbus' own order
    assert f"[{word_swapped}]: \t-123456789" in mbpoll(
        server.port, "-a", "1", "-t", "4:int", "-r", str(word_swapped), "127.0.0.1"
    )
    assert "1.5" in mbpoll(server.port, "-B", "-a", "2", "-t", "3:float", "-r", "0", "127.0.0.1")
    assert "Illegal data address" in mbpoll(server.port, "-a", "0", "-r", "5", "127.0.0.1")
    assert "Target device failed to respond" in mbpoll(server.port, "-a", "9", "-r", "0", "127.0.0.1")
    assert "Illegal function" in mbpoll(server.port, "-a", "0", "-r", "0", "127.0.0.1", "7")


def test_updates_come_on_the_cron(every_second):
    def count(device):
        device.write(0, device.updates, DataType.INT)

    with Device(count) as device:
        assert read(device.port, 0) == b"\0\1"
        eventually(lambda: read(device.port, 0) >= b"\0\3")


def test_an_update_is_seen_whole_or_not_at_all(every_second):
    def slowly(device):
        for address in range(0, 40, 4):
            device.write(address, device.updates * 0x0001000100010001, DataType.UINT64)
            time.sleep(0.03)

    torn, seen = [], set()
    stop = threading.Event()

    def hammer():
        with BareClient(device.port) as client:
            while not stop.is_set():
                words = {*struct.unpack(">40H", client.read(0, 40))}
                seen.update(words)
                if len(words) > 1:
                    torn.append(words)

    with Device(slowly) as device:
        threads = [threading.Thread(target=hammer) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: len(seen) >= 3)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not torn


def test_a_slow_update_delays_no_answer_and_a_second_one_does_not_start(every_second):
    running, most, release = 0, 0, threading.Event()

    def slowly(device):
        nonlocal running, most
        running += 1
        most = max(most, running)
        write_42(device)
        if device.updates > 1:
            release.wait(60)
        running -= 1

    with Device(slowly) as device:
        eventually(lambda: device.updates == 2)
        due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)  # two further updates, by then
        replies = {read(device.port, 0)}
        while datetime.now(UTC) < due:
            replies.add(read(device.port, 0))
        assert replies == {b"\0\x2a"}
        assert (device.updates, most) == (2, 1)
        release.set()
        eventually(lambda: device.updates > 2)
        assert most == 1


def test_registers_that_an_update_no_longer_writes_are_absent(every_second):
    def once(device):
        write_42(device)
        if device.updates == 1:
            device.write(1, 7, DataType.INT)

    with Device(once) as device:
        assert read(device.port, 1) == b"\0\7"
        eventually(lambda: exception_code(device.port, 1) == 2)
        assert read(device.port, 0) == b"\0\x2a"


def test_a_failing_update_leaves_the_data_whole_until_it_is_too_old_then_exception_4(every_second, age, caplog):
    def half(device):
        device.write(0, 99, DataType.INT)
        fail(device)

    caplog.set_level(logging.INFO)
    with Device(write_42, max_data_age_s=60) as device:
        device.script = half
        before = device.updates
        eventually(lambda: device.updates >= before + 2)
        assert read(device.port, 0) == b"\0\x2a"
        age.seconds = 59
        assert read(device.port, 0) == b"\0\x2a"
        age.seconds = 61
        assert exception_code(device.port, 0) == 4
        assert exception_code(device.port, 0, unit_id=9) == 4
        eventually(lambda: device.updates >= before + 4)
        device.script = write_42
        eventually(lambda: exception_code(device.port, 0) is None)
    failures = [record for record in caplog.records if "set_datastore failed" in record.message]
    assert len(failures) >= 3
    assert [bool(record.exc_info) for record in failures] == [True] + [False] * (len(failures) - 1)
    assert "RuntimeError: no such device; the data of " in failures[0].message
    assert "is served until" in failures[0].message
    assert sum("answered with exception 4" in record.message for record in caplog.records) == 1
    assert "set_datastore has recovered" in caplog.text


def test_an_update_that_exits_is_logged_and_the_next_one_runs(every_second, caplog):
    def exit_once(device):
        if device.updates == 2:
            raise SystemExit(3)
        write_42(device)

    with Device(exit_once) as device:
        eventually(lambda: device.updates >= 3)
        assert read(device.port, 0) == b"\0\x2a"
    assert "set_datastore failed: SystemExit" in caplog.text


def test_a_hanging_update_ends_in_exception_4_too(every_second, age, caplog):
    release = threading.Event()

    def hang(device):
        write_42(device)
        if device.updates > 1:
            release.wait(60)

    with Device(hang, max_data_age_s=60) as device:
        eventually(lambda: device.updates == 2)
        assert read(device.port, 0) == b"\0\x2a"
        age.seconds = 61
        assert exception_code(device.port, 0) == 4
        assert "no update has succeeded since" in caplog.text
        release.set()
        eventually(lambda: exception_code(device.port, 0) is None)


def test_without_a_first_success_reads_are_answered_with_exception_4(every_second, caplog):
    with Device(fail) as device:
        assert exception_code(device.port, 0) == 4
        assert "there is no earlier data to serve" in caplog.text
        device.script = write_42
        eventually(lambda: exception_code(device.port, 0) is None)


def test_a_single_failed_update_ends_in_exception_4_until_the_next_success(every_second, caplog):
    with Device(write_42) as device:
        assert read(device.port, 0) == b"\0\x2a"
        device.script = fail
        eventually(lambda: exception_code(device.port, 0) == 4)
        device.script = write_42
        eventually(lambda: exception_code(device.port, 0) is None)
    assert "is not served any more: reads are answered with exception 4 until an update succeeds" in caplog.text


def test_without_an_age_data_is_served_until_the_next_update_is_overdue(monkeypatch):
    def valid_for_s(second, minute):
        monkeypatch.setenv(CRON.format("SECOND"), second)
        monkeypatch.setenv(CRON.format("MINUTE"), minute)
        with Device(write_42) as device:
            return device._data.valid_for_s

    assert 5 < valid_for_s("*", "*") <= 6
    assert 5 < valid_for_s("50", "*/1") <= 65
    assert 5 < valid_for_s("0", "*/15") <= 905


def test_a_long_reason_is_cut_and_not_the_place_of_the_log(monkeypatch):
    monkeypatch.setenv("VIRTUAL_SERVER_LOG", "/var/log/" + "x" * 80)
    words = status_words(datetime(2026, 11, 27, tzinfo=UTC), RuntimeError("é" * 300))
    text = struct.pack(">125H", *words).rstrip(b"\0").decode()
    assert text.endswith("é); its log: /var/log/" + "x" * 80)


def test_an_update_that_takes_long_has_twice_its_time(every_second, age):
    def slowly(device):
        age.seconds += 20
        write_42(device)

    with Device(slowly) as device:
        assert 40 < device._data.valid_for_s <= 41


def test_a_server_without_current_data_says_why_and_where_its_log_is(every_second, monkeypatch):
    monkeypatch.setenv("VIRTUAL_SERVER_LOG", "/var/log/device.log")
    with Device(write_42) as device:
        assert exception_code(device.port, 65400, 125) == 2, "a server with data has no such registers"
        device.script = fail
        eventually(lambda: exception_code(device.port, 0) == 4)
        text = read(device.port, 65400, 125).rstrip(b"\0").decode()
    assert re.fullmatch(
        r"EMM virtual server: no update since [-0-9]{10} [:0-9]{8} UTC \(RuntimeError: no such device\); "
        r"its log: /var/log/device.log",
        text,
    )


def test_a_device_that_is_off_is_logged_once_and_is_not_a_failure(every_second, caplog):
    def off(device):
        device.write(0, None)
        raise DeviceOff("it is night")

    caplog.set_level(logging.INFO)
    with Device(off) as device:
        eventually(lambda: device.updates >= 3)
        assert math.isnan(struct.unpack(">f", read(device.port, 0, 2))[0])
        device.script = write_42
        eventually(lambda: read(device.port, 0) == b"\0\x2a")
    logged = [record for record in caplog.records if "the device is off: it is night" in record.message]
    assert [record.levelno for record in logged] == [logging.INFO]
    assert "the device is on again" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_device_that_is_off_and_wrote_nothing_is_absent_as_behind_a_gateway(every_second):
    def off(_device):
        raise DeviceOff("it is night")

    with Device(write_42) as device:
        device.script = off
        eventually(lambda: exception_code(device.port, 0) == 0x0B)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"value": 40000, "data_type": 1}, "register 5: 40000 is out of range: INT holds -32768 to 32767"),
        ({"value": 1, "data_type": 9}, "register 5: 9 is not a DataType; allowed: 1 INT, 2 LONG, 3 FLOAT, 4 UINT16"),
        (
            {"value": 1, "function_code": 5},
            "register 5: 5 is not a FunctionCode; allowed: 3 READ_HOLDING_REGISTERS",
        ),
        ({"value": 1, "word_order": 3}, "register 5: 3 is not a Order; allowed: 1 LITTLE_ENDIAN, 2 BIG_ENDIAN"),
        ({"value": 1, "unit_id": 256}, "unit id 256 is out of range: allowed are 0 to 255"),
    ],
)
def test_the_error_for_a_wrong_write_names_the_unit_and_the_register(arguments, reason, caplog):
    with Device(lambda device: device.write(5, **arguments)):
        assert reason in caplog.text


def test_writing_outside_of_an_update_is_refused(server):
    with pytest.raises(RuntimeError, match=r"only be called while set_datastore\(\) runs"):
        server.write(0, 1)


def test_a_bad_trigger_stops_the_start_before_anything_listens(monkeypatch):
    monkeypatch.setenv(CRON.format("HOUR"), "24")
    device = Device(write_42)
    with pytest.raises(ValueError, match=r"CRON_HOUR_TRIGGER='24'.*allowed are.*0 to 23"):
        device.start()
    assert device.port == 0


def test_the_error_for_a_port_in_use_names_the_port_and_the_reason(server):
    other = Device(write_42)
    other.port = server.port
    with pytest.raises(OSError, match=rf"cannot listen on 127.0.0.1:{server.port}: Address already in use; free"):
        other.start()


def test_a_server_can_be_stopped_and_started_again_on_its_port():
    device = Device(write_42)
    for _ in range(3):
        with device:
            assert read(device.port, 0) == b"\0\x2a"
        with pytest.raises(ConnectionRefusedError):
            read(device.port, 0)


def test_a_clock_that_is_set_back_does_not_stop_the_updates(every_second, move_wall_clock):
    move_wall_clock(86400)
    with Device(write_42) as device:
        eventually(lambda: device.updates >= 2)
        move_wall_clock(-86400)
        before = device.updates
        eventually(lambda: device.updates >= before + 2)

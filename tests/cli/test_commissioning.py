"""`emm read`, `scan`, `meters check` and `watch` with simulated devices."""

import itertools
import json
import signal

import pytest
from support.meters import SimulatedUnit, encode_registers, encode_value, holding, inputs
from support.ports import free_port
from support.sunspec import sunspec_registers
from support.virtual_server import eventually, mbpoll

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.fleet import DataType, Order
from virtual_modbustcp_server.test import RandomDataServer

SDM630 = load_catalogue()["sdm630"].meter_type
HOUSE = {"voltageL1": 231.4, "voltageL2": 229.9, "voltageL3": 230.2, "frequency": 49.98, "importActiveEnergy": 1234.5}


def sdm630(**faults):
    return SimulatedUnit(encode_registers(SDM630, HOUSE), **faults)


def place(gateway):
    return f"{gateway.host}:{gateway.port}"


def json_of(result):
    return json.loads(result.stdout)


def no_traceback(result):
    return "Traceback" not in result.stdout + result.stderr


# emm read


def test_read_shows_words_and_marks_what_is_plausible_without_any_database(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: sdm630()})
    result = emm_alone("read", place(gateway), "--unit", 1, "--address", 0, "--count", 2, "--fc", 4)
    assert result.returncode == 0, result.stderr
    assert "0x4367    17255" in result.stdout
    (row,) = [line for line in result.stdout.splitlines() if "FLOAT" in line]
    assert "231.4 *" in row
    assert "ABCD voltage in V" in row


def test_read_agrees_with_mbpoll(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: sdm630()})
    theirs = mbpoll(gateway.port, "-a", "1", "-r", "0", "-c", "2", "-t", "3:hex", gateway.host)
    result = emm_alone("read", place(gateway), "--fc", 4, "--json")
    (block,) = json_of(result)["blocks"]
    for address, word in enumerate(block["words"]):
        assert f"[{address}]: \t0x{word:04X}" in theirs


@pytest.mark.parametrize("expected", ["231.4", "231", "0.2314"])
def test_read_finds_type_order_and_scale_of_what_a_display_shows(emm_alone, simulated_gateway, expected):
    words = encode_value(231.4, DataType.FLOAT, Order.LITTLE_ENDIAN, Order.BIG_ENDIAN)
    gateway = simulated_gateway({5: SimulatedUnit(holding(10, words))})
    found = emm_alone("read", place(gateway), "--unit", 5, "--address", 10, "--expect", expected, "--json")
    assert found.returncode == 0, found.stderr
    (fit,) = [fit for block in json_of(found)["blocks"] for fit in block["fits"]]
    scale = ", 0.001" if expected == "0.2314" else ""
    assert fit["insert"] == (
        f"INSERT INTO registers VALUES ('my_type', 10, 'my_measurement', 'my_unit', 3, 3, 1, 2{scale});"
    )


def test_the_row_that_read_prints_makes_the_database_read_the_value(emm, config_engine, simulated_gateway):
    words = encode_value(-23141, DataType.LONG, Order.LITTLE_ENDIAN, Order.LITTLE_ENDIAN)
    gateway = simulated_gateway({1: SimulatedUnit(inputs(7, words))})
    found = emm("read", place(gateway), "--address", 7, "--expect", "-231.4")
    (insert,) = [line.strip() for line in found.stdout.splitlines() if "INSERT" in line]
    with config_engine.begin() as connection:
        connection.exec_driver_sql(insert)
        connection.exec_driver_sql(
            f"INSERT INTO energy_meters VALUES (1, '{gateway.host}', {gateway.port}, 1, 'my_type', NULL)"
        )
    polled = json_of(emm("poll", "--dry-run", "--json"))["readings"]
    assert [reading["value"] for reading in polled] == [-231.41]


def test_the_file_that_read_prints_can_be_imported(emm, simulated_gateway, tmp_path):
    gateway = simulated_gateway({1: SimulatedUnit(holding(0, [2314]))})
    printed = emm("read", place(gateway), "--count", 1, "--expect", "231.4").stdout
    file = tmp_path / "registers.csv"
    file.write_text(
        "\n".join(line.strip() for line in printed.splitlines() if "my_type," in line or "type,reg" in line)
    )
    imported = emm("registers", "import", file)
    assert imported.returncode == 0, imported.stderr
    assert "1 added" in imported.stdout


def test_read_reports_when_two_interpretations_fit(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(holding(0, [2314]))})
    result = emm_alone("read", place(gateway), "--count", 1, "--expect", "231.4")
    assert "fits in 2 ways" in result.stdout
    assert "negative numbers need INT" in result.stdout


@pytest.mark.parametrize("address", [9, 11])
def test_read_finds_a_value_one_register_beside_the_address_of_the_manual(emm_alone, simulated_gateway, address):
    gateway = simulated_gateway({1: SimulatedUnit(holding(8, [0, 0, *encode_value(231.4, DataType.FLOAT), 0, 0]))})
    result = emm_alone("read", place(gateway), "--address", address, "--expect", "231.4")
    assert result.returncode == 0
    said = "231.4 is not in the requested registers but next to" if address == 11 else "contain a value closer to 231.4"
    assert said in result.stdout
    assert "('my_type', 10, 'my_measurement', 'my_unit', 3, 3, 2, 2)" in result.stdout


def test_read_says_when_nothing_fits_and_where_to_look(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: sdm630()})
    result = emm_alone("read", place(gateway), "--expect", "777")
    assert result.returncode == 1
    assert "777 was not found in these registers or next to them" in result.stdout
    assert "any order and scales\nfrom 0.0001 to 10000." in result.stdout


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        (SimulatedUnit(silent=True), "no reply within 0.3 s"),
        (SimulatedUnit(exception=4), "exception 4 (device failure)"),
        (SimulatedUnit(garbage=b"HTTP/1.1 400 Bad Request\r\n\r\n"), "a web server replied"),
        (None, "exception 11 (gateway target device did not respond)"),
    ],
)
def test_read_says_what_went_wrong_and_exits_with_1(emm_alone, simulated_gateway, unit, said):
    gateway = simulated_gateway({1: unit} if unit else {})
    patience = ["--timeout", 0.3] if unit and unit.silent else []
    result = emm_alone("read", place(gateway), *patience)
    assert result.returncode == 1
    assert said in result.stdout
    assert no_traceback(result)


def test_a_closed_port_is_one_line_with_what_to_do(emm_alone):
    result = emm_alone("read", f"127.0.0.1:{free_port()}")
    assert result.returncode == 1
    assert "connection refused; check host, port" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["read", "127.0.0.1:70000"], "70000"),
        (["read", "host:502:7"], "is not HOST or HOST:PORT"),
        (["read", "ho st"], "white space"),
        (["read", "h", "--address", "400001"], "--fc 3 --address 0"),
        (["read", "h", "--address", "65535", "--count", "2"], "beyond the last register"),
        (["read", "h", "--expect", "0"], "0 is the same"),
        (["read", "h", "--expect", "nan"], "is not a number"),
        (["read", "h", "--count", "126"], "126"),
        (["scan", "h", "--units", "5-3"], "not a unit id"),
        (["scan", "h", "--units", "1-256"], "not a unit id"),
        (["meters", "check", "--host", "h"], "--type"),
        (["meters", "check", "--host", "h", "--type", "nonesuch"], "no type 'nonesuch'"),
        (["meters", "check", "--unit", "3"], "--host"),
        (["meters", "check", "1", "--host", "h", "--type", "sdm630"], "give either METER or --host"),
    ],
)
def test_wrong_input_is_an_error_that_says_what_is_right(emm_alone, arguments, said):
    result = emm_alone(*arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert no_traceback(result)


# emm scan


def test_scan_finds_and_names_units_and_prints_lines_that_work(emm, simulated_gateway):
    gateway = simulated_gateway({3: sdm630(), 9: SimulatedUnit(exception=2), 4: SimulatedUnit(silent=True)})
    result = emm("scan", place(gateway), "--units", "1-10", "--timeout", 3, "--pause", 0)
    assert result.returncode == 0, result.stderr
    assert "2 of 10 units answer" in result.stdout
    assert f"emm read {place(gateway)} --unit 9" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith(("  emm types", "  emm meters"))]
    assert [line[1:3] for line in lines] == [["types", "install"], ["meters", "add"]], result.stdout
    for line in lines:
        done = emm(*line[1:])
        assert done.returncode == 0, done.stderr
    again = emm("scan", place(gateway), "--units", "3", "--pause", 0)
    assert "unit 3 is already configured as meter 1" in again.stdout
    assert "emm meters add" not in again.stdout


def test_scan_finds_the_units_of_a_virtual_server(emm_alone):
    with RandomDataServer("127.0.0.1", 0) as server:
        result = emm_alone("scan", f"127.0.0.1:{server.port}", "--units", "0-5", "--pause", 0, "--json")
    units = json_of(result)["units"]
    assert [unit["unit"] for unit in units] == [0, 1, 2]
    assert units[2]["decided"], "it has a part of the SDM630's registers, which are all of another Eastron meter"
    assert {"sdm630", "sdm72dm_v2"} <= {candidate["type"] for candidate in units[2]["candidates"]}


def test_ctrl_c_prints_what_was_found_so_far(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: SimulatedUnit(holding(0, [7])), 2: SimulatedUnit(silent=True)})
    scan = emm_alone.start("scan", place(gateway), "--units", "1,2,3", "--timeout", 30)
    eventually(lambda: any(received.unit_id == 2 for received in list(gateway.received)), within_s=60)
    scan.send_signal(signal.SIGINT)
    printed, remarks = scan.communicate(timeout=30)
    assert scan.returncode == 130
    assert "1 of 1 units answer" in printed
    assert "interrupted after 1 of 3 units" in remarks


def test_a_scan_without_replies_says_what_to_check(emm_alone, simulated_gateway):
    result = emm_alone("scan", place(simulated_gateway({})), "--units", "1-5")
    assert result.returncode == 1
    assert "0 of 5 units answer" in result.stdout
    assert "check the unit id, the baud rate and the wiring" in result.stdout


def test_a_device_that_answers_to_any_unit_id_is_reported_as_one_device(emm_alone, simulated_gateway):
    gateway = simulated_gateway({unit: SimulatedUnit(holding(0, [7])) for unit in range(1, 13)})
    result = emm_alone("scan", place(gateway), "--units", "1-12", "--pause", 0)
    assert "probably one device" in result.stdout


def test_a_unit_that_answered_is_shown_even_if_its_identification_is_interrupted(emm_alone, simulated_gateway):
    """It gets a second request after three seconds, when Ctrl-C is pressed."""
    gateway = simulated_gateway({1: SimulatedUnit(lambda function_code, address: 7)})
    scan = emm_alone.start("scan", place(gateway), "--units", "1", "--pause", 3)
    eventually(lambda: gateway.requests == 2, within_s=60)
    scan.send_signal(signal.SIGINT)
    printed, _ = scan.communicate(timeout=30)
    assert scan.returncode == 130
    assert "1 of 1 units answer" in printed
    assert "not compared with the catalogue" in printed


# emm meters check


def test_check_reads_each_register_and_the_requests_of_a_poll_without_any_database(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: sdm630()})
    result = emm_alone("meters", "check", "--host", place(gateway), "--unit", 1, "--type", "sdm630")
    assert result.returncode == 0, result.stdout
    (row,) = [line.split() for line in result.stdout.splitlines() if line.startswith("voltageL1 ")]
    assert row[1:7] == ["4", "0", "231.4", "V", "4367", "6666"]
    assert f"OK: {len(SDM630.registers)} of {len(SDM630.registers)} registers" in result.stdout


def test_check_knows_a_type_of_the_database_that_no_meter_has_yet(emm, config_engine, simulated_gateway):
    gateway = simulated_gateway({1: sdm630()})
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('mine', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
    result = emm("meters", "check", "--host", place(gateway), "--unit", 1, "--type", "mine")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "OK: 1 of 1 registers" in result.stdout


def test_check_says_for_each_failure_why_and_what_to_do(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: sdm630(exceptions={70: 2, 52: 4})})
    arguments = ("meters", "check", "--host", place(gateway), "--type", "sdm630")
    result = emm_alone(*arguments)
    assert result.returncode == 1
    assert "exception 2 (illegal data address) for frequency\n  the device has no such register" in result.stdout
    assert "exception 4 (device failure) for activePower\n  the device knows the register" in result.stdout
    (meter,) = json_of(emm_alone(*arguments, "--json"))["meters"]
    failed = {each["measurement"]: each["exception_code"] for each in meter["registers"] if each["error"]}
    assert failed == {"frequency": 2, "activePower": 4}


@pytest.mark.parametrize("closing", [{"requests_per_connection": 1}, {"idle_s": 0.02}])
def test_a_gateway_that_closes_connections_is_checked_and_read_as_any_other(emm_alone, simulated_gateway, closing):
    gateway = simulated_gateway({1: sdm630()}, **closing)
    checked = emm_alone("meters", "check", "--host", place(gateway), "--type", "sdm630")
    assert checked.returncode == 0, checked.stdout
    assert f"connected to tcp {place(gateway)} in" in checked.stdout
    assert "231.4" in emm_alone("read", place(gateway), "--fc", 4).stdout


def test_check_says_what_to_do_about_a_gateway_that_closes_instead_of_replying(emm_alone, simulated_gateway):
    gateway = simulated_gateway({1: sdm630()}, requests_per_connection=0)
    result = emm_alone("meters", "check", "--host", place(gateway), "--type", "sdm630")
    assert result.returncode == 1
    assert "failed: the connection was closed without a reply for voltageL1" in result.stdout
    assert "closes the connection instead of replying" in result.stdout


def test_check_gives_up_a_silent_unit_soon(emm, config_engine, simulated_gateway):
    gateway = simulated_gateway({1: sdm630(silent=True)})
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO meter_types (type, timeout_s) VALUES ('t', 0.2)")
        for n in range(9):
            connection.exec_driver_sql(f"INSERT INTO registers VALUES ('t', {2 * n}, 'm{n}', 'V', 3, 4, 2, 2)")
        connection.exec_driver_sql(
            f"INSERT INTO energy_meters VALUES (1, '{gateway.host}', {gateway.port}, 1, 't', 'main')"
        )
    result = emm("meters", "check", "main")
    assert result.returncode == 1
    assert "no reply within 0.2 s for m0, m1\n  check the unit id, the baud rate and the wiring" in result.stdout
    assert "7 more registers were not read" in result.stdout
    assert gateway.requests == 2


def test_check_of_all_meters_names_the_one_that_failed(emm, config_engine, simulated_gateway):
    gateway = simulated_gateway({1: sdm630()})
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('t', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
        connection.exec_driver_sql(
            f"INSERT INTO energy_meters VALUES (1, '{gateway.host}', {gateway.port}, 1, 't', 'main'),"
            f" (2, '{gateway.host}', {free_port()}, 1, 't', 'barn'), (3, 'h', 1, 1, 'nonesuch', NULL)"
        )
    result = emm("meters", "check")
    assert result.returncode == 1
    assert "1 of 3 meters OK" in result.stdout
    assert "connection refused" in result.stdout
    assert "'nonesuch'" in result.stdout


def all_asked(gateways):
    return len(gateways) == 5 and all(gateway.requests for gateway in gateways)


def test_check_asks_gateways_concurrently_and_the_units_behind_one_in_turn(emm, config_engine, simulated_gateway):
    gateways = []
    gateways += [simulated_gateway({1: sdm630(waits_for=lambda: all_asked(gateways)), 2: sdm630()}) for _ in range(5)]
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('t', 0, 'voltageL1', 'V', 3, 4, 2, 2)")
        connection.exec_driver_sql("INSERT INTO meter_types (type, timeout_s) VALUES ('t', 30)")
        for number, gateway in enumerate(gateways):
            rows = (f"({100 * unit + number}, '{gateway.host}', {gateway.port}, {unit}, 't', NULL)" for unit in (1, 2))
            connection.exec_driver_sql(f"INSERT INTO energy_meters VALUES {', '.join(rows)}")
    result = emm("meters", "check", "--json")
    assert [check["id"] for check in json_of(result)["meters"]] == [*range(100, 105), *range(200, 205)]
    assert all(check["ok"] for check in json_of(result)["meters"]), "no unit 1 replied before each of them was asked"
    assert all(gateway.max_simultaneous_requests == 1 for gateway in gateways)


def test_check_reports_a_float_in_the_wrong_order_as_unusual_and_says_how_to_find_the_right_one(
    emm, config_engine, simulated_gateway
):
    gateway = simulated_gateway({1: sdm630()})
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('t', 0, 'voltageL1', 'V', 3, 4, 1, 2)")
        connection.exec_driver_sql(
            f"INSERT INTO energy_meters VALUES (1, '{gateway.host}', {gateway.port}, 1, 't', NULL)"
        )
    result = emm("meters", "check", "1")
    assert result.returncode == 1
    assert "failed: no meter measures the values of voltageL1" in result.stdout
    assert f"emm read {place(gateway)} --unit 1 --fc 4 --address 0 --count 2 --expect VALUE" in result.stdout


def test_check_scales_by_other_registers_and_finds_sunspec_models_as_a_poll_does(emm, config_engine, simulated_gateway):
    words, begins = sunspec_registers([(1, [0] * 4), (203, [2314, 0, 0xFFFF])])  # 2314 * 10 ** -1
    gateway = simulated_gateway({1: SimulatedUnit(words)})
    with config_engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO registers (type, register_address, measurement_name, data_unit, data_type, function_code,"
            " word_order, byte_order, scale_register, model) VALUES ('t', 2, 'voltageL1', 'V', 1, 3, 2, 2, 4, 203)"
        )
        connection.exec_driver_sql(
            f"INSERT INTO energy_meters VALUES (1, '{gateway.host}', {gateway.port}, 1, 't', NULL)"
        )
    result = emm("meters", "check", "1", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    ((register,),) = (meter["registers"] for meter in json_of(result)["meters"])
    assert (register["address"], register["value"]) == (begins[203] + 2, 231.4)
    assert json_of(emm("poll", "1", "--dry-run", "--json"))["readings"][0]["value"] == 231.4
    assert "voltageL1 = 231.4 V" in emm("watch", "1", "--count", 1).stdout

    gateway.units[1].registers = {}
    gone = emm("meters", "check", "1")
    assert gone.returncode == 1
    assert "not a SunSpec device" in gone.stdout


# emm watch


@pytest.fixture
def watched(emm, config_engine, simulated_gateway):
    """Meter 1, whose counter increases with each reading."""
    count = itertools.count(100)
    gateway = simulated_gateway({1: SimulatedUnit(lambda function_code, address: next(count))})
    with config_engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('t', 0, 'pulses', 'Wh', 1, 3, 2, 2)")
        connection.exec_driver_sql(
            f"INSERT INTO energy_meters VALUES (1, '{gateway.host}', {gateway.port}, 1, 't', 'main')"
        )
    return gateway


def test_watch_prints_a_line_per_value_without_a_terminal(emm, watched):
    result = emm("watch", "main", "--count", 2, "--interval", 0.2)
    assert result.returncode == 0, result.stderr
    assert [line.split(" ", 2)[2].strip() for line in result.stdout.splitlines()] == [
        "meter 1  pulses = 100 Wh",
        "meter 1  pulses = 101 Wh",
    ]
    assert watched.open_connections == 0


def test_watch_prints_a_line_of_json_per_reading(emm, watched):
    result = emm("watch", "1", "--count", 2, "--interval", 0.2, "--json")
    readings = [json.loads(line) for line in result.stdout.splitlines()]
    assert [reading["values"] for reading in readings] == [{"pulses": 100.0}, {"pulses": 101.0}]


def test_ctrl_c_ends_watch_and_is_not_a_failure(emm, watched):
    watch = emm.start("watch", "1", "--interval", 0.2)
    assert "pulses = 100 Wh" in watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    _, remarks = watch.communicate(timeout=30)
    assert watch.returncode == 0
    assert not remarks


def test_watch_continues_when_a_reading_fails_and_says_why(emm, watched):
    watch = emm.start("watch", "1", "--interval", 0.2)
    assert watch.stdout.readline()
    watched.stop()
    # A reading in progress when the gateway stops fails for another reason.
    assert any("connection refused" in line for line in watch.stderr)
    read_before = watched.requests
    watched.start()
    assert any(f"pulses = {100 + read_before} Wh" in line for line in watch.stdout)
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=30)


def test_watch_of_an_unknown_meter_says_so(emm, watched):
    result = emm("watch", "77")
    assert result.returncode == 2
    assert "77" in result.stderr

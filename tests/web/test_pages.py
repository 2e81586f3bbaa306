"""The pages as a person sees and uses them, without a browser: status first, filters, changes, the form, errors."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from support.dagster_ui import wait_for
from support.meters import SimulatedGateway, SimulatedUnit, encode_value, inputs
from support.ports import free_port

from emm_pipeline import runnable
from emm_pipeline.fleet import DataType
from emm_pipeline.stores.charts import FailedPoll
from emm_pipeline.stores.energy_points import EnergyPoints
from emm_pipeline.stores.points import PointBatch
from emm_pipeline.stores.postgresql.history import PostgresHistory
from emm_pipeline.stores.postgresql.store import PostgresReadingsStore
from emm_pipeline.web.pages.meter import outages_of


def registers() -> dict[tuple[int, int], int]:
    words: dict[tuple[int, int], int] = {(4, address): 0 for address in range(80)}
    for address, value in {0: 230.25, 2: 231.5, 52: 1234.0, 72: 17.5}.items():
        words |= inputs(address, encode_value(value, DataType.FLOAT))
    return words


@pytest.fixture(scope="module")
def gateway(simulator_loop):
    with SimulatedGateway(
        {1: SimulatedUnit(registers()), 3: SimulatedUnit(registers())}, loop=simulator_loop
    ) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def meters(local_web):
    local_web.sql("DELETE FROM energy_meters; DELETE FROM meter_status; DELETE FROM readings; DELETE FROM emm_poll")
    for id_ in range(1, 131):
        local_web.add_meter(id_, f"meter {id_:03}", 500 + id_ % 3)
    local_web.sql(
        "INSERT INTO meter_status (id, failing_since, reason, polled_at, failures_in_a_row) "
        "VALUES (77, now(), 'no reply within 3 s', now(), 4)"
    )
    local_web.sql("UPDATE energy_meters SET enabled = false WHERE id = 5")


@pytest.fixture
def browser(local_web):
    return local_web.browser()


def names_in(page: str) -> list[str]:
    return re.findall(r'href="/meters/-?\d+">(meter \d+)', page)


def test_what_is_wrong_comes_first_with_its_reason_and_what_to_do(browser):
    page = browser.get("/").text
    assert names_in(page)[0] == "meter 077"
    row = page[page.index("meter 077") :]
    assert "no reply within 3 s" in row[:1500]
    assert "emm meters check" in row[:1500]


def test_the_counts_agree_with_the_meters(browser):
    page = browser.get("/").text
    counts = dict(re.findall(r"<b>(\d+)</b> <span class=\"state [\w-]+\">([\w ]+)</span>", page))
    assert counts == {"1": "disabled", "128": "new"} or set(counts.values()) == {"failing", "new", "disabled"}
    assert "<b>130</b> meters" in page


def test_a_page_shows_a_hundred_meters_and_the_next_one_the_others(browser):
    assert len(names_in(browser.get("/meters").text)) == 100
    assert len(names_in(browser.get("/meters?page=2").text)) == 30
    assert len(names_in(browser.get("/meters?page=99").text)) == 30, "the last page"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=meter+012", ["meter 012"]),
        ("q=METER+012", ["meter 012"]),
        ("state=failing", ["meter 077"]),
        ("state=disabled", ["meter 005"]),
        ("q=no+such", []),
        ("gateway=127.0.0.1:500&q=meter+003", ["meter 003"]),
        ("gateway=127.0.0.1:501&q=meter+003", []),
        ("page=-1&state=nothing&q=meter+012", ["meter 012"]),
        ("page=%00&q=meter+012", ["meter 012"]),
    ],
)
def test_meters_are_searched_and_filtered(browser, query, found):
    assert names_in(browser.get(f"/meters?{query}").text) == found


def test_meters_are_grouped_by_gateway(browser):
    page = browser.get("/meters?group=gateway").text
    assert re.findall(r'scope="rowgroup"><a [^>]*>([^<]+)', page) == ["127.0.0.1:500", "127.0.0.1:501", "127.0.0.1:502"]


def test_an_update_of_the_overview_is_small(browser):
    assert len(browser.get("/meters").body) < 100_000


def test_a_poll_is_shown_at_once(local_web, browser):
    time = round(datetime.now(UTC).timestamp() * 1000)
    series = (("activePower", "W", 1530.0), ("activeEnergyImport", "kWh", 48208.75))
    rows = [
        {"time": time, "id": 12, "description": None, "measurement": name, "unit": unit, "value": value}
        for name, unit, value in series
    ]
    local_web.site.latest.add(PointBatch.of(rows))
    row = browser.get("/meters?q=meter+012").text
    assert "1.53 kW" in row
    assert "48\u202f208.8 kWh" in row
    assert "<polyline" in row
    assert "1530" in browser.get("/meters/12/values").text.replace("\u202f", "")


def test_after_a_start_the_values_come_from_the_store(local_web, browser):
    time = round((datetime.now(UTC) - timedelta(minutes=5)).timestamp() * 1000)
    row = {"time": time, "id": 20, "description": None, "measurement": "voltageL1", "unit": "V", "value": 229.5}
    PostgresReadingsStore(local_web.engine).write(PointBatch.of([row]))
    assert "229.5" in browser.get("/meters/20").text
    found = browser.get("/api/meters/20/series?measurement=voltageL1&unit=V&hours=1").json
    assert found["mean"] == [229.5]


@pytest.mark.parametrize("query", ["", "measurement=", "measurement=x&hours=5", "measurement=x&hours=abc"])
def test_a_chart_of_nothing_is_an_error_with_what_is_allowed(browser, query):
    reply = browser.get(f"/api/meters/20/series?{query}")
    assert reply.status == 400
    assert reply.json["error"]


def test_a_meter_is_disabled_and_enabled_and_the_log_has_before_and_after(local_web, browser):
    assert browser.submit("/meters/12/disable").headers["location"] == "/meters/12"
    assert "disabled" in browser.get("/meters/12").text
    assert browser.submit("/meters/12/enable").status == 303
    assert [change["after"] for change in local_web.changes()[-2:]] == ['{"enabled": false}', '{"enabled": true}']
    page = browser.get("/changes").text
    assert "edit meter 12" in page
    assert "this machine" in page


def test_a_disabled_meter_cannot_be_polled_now(browser):
    reply = browser.submit("/meters/5/poll")
    assert (reply.status, "enable it first" in reply.text) == (400, True)


def test_a_meter_is_enabled_also_while_dagster_is_unavailable(local_web, browser, monkeypatch, caplog):
    settings = local_web.site.settings().model_copy(update={"dagster_api_url": f"http://127.0.0.1:{free_port()}"})
    monkeypatch.setattr(local_web.site, "settings", lambda: settings)
    assert browser.submit("/meters/5/enable").status == 303
    wait_for("the message in the log", lambda: "a scheduled one finds the changed meters" in caplog.text)


def test_a_meter_is_removed_after_a_question(local_web, browser):
    assert "Remove meter 012?" in browser.get("/meters/12/remove").text
    assert browser.submit("/meters/12/remove").headers["location"] == "/"
    assert browser.get("/meters/12").status == 404
    assert browser.submit("/meters/12/remove").status == 400


def test_the_energy_of_today_and_of_the_month_is_shown_and_comes_as_json(local_web, browser):
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = [("hour", today, 1.5, 100.0), ("hour", today + timedelta(hours=1), 2.25, 50.0)]
    rows += [("day", today - timedelta(days=1), 10.0, 100.0)] * (today.day > 1)
    point = {"id": 12, "description": None, "measurement": "import", "dataunit": "kWh", "cost": None}
    point |= {"estimated": 0.0, "readings": 60, "flags": None}
    points = EnergyPoints.of(
        point | {"period": period, "time": round(at.timestamp() * 1000), "energy": energy, "coverage": coverage}
        for period, at, energy, coverage in rows
    )
    PostgresHistory(local_web.engine).write_energy(points)
    text = browser.get("/meters/12/energy").text
    assert ">3.75<" in text or datetime.now(UTC).hour == 0
    found = browser.get(f"/api/energy?by=hour&id=12&from={today:%Y-%m-%d}").json
    assert [(each["energy"], each["cost"]) for each in found] == [(1.5, None), (2.25, None)]
    assert browser.get("/api/energy?by=hour&id=13").json == []
    for wrong in ("by=year", "from=yesterday", "from=2026-03-02&to=2026-03-01", "by=hour&from=2020-01-01"):
        assert browser.get(f"/api/energy?{wrong}").status == 400


def test_outages_join_failed_polls_that_follow_one_another():
    start = datetime(2026, 3, 1, tzinfo=UTC)
    minutes = (60, 59, 58, 10, 5)
    outages = outages_of([FailedPoll(start + timedelta(minutes=each), f"reason {each}") for each in minutes])
    assert [(each.polls, each.reason, (each.last - each.first).seconds) for each in outages] == [
        (3, "reason 60", 120),
        (2, "reason 10", 300),
    ]


def fields(gateway, **changes: str) -> dict[str, str]:
    return {
        "host": gateway.host,
        "port": str(gateway.port),
        "slave_address": "1",
        "type": "sdm630",
        "description": "new one",
        "transport": "tcp",
        "factor": "1",
        "action": "save",
    } | changes


def test_a_device_is_tested_with_the_form_and_nothing_is_written(local_web, browser, gateway):
    page = browser.submit("/add/meter", fields(gateway, action="test")).text
    assert "4 of 4 registers read" in page
    assert "1\u202f234" in page
    assert 'value="new one"' in page, "the fields are kept"
    assert "new one" not in browser.get("/meters?q=new").text


def test_a_device_that_does_not_answer_is_reported_with_what_to_do(browser, gateway):
    page = browser.submit("/add/meter", fields(gateway, action="test", port="1")).text
    assert "refused" in page
    assert "&rarr;" in page or 'class="remedy"' in page


def test_a_meter_is_added_with_the_form_and_its_type_is_installed(local_web, browser, gateway):
    local_web.sql("DELETE FROM registers WHERE type = 'sdm120'")
    reply = browser.submit("/add/meter", fields(gateway, type="sdm120", factor="0,5"))
    assert reply.status == 303
    with local_web.engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT type, factor FROM energy_meters ORDER BY id DESC LIMIT 1").one()
        assert tuple(row) == ("sdm120", 0.5)
    assert [change["action"] for change in local_web.changes()[-2:]] == ["install", "add"]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"host": ""}, "enter a name or an address"),
        ({"port": "abc"}, "not a whole number"),
        ({"port": "70000"}, "70000"),
        ({"slave_address": "300"}, "300"),
        ({"slave_address": ""}, "enter a whole number"),
        ({"type": ""}, "choose a type"),
        ({"type": "no_such_type"}, "no_such_type"),
        ({"factor": "1e999"}, "factor"),
        ({"factor": "nan"}, "factor"),
        ({"transport": "carrier pigeon"}, "allowed"),
        ({"host": "/dev/ttyUSB0", "transport": "serial", "serial_settings": "fast"}, "fast"),
        ({"description": "a\nb"}, "line break"),
    ],
)
def test_wrong_input_is_refused_beside_its_field(local_web, browser, gateway, changes, shown):
    before = local_web.changes()
    reply = browser.submit("/add/meter", fields(gateway) | changes)
    assert reply.status == 422
    assert shown in reply.text
    assert local_web.changes() == before


def test_a_unit_that_is_known_is_added_only_if_the_person_insists(browser, gateway):
    assert browser.submit("/add/meter", fields(gateway)).status == 303
    again = browser.submit("/add/meter", fields(gateway))
    assert again.status == 422
    assert "already meter" in again.text
    assert 'name="force"' in again.text
    assert browser.submit("/add/meter", fields(gateway, force="on")).status == 303


def test_a_meter_is_edited(local_web, browser, gateway):
    assert 'value="meter 012"' in browser.get("/meters/12/edit").text
    assert browser.submit("/meters/12/edit", fields(gateway, description="renamed")).status == 303
    assert "renamed" in browser.get("/meters/12").text


def test_the_registers_of_a_meter_are_read_on_request(local_web, browser, gateway):
    local_web.add_meter(900, "real", gateway.port)
    page = browser.submit("/meters/900/registers").text
    assert "4 of 4 registers read" in page
    assert "4366 4000" in page, "the raw registers of 230.25 V"
    assert browser.submit("/meters/5/registers").status == 400


def test_the_catalogue_is_searched_and_a_type_is_installed(local_web, browser):
    local_web.sql("DELETE FROM registers WHERE type = 'abb_b23'")
    found = re.findall(r'href="/catalogue/([\w]+)"', browser.get("/catalogue?q=abb").text)
    name = found[0]
    assert "Install" in browser.get(f"/catalogue/{name}").text
    assert browser.submit(f"/catalogue/{name}/install").status == 303
    page = browser.get(f"/catalogue/{name}").text
    assert "as in the catalogue" in page
    assert "Install</button>" not in page


def test_rows_that_a_person_has_edited_are_overwritten_only_on_request(local_web, browser):
    local_web.sql("UPDATE registers SET scale = 7 WHERE type = 'sdm630' AND register_address = 0")
    refused = browser.submit("/catalogue/sdm630/install")
    assert refused.status == 422
    assert "edited" in refused.text
    assert browser.submit("/catalogue/sdm630/install", {"force": "on"}).status == 303


def upload(browser, what: str, content: bytes):
    parts = {"csrf": browser.csrf().encode(), "what": what.encode()}
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in parts.items()
    )
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f.csv"\r\n\r\n'
    body += head + content + b"\r\n--x--\r\n"
    return browser.ask("POST", "/add/file", body, content_type="multipart/form-data; boundary=x")


def test_a_file_of_meters_is_uploaded_and_their_types_are_installed(local_web, browser):
    content = "host;slave_address;type;description;factor\n10.1.0.1;1;sdm120;Büro;0,5\n10.1.0.1;2;sdm630;;\n"
    assert upload(browser, "meters", content.encode()).status == 303
    with local_web.engine.connect() as connection:
        columns = "slave_address, type, description, factor, port"
        query = f"SELECT {columns} FROM energy_meters WHERE host = '10.1.0.1' ORDER BY 1"
        rows = connection.exec_driver_sql(query).all()
    assert [tuple(row) for row in rows] == [(1, "sdm120", "Büro", 0.5, 502), (2, "sdm630", None, 1.0, 502)]


def test_a_file_with_errors_writes_nothing_and_names_each_line(local_web, browser):
    lines = ("host,slave_address,type", "10.2.0.1,1,sdm630", "10.2.0.1,999,sdm630", ",2,sdm630", "10.2.0.1,3,nothing")
    content = "\n".join((*lines, "10.2.0.1,1,sdm630", ""))
    reply = upload(browser, "meters", content.encode())
    assert reply.status == 422
    for line in ("line 3: ", "line 4: ", "line 5: ", "line 6: "):
        assert line in reply.text
    assert "line 2: " not in reply.text
    with local_web.engine.connect() as connection:
        query = "SELECT count(*) FROM energy_meters WHERE host = '10.2.0.1'"
        assert connection.exec_driver_sql(query).scalar() == 0


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a,b\n1,2\n", b"host,slave_address,type\n"])
@pytest.mark.parametrize("what", ["meters", "registers"])
def test_a_file_that_is_something_else_is_refused(browser, what, content):
    assert upload(browser, what, content).status == 422


def test_a_file_of_registers_is_uploaded(local_web, browser):
    header = "type,register_address,measurement_name,data_unit,data_type,function_code,word_order,byte_order\n"
    reply = upload(browser, "registers", f"{header}my_type,0,voltage,V,3,4,2,2\n".encode())
    assert (reply.status, reply.headers["location"]) == (303, "/catalogue/my_type")
    assert "voltage" in browser.get("/catalogue/my_type").text
    assert upload(browser, "registers", f"{header}my_type,0,voltage,V,99,4,2,2\n".encode()).status == 422


def test_the_pipeline_page_shows_every_part(browser):
    page = browser.get("/pipeline").text
    for text in ("PostgreSQL", "outbox", "clock", "Alerts", "Schedules"):
        assert text in page


def test_the_pipeline_page_shows_virtual_devices_with_their_logs(local_web, browser, monkeypatch):
    assert "None is configured" in browser.get("/pipeline").text
    local_web.sql("INSERT INTO energy_meters VALUES (900, 'boiler', 502, 1, 'boiler', 'hot water')")
    assert "hot water" in browser.get("/pipeline").text
    monkeypatch.setattr(runnable, "_is_elsewhere", True)
    page = browser.get("/pipeline").text
    assert "docker compose logs boiler" in page
    assert "This page does not reach devices" in page


def test_in_the_stack_a_virtual_device_is_read_with_the_command_that_the_page_names(browser, gateway, monkeypatch):
    wanted = "which only polls use"
    form = fields(gateway, action="test", host="no-such-device")
    assert wanted not in browser.submit("/add/meter", form).text, "only in the stack"
    monkeypatch.setattr(runnable, "_is_elsewhere", True)
    page = browser.submit("/add/meter", form).text
    assert wanted in page
    assert f"emm meters check --host no-such-device:{gateway.port} --unit 1 --type sdm630" in page
    assert wanted not in browser.submit("/add/meter", form | {"host": "127.0.0.1", "port": "1"}).text


def test_pages_that_do_not_exist_are_reported(browser):
    for path in ("/none", "/meters/abc", "/meters/99999", "/catalogue/none", "/scans/none", "/meters/1.5"):
        assert browser.get(path).status == 404, path
    assert browser.ask("DELETE", "/").status in {403, 405}

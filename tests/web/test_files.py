"""Files of meters and registers: page and API read those of `emm meters import`, and write all lines or none."""

import json

import pytest

CONTENT = "host;unit;type;description;id;enabled\n10.1.0.1:502;1;sdm120;Büro;;\n10.1.0.1;2;sdm630;;77;false\n"


@pytest.fixture
def browser(local_web):
    local_web.sql("DELETE FROM energy_meters; DELETE FROM used_meter_ids; DELETE FROM registers WHERE type = 'sdm120'")
    return local_web.browser()


def meters(web):
    with web.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT id, slave_address, type, enabled FROM energy_meters ORDER BY id"
        ).all()
    return [tuple(row) for row in rows]


def upload(browser, content: str, **fields: str):
    parts = {"csrf": browser.csrf(), "what": "meters", "action": "save"} | fields
    body = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in parts.items()
    )
    head = '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body += f"{head}{content}\r\n--x--\r\n"
    return browser.ask("POST", "/add/file", body, content_type="multipart/form-data; boundary=x")


def ask(browser, path, **data):
    return browser.ask("POST", path, json.dumps(data), content_type="application/json")


def test_a_file_is_checked_before_anything_is_written(local_web, browser):
    before = local_web.changes()
    page = upload(browser, CONTENT, action="check")
    assert page.status == 200
    assert "+ type sdm120" in page.text
    assert "+ meter 78 (Büro) at 10.1.0.1:502 unit 1, type sdm120" in page.text
    assert "+ meter 77 at 10.1.0.1:502 unit 2, type sdm630" in page.text
    assert meters(local_web) == []
    assert local_web.changes() == before


def test_a_file_is_written_with_a_line_in_the_log_for_each_type_and_meter(local_web, browser):
    before = len(local_web.changes())
    assert upload(browser, CONTENT).status == 303
    assert meters(local_web) == [(77, 2, "sdm630", False), (78, 1, "sdm120", True)]
    logged = [(change["action"], change["subject"]) for change in local_web.changes()[before:]]
    assert logged == [("install", "type sdm120"), ("add", "meter 78"), ("add", "meter 77")]


def test_meters_that_are_there_change_only_if_the_person_wants_it(local_web, browser):
    upload(browser, CONTENT)
    changed = CONTENT.replace("Büro", "Halle")
    refused = upload(browser, changed)
    assert refused.status == 422
    assert "to change it, choose to change meters that are there, too" in refused.text
    assert "description &#39;Büro&#39; → &#39;Halle&#39;" in refused.text
    before = len(local_web.changes())
    assert upload(browser, changed, update="on").status == 303
    (change,) = local_web.changes()[before:]
    assert (change["subject"], change["before"], change["after"]) == (
        "meter 78",
        '{"description": "Büro"}',
        '{"description": "Halle"}',
    )


def test_a_yaml_file_is_read(local_web, browser):
    assert upload(browser, "- {host: 10.1.0.1, unit: 3, type: sdm630}\n", format="yaml").status == 303
    assert meters(local_web) == [(1, 3, "sdm630", True)]
    assert upload(browser, "- {host: 10.1.0.1, unit: [3]}\n", format="yaml").status == 422


def test_a_program_exports_and_imports_meters(local_web, browser):
    assert ask(browser, "/api/meters/import", content=CONTENT, dry_run=True).json["written"] is False
    assert meters(local_web) == []
    reply = ask(browser, "/api/meters/import", content=CONTENT)
    assert (reply.status, reply.json["added"], reply.json["types"]) == (200, 2, ["sdm120"])
    exported = browser.get("/api/meters.csv")
    assert exported.headers["content-type"].startswith("text/csv")
    again = ask(browser, "/api/meters/import", content=exported.text)
    assert (again.json["unchanged"], again.json["added"]) == (2, 0)
    moved = exported.text.replace("Büro", "Halle")
    refused = ask(browser, "/api/meters/import", content=moved)
    assert refused.status == 400
    assert "send update: true" in refused.json["error"]
    assert ask(browser, "/api/meters/import", content=moved, update=True).json["changed"] == 1


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"content": 5},
        {"content": "", "colour": 1},
        {"content": "", "format": "xml"},
        {"content": "", "update": "yes"},
    ],
)
@pytest.mark.parametrize("path", ["/api/meters/import", "/api/registers/import"])
def test_a_wrong_request_of_a_program_is_named(browser, path, data):
    reply = ask(browser, path, **data)
    assert (reply.status, bool(reply.json["error"])) == (400, True)


def test_a_program_imports_registers(local_web, browser):
    header = "type,register_address,measurement_name,data_unit,data_type,function_code,word_order,byte_order\n"
    rows = f"{header}my_type,0,voltage,V,3,4,2,2\nmy_type,2,current,A,3,4,2,2\n"
    assert ask(browser, "/api/registers/import", content=rows, dry_run=True).json["written"] is False
    assert ask(browser, "/api/registers/import", content=rows).json["added"] == 2
    fewer = f"{header}my_type,0,voltage,V,3,4,2,2\n"
    assert ask(browser, "/api/registers/import", content=fewer, replace=True).json["removed"] == 1
    wrong = ask(browser, "/api/registers/import", content=f"{header}my_type,0,voltage,V,99,4,2,2\n")
    assert wrong.status == 400
    assert "line 2" in wrong.json["error"]

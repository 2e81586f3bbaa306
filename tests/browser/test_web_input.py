"""Wrong input in the page's forms, in a real browser: each error is beside its field, which gets the focus."""

import re
from collections.abc import Mapping

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("no_messages")]

NEAR = 16
"""Maximum distance between a field and its error in CSS pixels."""
GOOD = {"Host": "192.168.1.113", "Port": "502", "Unit id": "1", "Type": "sdm630", "Factor": "1"}


@pytest.fixture
def url(local_web) -> str:
    local_web.sql("DELETE FROM energy_meters")
    return str(local_web.url)


def expect_error(page: Page, field: Locator, error: str) -> None:
    """Expect an error that belongs to the field for a screen reader, and is directly below it for the eye."""
    expect(field).to_have_attribute("aria-invalid", "true")
    first_id = str(field.get_attribute("aria-describedby")).split()[0]
    shown = page.locator(f"#{first_id}")
    expect(shown).to_contain_text(error)
    above, below = field.bounding_box(), shown.bounding_box()
    assert above
    assert below
    assert 0 <= below["y"] - (above["y"] + above["height"]) <= NEAR


def fill_in(page: Page, values: Mapping[str, str]) -> None:
    for label, value in values.items():
        field = page.get_by_label(label, exact=label != "Transport")
        if label == "Transport":
            field.select_option(value)
        else:
            field.fill(value)


def expect_no_meters(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_text("There are no meters yet.")).to_be_visible()


@pytest.mark.parametrize(
    ("label", "value", "error"),
    [
        ("Gateway, name or address", "a b", "without white space"),
        ("Gateway, name or address", "http://192.168.1.113/", "without http://"),
        ("Gateway, name or address", "192.168.1.300", "not an IPv4 address"),
        ("Port", "0", "1 to 65535"),
        ("Port", "99999", "1 to 65535"),
        ("Port", "abc", "1 to 65535"),
        ("Units", "1-300", "0 to 255"),
        ("Units", "", "0 to 255"),
        ("Units", "one", "0 to 255"),
        ("Transport", "serial", "a path is a serial line"),
    ],
)
def test_a_scan_with_a_wrong_field_does_not_start(page: Page, url, label, value, error):
    page.goto(f"{url}/add")
    fill_in(page, {"Gateway, name or address": "192.168.1.113", label: value})
    page.get_by_role("button", name="Scan").click()
    field = page.get_by_label(label, exact=label != "Transport")
    expect_error(page, field, error)
    expect(field).to_be_focused()
    expect(field).to_have_value(value)


@pytest.mark.parametrize(
    ("label", "value", "error"),
    [
        ("Name", "C:\\", "a backslash at its end"),
        ("Host", "", "enter a name or an address"),
        ("Host", "two words", "without white space"),
        ("Host", "http://10.0.0.1", "without http://"),
        ("Port", "", "enter a whole number"),
        ("Port", "502a", "not a whole number"),
        ("Port", "70000", "1 to 65535"),
        ("Unit id", "-1", "0 to 255"),
        ("Unit id", "256", "0 to 255"),
        ("Unit id", "1.5", "not a whole number"),
        ("Type", "", "choose a type"),
        ("Type", "smd630", "did you mean 'sdm630'"),
        ("Serial settings", "9600 8N1", "only a serial line"),
        ("Factor", "0", "other than 0"),
        ("Factor", "twice", "not a number"),
        ("Factor", "1e999", "a finite number"),
    ],
)
def test_a_meter_with_a_wrong_field_is_not_saved(page: Page, url, label, value, error):
    page.goto(f"{url}/add/meter")
    fill_in(page, {**GOOD, label: value})
    page.get_by_role("button", name="Save").click()
    expect_error(page, page.get_by_label(label, exact=True), error)
    expect(page.get_by_text("Please correct 1 field.")).to_be_visible()
    expect_no_meters(page, url)


@pytest.mark.parametrize(
    ("values", "label", "error"),
    [
        ({"Transport": "serial"}, "Host", "the path of a device"),
        ({"Host": "/dev/ttyUSB0", "Serial settings": "fast"}, "Serial settings", "9600 8N1"),
    ],
)
def test_a_serial_line_needs_a_path_and_its_settings(page: Page, url, values, label, error):
    page.goto(f"{url}/add/meter")
    fill_in(page, {**GOOD, **values})
    page.get_by_role("button", name="Save").click()
    expect_error(page, page.get_by_label(label, exact=True), error)
    expect_no_meters(page, url)


def test_all_wrong_fields_are_shown_at_once_and_the_first_has_the_focus(page: Page, url):
    page.goto(f"{url}/add/meter")
    fill_in(page, {**GOOD, "Host": "", "Port": "99999", "Unit id": "abc", "Factor": "0"})
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Please correct 4 fields.")).to_be_visible()
    for label in ("Host", "Port", "Unit id", "Factor"):
        expect(page.get_by_label(label, exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Host", exact=True)).to_be_focused()


def test_a_port_that_was_pasted_with_the_address_gets_into_its_field(page: Page, url):
    page.goto(f"{url}/add/meter")
    fill_in(page, {**GOOD, "Host": "192.168.1.113:1502", "Factor": "0"})
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Host", exact=True)).to_have_value("192.168.1.113")
    expect(page.get_by_label("Port", exact=True)).to_have_value("1502")


def test_a_unit_that_is_a_meter_already_is_saved_only_if_the_person_insists(page: Page, url, local_web):
    local_web.add_meter(1, "main")
    page.goto(f"{url}/add/meter")
    fill_in(page, {**GOOD, "Host": "127.0.0.1"})
    page.get_by_role("button", name="Save").click()
    expect_error(page, page.get_by_label("Unit id"), "already meter 1")
    page.get_by_label("Save it even if another meter is the same unit").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="meter 2", level=1)).to_be_visible()


HEADER = "host,unit,type\n"
FILES = {
    "an empty file": (b"", "required columns"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\xff", "UTF-8"),
    "another table": (b"name,price\nbread,3\n", "the header lacks host"),
    "a header alone": (HEADER.encode(), "no meters"),
    "a cell too many": (f"{HEADER}10.0.0.1,1,sdm630,x\n".encode(), "line 2"),
    "a wrong unit id": (f"{HEADER}10.0.0.1,1,sdm630\n10.0.0.1,999,sdm630\n".encode(), "line 3"),
    "a wrong host": (f"{HEADER}two words,1,sdm630\n".encode(), "line 2"),
    "an unknown type": (f"{HEADER}10.0.0.1,1,nothing\n".encode(), "line 2"),
    "a unit twice": (f"{HEADER}10.0.0.1,1,sdm630\n10.0.0.1,1,sdm630\n".encode(), "line 3"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_an_error_is_refused_beside_its_field_and_nothing_is_written(page: Page, url, name):
    content, error = FILES[name]
    page.goto(f"{url}/add/file")
    field = page.get_by_label("File", exact=True)
    field.set_input_files([{"name": "meters.csv", "mimeType": "text/csv", "buffer": content}])
    page.get_by_role("button", name="Upload").click()
    expect_error(page, page.get_by_label("File", exact=True), error)
    expect_no_meters(page, url)


def test_the_browser_asks_for_what_is_missing_before_it_sends_the_form(page: Page, url):
    for path, button in (("/add", "Scan"), ("/add/file", "Upload")):
        page.goto(url + path)
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.locator(":invalid:focus")).to_have_count(1)
        expect(page).to_have_url(re.compile(f"{path}$"))

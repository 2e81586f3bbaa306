"""The fields of forms as a person types them: addresses with a port, and what is wrong with each field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.web.meter_forms import MeterForm
from emm_pipeline.web.scan_forms import ScanForm, host_issue, split_port

HOSTS = st.from_regex(r"[a-z0-9.-]{1,40}", fullmatch=True) | st.ip_addresses(v=4).map(str)
PORTS = st.integers(1, 65535)


@given(HOSTS, PORTS)
def test_a_port_that_is_typed_behind_the_address_is_the_port(host, port):
    assert split_port(f"{host}:{port}") == (host, str(port))
    assert split_port(host) == (host, None)


@given(st.ip_addresses(v=6).map(str), PORTS)
def test_an_ipv6_address_is_not_taken_for_a_port(address, port):
    assert split_port(address) == (address, None)
    assert split_port(f"[{address}]") == (address, None)
    assert split_port(f"[{address}]:{port}") == (address, str(port))
    assert host_issue(address) is None


@given(st.ip_addresses(v=4).map(str), PORTS, st.text(max_size=20))
def test_a_scan_starts_only_if_every_field_is_right(host, port, other):
    gateway, units = ScanForm.of_fields({"host": f"{host}:{port}", "units": "1-3"}).parse()
    assert (gateway.host, gateway.port, units) == (host, port, (1, 2, 3))
    for name in ("host", "port", "units", "transport"):
        form = ScanForm.of_fields({"host": host, name: other})
        assert (form.parse() is None) == bool(form.issues)


@pytest.mark.parametrize(
    "text", ["", "two words", "http://10.0.0.1", "10.0.0.1/x", "10.0.0", "10.0.0.256", "10.0.0.1:a"]
)
def test_what_cannot_be_an_address_is_reported(text):
    assert host_issue(text)


@given(st.dictionaries(st.sampled_from(sorted(MeterForm.empty().values)), st.text(max_size=30)))
def test_any_text_in_the_form_of_a_meter_gives_a_row_or_issues_of_its_fields(fields):
    form = MeterForm.of_fields(MeterForm.empty().values | fields)
    row = form.row()
    assert set(form.issues) <= set(form.values)
    if not form.issues:
        assert isinstance(row["port"], int)
        assert row["host"]


def test_another_port_behind_the_address_than_in_its_field_is_reported():
    form = MeterForm.of_fields(MeterForm.empty().values | {"host": "10.0.0.1:1502", "port": "1503", "type": "sdm630"})
    form.row()
    assert "enter the port in the field Port" in form.issues["host"]

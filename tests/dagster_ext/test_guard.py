"""The guard of Dagster's webserver: requests of foreign web pages and strangers do not reach Dagster."""

import pytest
from support.guard_client import Client, Dagster, basic

from emm_pipeline.dagster_ext.guard import Guard
from emm_pipeline.dagster_ext.login import Login

LOGIN = ("anna", "pass:wörd")
STOP = b"query=mutation{stopRunningSchedule(id:1){__typename}}"


@pytest.fixture
def local() -> Client:
    """A guard without login, which only this machine can reach."""
    dagster = Dagster()
    return Client(Guard(dagster, set(), any_address=False, login=None), dagster)


@pytest.fixture
def guarded() -> Client:
    """A guard with a login, which other machines can reach."""
    dagster = Dagster()
    return Client(Guard(dagster, {"emm.example.org"}, any_address=True, login=Login(lambda: LOGIN)), dagster)


def test_requests_of_dagsters_own_pages_reach_dagster(local):
    assert local.ask()[0] == 200
    same = "http://127.0.0.1:3001"
    json = {"content_type": "application/json", "origin": same, "sec_fetch_site": "same-origin"}
    assert local.ask("POST", "/graphql", **json)[0] == 200
    assert local.connect(origin=same) == ["websocket.accept"]
    assert local.ask("POST", "/graphql", content_type="application/json")[0] == 200, "a program, which has no origin"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "//graphql"])
def test_a_mutation_in_an_address_is_refused(local, method, path):
    status, _, body = local.ask(method, path, STOP)
    assert status == 403
    assert "POST" in body
    assert local.dagster.reached == []


@pytest.mark.parametrize("path", ["/graphql\n", "/graphql\r", "/report_asset_observation/meter_readings\n"])
def test_a_path_with_a_control_character_which_dagster_would_take_for_another_is_refused(local, path):
    assert local.ask("GET", path, STOP)[0] == 403
    assert local.dagster.reached == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/graphql", "application/x-www-form-urlencoded", ""])
def test_graphql_that_a_foreign_form_could_send_is_refused(local, content_type):
    assert local.ask("POST", "/graphql", content_type=content_type)[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:8000", "https://127.0.0.1", "http://localhost:3001"]
)
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_materialization/meter_readings", "/anything"])
def test_a_page_of_another_origin_reaches_nothing(local, origin, path):
    assert local.ask("POST", path, origin=origin, content_type="application/json")[0] == 403
    assert local.ask("GET", path, origin=origin)[0] == 403
    assert local.connect(origin=origin) == ["websocket.close"]
    assert local.dagster.reached == []


def test_a_foreign_page_is_also_recognized_by_sec_fetch_site(local):
    for site in ("cross-site", "same-site"):
        assert local.ask("POST", "/report_asset_observation/meter_readings", sec_fetch_site=site)[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3001", "192.168.1.5:3001", "", "localhost.evil.example", "[::1"]
)
def test_a_foreign_host_name_is_refused(local, host):
    status, _, body = local.ask(host=host)
    assert status == 403
    assert "EMM_HOSTS" in body
    assert local.connect(host) == ["websocket.close"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3001", "127.0.0.1", "[::1]:3001", "127.0.0.5:99"])
def test_this_machines_own_names_are_accepted(local, host):
    assert local.ask(host=host)[0] == 200


def test_other_machines_can_use_this_machines_addresses_and_the_named_hosts(guarded):
    for host in ("192.168.1.5:3001", "emm.example.org", "EMM.example.org:3001"):
        assert guarded.ask(host=host, **basic(*LOGIN))[0] == 200
    assert guarded.ask(host="evil.example", **basic(*LOGIN))[0] == 403
    assert guarded.ask(host="emm.example.org", origin="https://emm.example.org", **basic(*LOGIN))[0] == 200


def test_no_page_elsewhere_may_frame_or_read_a_reply(local):
    _, reply, _ = local.ask()
    assert reply["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in reply["content-security-policy"]
    assert "access-control-allow-origin" not in reply


def test_only_the_health_check_needs_no_login(guarded):
    assert guarded.ask(path="/healthz")[::2] == (200, "ok\n")
    assert guarded.dagster.reached == ["GET /server_info"]
    assert guarded.ask(path="/server_info")[0] == 401

"""The login before Dagster's pages: which clients it accepts, and which clients failed logins lock out."""

import base64

import pytest
from support.guard_client import Client, Dagster, basic

from emm_pipeline.dagster_ext.guard import Guard
from emm_pipeline.dagster_ext.login import Login
from emm_pipeline.http_access.failed_logins import ALLOWED, WITHIN_S, FailedLogins
from emm_pipeline.settings import current_settings

LOGIN = ("anna", "pass:wörd")
PROXY = "127.0.0.7"


def client_with(login: Login) -> Client:
    dagster = Dagster()
    return Client(Guard(dagster, {"emm.example.org"}, any_address=True, login=login), dagster)


@pytest.fixture
def guarded() -> Client:
    return client_with(Login(lambda: LOGIN))


@pytest.fixture
def webserver(monkeypatch) -> Client:
    """As `emm webserver` makes it from the settings, behind a proxy."""
    # Importing Dagster's webserver takes a second, in each process that collects tests.
    from emm_pipeline.dagster_ext.webserver import guard

    monkeypatch.setenv("DAGSTER_LOGIN_USER", LOGIN[0])
    monkeypatch.setenv("DAGSTER_LOGIN_PASSWORD", LOGIN[1])
    monkeypatch.setenv("EMM_TRUSTED_PROXIES", f" no.such.name.invalid, {PROXY}")
    current_settings.cache_clear()
    dagster = Dagster()
    return Client(guard(dagster, current_settings(), needs_login=True), dagster)


def log_in(server: Client, **more: str) -> tuple[int, str]:
    """Log in as a browser does; return the status and the cookie that it sends from now on."""
    status, reply, _ = server.ask(**basic(*LOGIN), **more)
    return status, reply.get("set-cookie", "").partition(";")[0]


def guess(server: Client, times: int = ALLOWED, user: str = LOGIN[0], **more: str) -> list[int]:
    return [server.ask(**basic(user, "gu3ss"), **more)[0] for _ in range(times)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("anna", "wrong"),
        basic("bert", "pass:wörd"),
        basic("anna", ""),
        {"authorization": "Basic !"},
        {"authorization": "Bearer x"},
        {"authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
    ],
)
def test_without_the_login_no_page_is_shown(guarded, headers):
    status, reply, body = guarded.ask(**headers)
    assert status == 401
    assert reply["www-authenticate"].startswith("Basic")
    assert "secret" not in body
    assert guarded.connect(**headers) == ["websocket.close"]
    assert guarded.dagster.reached == []


def test_an_empty_password_is_not_accepted():
    assert client_with(Login(lambda: ("admin", ""))).ask(**basic("admin", ""))[0] == 401


def test_a_changed_password_applies_to_the_next_request():
    login = ["old"]
    client = client_with(Login(lambda: ("admin", login[0])))
    assert client.ask(**basic("admin", "old"))[0] == 200
    login[0] = "new"
    assert client.ask(**basic("admin", "old"))[0] == 401
    assert client.ask(**basic("admin", "new"))[0] == 200


def test_failed_logins_are_logged_without_the_password_and_limited_for_that_address_only(guarded, caplog):
    assert guess(guarded, user="anna\n") == [401] * ALLOWED
    assert len(caplog.messages) == ALLOWED
    assert "10.0.0.9" in caplog.messages[0]
    assert "\n" not in caplog.messages[0]
    assert "gu3ss" not in caplog.text
    guess(guarded)
    status, reply, _ = guarded.ask(**basic(*LOGIN))
    assert status == 429
    assert 0 < int(reply["retry-after"]) <= WITHIN_S + 1
    assert guarded.ask(client="10.0.0.10", **basic(*LOGIN))[0] == 200


def test_a_browser_that_has_logged_in_before_is_not_locked_out_by_others_behind_its_address(guarded):
    _, cookie = log_in(guarded)
    assert guess(guarded, ALLOWED + 1)[-1] == 429
    assert log_in(guarded)[0] == 429, "a browser that is not known has to wait"
    assert log_in(guarded, cookie=f"theme=dark; {cookie}")[0] == 200
    assert guarded.connect(cookie=cookie, **basic(*LOGIN)) == ["websocket.accept"]


def test_the_cookie_opens_nothing_and_allows_no_more_guesses_than_an_address_has(guarded):
    _, cookie = log_in(guarded)
    assert guarded.ask(cookie=cookie)[0] == 401
    assert guess(guarded, ALLOWED + 1, cookie=cookie) == [401] * ALLOWED + [429]
    assert log_in(guarded, cookie=cookie)[0] == 429
    assert log_in(guarded)[0] == 200, "its guesses lock out no other client"


@pytest.mark.parametrize("forged", ["emm_browser=x.y", "emm_browser=", "emm_browser=.", "emm_browser=ä.ö"])
def test_a_cookie_that_this_server_has_not_made_counts_as_none(guarded, forged):
    guess(guarded, cookie=forged)
    assert log_in(guarded, cookie=forged)[0] == 429


def test_the_cookie_of_an_earlier_password_counts_as_none():
    login = ["old"]
    client = client_with(Login(lambda: ("anna", login[0])))
    reply = client.ask(**basic("anna", "old"))[1]
    login[0] = LOGIN[1]
    cookie = reply["set-cookie"].partition(";")[0]
    guess(client, cookie=cookie)
    assert log_in(client)[0] == 429


def test_scripts_and_other_pages_do_not_get_the_cookie(guarded):
    reply = guarded.ask(**basic(*LOGIN))[1]
    assert "HttpOnly" in reply["set-cookie"]
    assert "SameSite=Strict" in reply["set-cookie"]


def test_logins_that_succeed_do_not_clear_the_guesses_of_others_behind_the_address(guarded):
    for _ in range(ALLOWED):
        assert guess(guarded, 1) == [401]
        status, _ = log_in(guarded)
    assert status == 429


def test_guesses_at_names_that_do_not_exist_lock_out_no_account(guarded):
    for number in range(ALLOWED + 1):
        (status,) = guess(guarded, 1, user=f"user{number}")
    assert status == 429
    assert log_in(guarded)[0] == 200


def test_behind_the_proxy_each_client_is_counted_by_its_own_address(webserver):
    assert guess(webserver, ALLOWED + 1, client=PROXY, x_forwarded_for="203.0.113.5")[-1] == 429
    assert log_in(webserver, client=PROXY, x_forwarded_for="203.0.113.5")[0] == 429
    assert log_in(webserver, client=PROXY, x_forwarded_for="203.0.113.6")[0] == 200


def test_addresses_that_a_client_claims_before_the_proxys_entry_are_ignored(webserver):
    for number in range(ALLOWED):
        guess(webserver, 1, client=PROXY, x_forwarded_for=f"198.51.100.{number}, 203.0.113.5")
    assert log_in(webserver, client=PROXY, x_forwarded_for="203.0.113.5")[0] == 429


@pytest.mark.parametrize("sender", ["10.0.0.9", "127.0.0.1"])
def test_only_a_trusted_proxy_may_name_the_sender_of_a_request(webserver, sender):
    for number in range(ALLOWED):
        guess(webserver, 1, client=sender, x_forwarded_for=f"198.51.100.{number}")
    assert log_in(webserver, client=sender, x_forwarded_for="198.51.100.77")[0] == 429


def test_a_proxy_that_names_no_address_counts_as_the_client(webserver, caplog):
    guess(webserver, client=PROXY, x_forwarded_for="<script>")
    assert "script" not in caplog.text
    assert log_in(webserver, client=PROXY)[0] == 429


def test_the_limit_ends_by_itself():
    now = [0.0]
    failed = FailedLogins(lambda: now[0])
    for _ in range(ALLOWED):
        assert failed.wait_s("10.0.0.9") == 0
        failed.add("10.0.0.9")
    assert failed.wait_s("10.0.0.9") > 0
    now[0] += WITHIN_S + 1
    assert failed.wait_s("10.0.0.9") == 0
    assert failed.add("10.0.0.9") == 1


def test_addresses_of_one_ipv6_network_are_one_client(guarded):
    for number in range(ALLOWED):
        guess(guarded, 1, client=f"2001:db8::{number:x}")
    assert log_in(guarded, client="2001:db8::ffff")[0] == 429
    assert log_in(guarded, client="2001:db8:0:1::1")[0] == 200

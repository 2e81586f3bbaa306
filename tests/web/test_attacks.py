"""Attacks on the page: each test is one that must not succeed."""

import re
import socket

import pytest
from support.web import PASSWORD, Browser, WebServer

from emm_pipeline.http_access.failed_logins import ALLOWED
from emm_pipeline.web.app import FOR_PROGRAMS, PAGES
from emm_pipeline.web.security.access import MAX_BODY

SCRIPT = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
CHANGES = [
    (route.path.replace("{id}", "1").replace("{name}", "sdm630"), method)
    for route in (*PAGES, *FOR_PROGRAMS)
    for method in sorted(route.methods - {"GET", "HEAD"})
    if route.path != "/login"
]
"""Every request that may change something."""


@pytest.fixture(autouse=True)
def meter(web: WebServer):
    """A meter that an attack may try to change."""
    web.sql("DELETE FROM energy_meters")
    web.add_meter(1, "bakery")


def state_of(web: WebServer) -> list:
    with web.engine.connect() as connection:
        tables = ("energy_meters", "registers", "tariffs", "web_accounts", "web_tokens", "web_changes")
        return [connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in tables]


def test_every_change_is_known_here():
    assert len(CHANGES) > 15


@pytest.mark.parametrize(("path", "method"), CHANGES)
def test_a_change_without_the_csrf_token_is_refused(web, path, method):
    browser, before = web.logged_in(), state_of(web)
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert browser.ask(method, path, "name=x&host=10.0.0.1", **form).status == 403
    assert browser.ask(method, path, "csrf=wrong", **form).status == 403
    assert browser.ask(method, path, '{"host": "10.0.0.1"}', content_type="application/json").status == 403
    assert browser.ask(method, path, "", x_csrf_token="").status == 403
    assert state_of(web) == before


@pytest.mark.parametrize(("path", "method"), CHANGES)
def test_a_change_without_a_login_is_refused(web, path, method):
    before = state_of(web)
    assert web.browser().ask(method, path, "{}", content_type="application/json").status == 401
    assert state_of(web) == before


def test_the_csrf_token_of_another_session_is_refused(web):
    other, browser = web.logged_in(), web.logged_in()
    assert browser.post("/meters/1/disable", {"csrf": other.csrf()}).status == 403
    assert browser.post("/meters/1/disable", {"csrf": browser.csrf()}).status == 303


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_page_of_another_origin_changes_nothing_even_with_the_token(web, headers):
    browser = web.logged_in()
    fields = f"csrf={browser.csrf()}"
    reply = browser.ask(
        "POST", "/meters/1/disable", fields, content_type="application/x-www-form-urlencoded", **headers
    )
    assert reply.status == 403
    assert web.browser().ask("POST", "/login", f"name=admin&password={PASSWORD}", **headers).status == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3002", "localhost.evil.example", ""])
def test_a_foreign_host_name_that_resolves_to_this_machine_is_refused(web, local_web, host):
    for server in (web, local_web):
        for path in ("/", "/api/latest", "/metrics", "/static/page.js", "/login", "/healthz"):
            assert server.browser(host or " ").get(path).status in {400, 403}


def test_no_page_may_frame_this_one_and_no_script_of_a_page_is_executed(web):
    browser = web.logged_in()
    for path in ("/", "/meters/1", "/add", "/programs", "/api/meters", "/no-such-page", "/static/page.js", "/login"):
        reply = browser.get(path)
        policy = reply.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in reply.headers


def test_pages_contain_no_inline_script_no_inline_style_and_nothing_from_elsewhere(web):
    browser = web.logged_in()
    for path in ("/", "/meters/1", "/add", "/add/meter", "/catalogue", "/pipeline", "/programs", "/changes"):
        page = browser.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", page), path
        assert not re.search(r"\son\w+=|\sstyle=|<style", page), path
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page), path


@pytest.mark.parametrize("place", ["description", "host", "type"])
def test_a_script_in_a_name_is_shown_as_text(web, place):
    web.sql(f"UPDATE energy_meters SET {place} = :script", script=SCRIPT)
    browser = web.logged_in()
    for path in ("/", "/meters", "/meters/1", "/meters/1/remove", "/meters/1/edit", "/pipeline"):
        page = browser.get(path).text
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path


def test_a_script_in_an_address_or_a_form_is_shown_as_text(web):
    browser = web.logged_in()
    for path in (
        "/?q={}",
        "/?gateway={}",
        "/catalogue?q={}",
        "/add/meter?host={}",
        "/login?next=/{}",
        "/changes?before={}",
    ):
        page = browser.get(path.format("%22%3E%3Cscript%3Ealert(1)%3C/script%3E")).text
        assert "<script>alert" not in page, path
    fields = {
        "host": SCRIPT,
        "port": SCRIPT,
        "slave_address": "1",
        "type": SCRIPT,
        "description": SCRIPT,
        "action": "save",
    }
    assert "<script>alert" not in browser.submit("/add/meter", fields).text
    assert "<script>alert" not in browser.submit("/scans", {"host": SCRIPT, "units": SCRIPT}).text


@pytest.mark.parametrize(
    "path",
    [
        "/static/../site.py",
        "/static/..%2fsite.py",
        "/static/%2e%2e/%2e%2e/settings.py",
        "/static//etc/passwd",
        "/static/vendor/../../site.py",
        "/static/..%5csite.py",
        "/catalogue/..%2f..%2fsettings",
        "/catalogue/%2e%2e%2fsdm630.csv",
    ],
)
def test_no_file_outside_of_the_static_folder_is_served(web, path):
    reply = web.logged_in().get(path)
    assert reply.status == 404
    assert b"import" not in reply.body


def test_guessing_is_limited_and_other_browsers_can_log_in_meanwhile(postgres, migrated_template, tmp_path):
    from support.web import web_server

    with web_server(postgres, migrated_template, tmp_path, needs_login=True) as web:
        known = web.logged_in()
        guesser = web.browser()
        statuses = [guesser.log_in(f"guess {number}").status for number in range(ALLOWED + 2)]
        assert statuses == [401] * ALLOWED + [429] * 2
        assert guesser.log_in().status == 429, "the right password is refused as well"
        known.cookies.pop("emm_session")
        assert known.log_in().status == 303, "this browser has logged in before"


def test_the_reply_does_not_reveal_whether_an_account_exists(web):
    texts = {web.browser().log_in("wrong password", name).text.replace(name, "") for name in ("admin", "unknown_name")}
    assert len(texts) == 1


def test_a_session_id_that_the_attacker_chose_is_not_used(web):
    browser = web.browser()
    browser.cookies["emm_session"] = "chosen"
    browser.log_in()
    assert browser.cookies["emm_session"] != "chosen"
    assert web.browser().get("/", cookie="emm_session=chosen").status == 303


def test_the_cookie_of_a_session_is_protected(web):
    cookie = next(each for each in web.browser().log_in().cookies if each.startswith("emm_session="))
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_after_logging_out_the_cookie_is_of_no_use(web):
    browser = web.logged_in()
    kept = dict(browser.cookies)
    assert browser.submit("/logout").status == 303
    browser.cookies = kept
    assert browser.get("/").status == 303


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)"])
def test_the_login_leads_to_no_other_server(web, target):
    reply = web.browser().post("/login", {"name": "admin", "password": PASSWORD, "next": target})
    assert (reply.status, reply.headers["location"]) == (303, "/")


def test_no_page_and_no_error_shows_a_credential(web):
    browser = web.logged_in()
    token = re.search(r"emm_[\w-]{40,}", browser.submit("/programs", {"name": "prometheus"}).text)[0]
    for path in ("/programs", "/changes", "/pipeline", "/", "/api/openapi.json", "/api/status", "/metrics"):
        page = browser.get(path).text
        assert PASSWORD not in page
        assert token not in page, path
        assert "argon2" not in page
    assert PASSWORD not in browser.log_in("wrong").text
    with web.engine.connect() as connection:
        rows = str(
            [
                row
                for name in ("web_tokens", "web_changes")
                for row in connection.exec_driver_sql(f"SELECT * FROM {name}")
            ]
        )
    assert token not in rows, "the database has its digest only"


def test_replies_are_not_kept_by_browsers_and_proxies(web):
    browser = web.logged_in()
    for path in ("/", "/meters/1", "/api/latest", "/programs"):
        assert browser.get(path).headers["cache-control"] == "no-store"


def test_a_token_that_may_read_changes_nothing_and_a_revoked_one_reads_nothing(web):
    browser = web.logged_in()
    token = re.search(r"emm_[\w-]{40,}", browser.submit("/programs", {"name": "reader"}).text)[0]
    program, bearer = web.browser(), {"authorization": f"Bearer {token}"}
    assert program.get("/api/meters", **bearer).status == 200
    before = state_of(web)[0]
    assert program.ask("DELETE", "/api/meters/1", **bearer).status == 403
    assert (
        program.ask("PATCH", "/api/meters/1", '{"enabled": false}', content_type="application/json", **bearer).status
        == 403
    )
    assert state_of(web)[0] == before
    id_ = re.findall(r"/programs/(\d+)/revoke", browser.get("/programs").text)[-1]
    browser.submit(f"/programs/{id_}/revoke")
    assert program.get("/api/meters", **bearer).status == 401


@pytest.mark.parametrize("value", ["Bearer wrong", "Bearer ", "Basic YWRtaW46YWRtaW4=", "Bearer emm_\xff", "x" * 5000])
def test_a_wrong_token_is_refused(web, value):
    assert web.browser().get("/api/meters", authorization=value.encode("latin-1").decode("latin-1")).status == 401


def test_a_program_cannot_create_further_tokens(web):
    browser = web.logged_in()
    made = browser.submit("/programs", {"name": "writer", "may_change": "on"})
    token = re.search(r"emm_[\w-]{40,}", made.text)[0]
    reply = web.browser().ask(
        "POST",
        "/programs",
        "name=another&may_change=on",
        content_type="application/x-www-form-urlencoded",
        authorization=f"Bearer {token}",
    )
    assert reply.status == 403


def test_a_large_request_is_refused_before_it_is_read_as_a_whole(web):
    browser = web.logged_in()
    with socket.create_connection(("127.0.0.1", web.port), 30) as connection:
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        head = f"POST /add/meter HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nContent-Length: 100000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * (MAX_BODY + 100_000))
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("body", ["csrf", "--x", "\0", "a=" + "&a=" * 2000])
def test_a_malformed_form_is_refused_without_an_error_of_the_server(web, body):
    browser = web.logged_in()
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data"):
        assert browser.ask("POST", "/meters/1/disable", body, content_type=kind).status in {400, 403}


def test_a_page_without_a_login_is_possible_on_this_machine_only(local_web):
    from emm_pipeline.errors import ConfigurationError
    from emm_pipeline.web.serving import serve

    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1"):
        serve(local_web.site.settings, "0.0.0.0", 1, needs_login=False)


def test_without_a_login_a_foreign_page_still_changes_nothing(local_web):
    local_web.sql("DELETE FROM energy_meters")
    local_web.add_meter(1, "bakery")
    stranger = Browser(local_web.port)
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert stranger.ask("POST", "/meters/1/disable", "", **form).status == 403, "no session"
    assert stranger.ask("POST", "/meters/1/disable", "csrf=", **form).status == 403
    assert stranger.ask("DELETE", "/api/meters/1", content_type="text/plain").status == 403, "as a form could send it"
    foreign = {"origin": "http://evil.example", "content_type": "application/json"}
    assert stranger.ask("PATCH", "/api/meters/1", '{"enabled": false}', **foreign).status == 403
    browser = Browser(local_web.port)
    assert browser.submit("/meters/1/disable").status == 303
    assert local_web.changes()[-1]["who"] == "this machine"

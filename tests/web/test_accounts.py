"""Accounts of the page: new passwords, by hand and by `emm secrets rotate web`, further accounts, their rights."""

import json
import re

import pytest
from pydantic import SecretStr
from support.command_line import CommandLine
from support.web import PASSWORD, Browser, web_server

NEW = "another password of the page"


@pytest.fixture(scope="module")
def page(postgres, migrated_template, tmp_path_factory):
    """A page of this module, whose accounts change."""
    with web_server(postgres, migrated_template, tmp_path_factory.mktemp("accounts"), needs_login=True) as server:
        yield server


@pytest.fixture(autouse=True)
def meter(page, monkeypatch):
    page.sql("DELETE FROM web_accounts; DELETE FROM energy_meters")
    page.add_meter(1, "bakery")


@pytest.fixture
def emm(page, command_server):
    """The command line with the database of the page."""
    url = page.engine.url
    place = {"POSTGRES_HOST": str(url.query["host"]), "POSTGRES_PORT": "5432", "POSTGRES_USER": "postgres"}
    return CommandLine({**place, "POSTGRES_DB": str(url.database), "EMM_COMMAND": "emm"}, command_server)


def is_in(browser: Browser) -> bool:
    """Whether the browser has a session."""
    return browser.get("/pipeline").status == 200


def change(browser: Browser, old: str = PASSWORD, new: str = NEW, again: str | None = None):
    return browser.submit("/password", {"old": old, "new": new, "again": new if again is None else again})


def test_a_new_password_ends_every_session_of_the_account_and_the_old_one_is_refused(page):
    browser, other = page.logged_in(), page.logged_in()
    assert change(browser).headers["location"] == "/login"
    assert not is_in(browser)
    assert not is_in(other)
    assert page.browser().log_in().status == 401
    assert page.browser().log_in(NEW).status == 303
    last = page.changes()[-1]
    assert (last["who"], last["action"], last["before"], last["after"]) == ("admin", "change password", None, None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"old": "wrong"}, "the present password is wrong"),
        ({"again": "something else again"}, "the new passwords differ"),
        ({"new": "short"}, "a password has 12 to 256 characters"),
        ({"new": "x" * 257}, "a password has 12 to 256 characters"),
    ],
)
def test_a_password_that_is_not_changed_keeps_the_session(page, fields, reason):
    browser = page.logged_in()
    reply = change(browser, **fields)
    assert reply.status == 400
    assert reason in reply.text
    assert is_in(browser)
    assert page.logged_in()


def test_a_rotation_replaces_the_password_of_the_settings_and_the_one_set_on_the_page(
    page, emm_alone, tmp_path, monkeypatch
):
    """The page reads the password from the file that `emm secrets rotate web` writes, as in the stack."""
    folder = tmp_path / "access"
    (folder / "secrets").mkdir(parents=True)
    file, settings = folder / "web" / "WEB_LOGIN_PASSWORD", page.site.settings()

    def secrets(*arguments: str) -> str:
        done = emm_alone("secrets", *arguments, "--folder", str(folder))
        assert done.returncode == 0, done.stderr
        return file.read_text()

    first = secrets("create")
    monkeypatch.setattr(
        page.site,
        "settings",
        lambda: settings.model_copy(update={"web_login_password": SecretStr(file.read_text())}),
    )
    browser = page.browser()
    assert browser.log_in(first).status == 303
    second = secrets("rotate", "web")
    assert second != first
    assert not is_in(browser), "the session began with the old password"
    assert page.browser().log_in(first).status == 401
    browser = page.browser()
    assert browser.log_in(second).status == 303
    assert change(browser, old=second).status == 303
    assert page.browser().log_in(NEW).status == 303
    third = secrets("rotate", "web")
    assert page.browser().log_in(NEW).status == 401, "the rotation also replaces the password set on the page"
    assert page.browser().log_in(third).status == 303


def added(emm, *arguments: str) -> str:
    """Create an account; return its password."""
    done = emm("web", "accounts", "add", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["password"]


def test_an_account_that_may_only_read_sees_everything_and_changes_only_its_password(page, emm):
    password = added(emm, "anna", "--read-only")
    anna = page.browser()
    assert anna.log_in(password, "anna").status == 303
    for path in ("/", "/meters/1", "/tariffs", "/catalogue", "/changes", "/programs", "/api/meters", "/metrics"):
        assert anna.get(path).status == 200, path
    for path in ("/", "/meters/1", "/tariffs", "/programs"):
        buttons = re.findall(r"<button[^>]*>([^<]*)", anna.get(path).text)
        assert set(buttons) <= {"Log out", "Show"}, path
        assert 'href="/add"' not in anna.get(path).text
    csrf = re.search(r'name="csrf" value="([^"]+)"', anna.get("/pipeline").text)[1]
    refused = anna.post("/meters/1/disable", {"csrf": csrf})
    assert (refused.status, "anna may read only" in refused.text) == (403, True)
    other = page.browser()
    other.log_in(password, "anna")
    assert anna.post("/password", {"csrf": csrf, "old": password, "new": NEW, "again": NEW}).status == 303
    assert not is_in(other)
    assert page.browser().log_in(password, "anna").status == 401
    assert page.browser().log_in(NEW, "anna").status == 303
    anna.log_in(NEW, "anna")
    csrf = re.search(r'name="csrf" value="([^"]+)"', anna.get("/pipeline").text)[1]
    assert anna.post("/logout", {"csrf": csrf}).status == 303
    assert not is_in(anna)


def test_accounts_do_not_end_the_sessions_of_others(page, emm):
    admin, anna, ben = page.logged_in(), page.browser(), page.browser()
    assert anna.log_in(added(emm, "anna"), "anna").status == 303
    assert ben.log_in(added(emm, "ben"), "ben").status == 303
    assert anna.submit("/meters/1/disable").status == 303
    assert page.changes()[-1]["who"] == "anna"
    shown = json.loads(emm("web", "accounts", "list", "--json").stdout)
    assert shown == [{"name": name, "may_change": True} for name in ("admin", "anna", "ben")]
    new = added(emm, "anna", "--read-only")
    assert not is_in(anna), "she has a new password and other rights"
    assert is_in(ben)
    assert emm("web", "accounts", "remove", "ben").returncode == 0
    assert not is_in(ben)
    assert is_in(admin)
    anna = page.browser()
    assert anna.log_in(new, "anna").status == 303
    assert anna.get("/meters/1").status == 200


def test_removing_the_password_of_the_first_account_makes_that_of_the_settings_valid_again(page, emm):
    browser = page.logged_in()
    change(browser)
    browser = page.browser()
    assert browser.log_in(NEW).status == 303
    assert emm("web", "accounts", "remove", "admin").returncode == 0
    assert not is_in(browser)
    assert page.browser().log_in(PASSWORD).status == 303


@pytest.mark.parametrize("name", ["admin", "this machine", "a b", "", "<b>"])
def test_a_name_that_is_taken_or_invalid_is_refused(page, emm, name):
    done = emm("web", "accounts", "add", name)
    assert done.returncode == 2
    assert name in done.stderr

"""The stack's InfluxDB: it accepts no published credential, rotation revokes old ones, and polling continues.

2.x is simulated by tests/support/influxdb_2.py; 1.x is a real server.
"""

import pytest
from support.frames import points, reading, readings
from support.influxdb import InfluxDB
from support.influxdb_2 import ADMIN, InfluxAPI

from emm_pipeline.access.stack import StackAccess, create_credentials
from emm_pipeline.credentials import EXAMPLES, PUBLISHED
from emm_pipeline.errors import ConfigurationError, StoreAccessError
from emm_pipeline.opening import open_readings_store
from emm_pipeline.settings import Settings, current_settings, load_settings

TOKEN, PASSWORD = "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN", "DOCKER_INFLUXDB_INIT_PASSWORD"


def stack_of(url: str, folder, notes: list[str] | None = None, **variables: str) -> StackAccess:
    (folder / "secrets").mkdir(exist_ok=True, parents=True)
    settings = Settings(
        _env_file=None,
        postgres_host="h",
        postgres_user="emm",
        postgres_db="emm",
        influxdb_url=url,
        influxdb_org="emm",
        influxdb_bucket="emm",
        influxdb_token=variables.get("INFLUXDB_TOKEN", ""),
    )
    stack = StackAccess(
        folder,
        settings,
        {"DOCKER_INFLUXDB_INIT_USERNAME": "emm", **variables},
        [].append if notes is None else notes.append,
        grafana_url="http://127.0.0.1:1",
    )
    create_credentials(stack.folders, stack.vault, print)
    return stack


@pytest.fixture
def published(influxdb_2: InfluxAPI) -> InfluxAPI:
    """A 2.x server that an older version's stack set up with the published credentials."""
    influxdb_2.administrators["id0"]["token"] = PUBLISHED[TOKEN]
    influxdb_2.password = PUBLISHED[PASSWORD]
    return influxdb_2


def pipelines(stack: StackAccess) -> str:
    return stack.folders.read("pipeline", "INFLUXDB_TOKEN")


def test_a_volume_made_with_the_published_credentials_no_longer_accepts_them(published, tmp_path):
    stack = stack_of(published.url, tmp_path, **PUBLISHED)
    stack.apply_influxdb()
    assert not published.tokens() & EXAMPLES
    assert published.password == stack.vault.value(PASSWORD)
    assert published.is_admin(stack.vault.value(TOKEN))
    assert published.may(pipelines(stack), "write")
    assert published.may(stack.folders.read("pipeline", "INFLUXDB_READ_TOKEN"), "read"), "for the energy"
    assert published.may(stack.folders.read("grafana", "influxdb_token"), "read")
    before = published.tokens()
    stack_of(published.url, tmp_path, **PUBLISHED).apply_influxdb()
    assert published.tokens() == before, "the second time everything is kept"


def test_tokens_that_the_older_version_made_are_kept_so_that_polling_continues(published, tmp_path):
    stack = stack_of(published.url, tmp_path, **PUBLISHED)
    stack.apply_influxdb()
    for service, old in (("pipeline", "influxdb_token"), ("grafana", "influxdb_token")):
        name = "INFLUXDB_TOKEN" if service == "pipeline" else old
        text = stack.folders.read(service, name)
        (tmp_path / service / name).unlink()
        stack.folders.write(service, {old: text})
    before = published.tokens()
    stack_of(published.url, tmp_path, **PUBLISHED).apply_influxdb()
    assert published.tokens() == before


def test_a_token_of_the_users_own_is_used_and_nothing_is_made_or_revoked(published, tmp_path):
    stack = stack_of(published.url, tmp_path, **{**PUBLISHED, "INFLUXDB_TOKEN": "mine"})
    before = published.tokens()
    stack.apply_influxdb()
    assert pipelines(stack) == "mine"
    assert published.tokens() == before


def test_credentials_set_after_the_first_start_take_the_place_of_the_published_ones(published, tmp_path):
    stack = stack_of(published.url, tmp_path, **{TOKEN: "new-token", PASSWORD: "new-password", "INFLUXDB_TOKEN": ""})
    stack.apply_influxdb()
    assert published.password == "new-password"
    assert not published.tokens() & EXAMPLES


def test_a_password_that_the_user_has_changed_in_influxdb_is_left_as_it_is(published, tmp_path):
    published.password = "changed in the UI"
    notes: list[str] = []
    stack_of(published.url, tmp_path, notes, **PUBLISHED).apply_influxdb()
    assert published.password == "changed in the UI"
    assert any("does not know" in note for note in notes)


def test_a_server_with_another_administrators_token_says_what_to_set(influxdb_2, tmp_path):
    with pytest.raises(ConfigurationError, match=TOKEN) as caught:
        stack_of(influxdb_2.url, tmp_path, **PUBLISHED).apply_influxdb()
    assert not [example for example in EXAMPLES if example in str(caught.value)]


def test_one_token_that_the_user_set_for_both_names_is_replaced_under_both(published, tmp_path):
    """As `make secrets` writes them, into a stack whose volume has the published token."""
    both = {TOKEN: "made-by-make-secrets", "INFLUXDB_TOKEN": "made-by-make-secrets", PASSWORD: "new-password"}
    for _ in range(2):
        stack = stack_of(published.url, tmp_path, **both)
        stack.apply_influxdb()
        assert published.may(pipelines(stack), "write")
    stack.rotate_influxdb()
    for _ in range(2):
        stack = stack_of(published.url, tmp_path, **both)
        stack.apply_influxdb()
        assert published.may(pipelines(stack), "write")


@pytest.mark.parametrize("tells_tokens", [True, False])
def test_three_rotations_leave_no_older_token_and_the_password_is_another_each_time(published, tmp_path, tells_tokens):
    stack = stack_of(published.url, tmp_path, **PUBLISHED)
    stack.apply_influxdb()
    published.tells_tokens = tells_tokens
    passwords = {published.password}
    for _ in range(3):
        before = published.tokens()
        stack = stack_of(published.url, tmp_path, **PUBLISHED)
        stack.rotate_influxdb()
        assert not published.tokens() & before
        assert len(published.tokens()) == 3
        assert published.may(pipelines(stack), "write")
        assert published.password == stack.vault.value(PASSWORD)
        passwords.add(published.password)
    assert len(passwords) == 4


def test_a_rotation_that_cannot_change_the_password_says_which_part_is_done_and_fails(published, tmp_path):
    stack = stack_of(published.url, tmp_path, **PUBLISHED)
    stack.apply_influxdb()
    before = published.tokens()
    published.password = "changed in the UI"
    with pytest.raises(ConfigurationError, match=f"only a part was rotated.*{PASSWORD}") as caught:
        stack.rotate_influxdb()
    assert published.password == "changed in the UI"
    assert "changed in the UI" not in str(caught.value)
    assert not published.tokens() & before
    assert published.may(pipelines(stack), "write")


def test_an_administrators_token_that_cannot_be_found_to_revoke_it_fails_the_rotation(influxdb_2, tmp_path):
    influxdb_2.tells_tokens = False
    own = {TOKEN: ADMIN, PASSWORD: "mine"}
    influxdb_2.password = "mine"
    stack = stack_of(influxdb_2.url, tmp_path, **own)
    with pytest.raises(ConfigurationError, match="revoke that one in InfluxDB"):
        stack.rotate_influxdb()
    assert influxdb_2.may(pipelines(stack), "write")


def test_a_token_of_the_users_own_that_cannot_be_made_again_is_not_touched(published, tmp_path):
    stack = stack_of(published.url, tmp_path, **{**PUBLISHED, "INFLUXDB_TOKEN": "mine"})
    stack.apply_influxdb()
    with pytest.raises(ConfigurationError, match="INFLUXDB_TOKEN is your own"):
        stack.rotate_influxdb()
    assert pipelines(stack) == "mine"


@pytest.fixture
def polling(tmp_path, monkeypatch):
    """Settings of a process that runs on and finds its credentials in the pipeline's folder."""

    def start(url: str, **variables: str) -> None:
        for name in Settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        place = {"POSTGRES_HOST": "h", "POSTGRES_USER": "emm", "POSTGRES_DB": "emm", "INFLUXDB_URL": url}
        for name, value in {**place, **variables, "EMM_ACCESS_DIR": str(tmp_path / "pipeline")}.items():
            monkeypatch.setenv(name, value)
        current_settings.cache_clear()

    yield start
    current_settings.cache_clear()


def write_as_a_poll_does() -> None:
    with open_readings_store(current_settings()) as store:
        assert store.write(points(readings(reading()))) == []


def test_a_token_that_init_made_again_is_used_by_the_next_poll_without_a_restart(published, tmp_path, polling):
    stack = stack_of(published.url, tmp_path, **PUBLISHED)
    stack.apply_influxdb()
    polling(published.url)
    write_as_a_poll_does()
    published.authorizations.clear()
    with pytest.raises(StoreAccessError, match="401"):
        write_as_a_poll_does()
    stack_of(published.url, tmp_path, **PUBLISHED).apply_influxdb()
    write_as_a_poll_does()
    assert published.written[-1] == pipelines(stack)


def test_a_bucket_that_was_made_again_takes_points_from_the_next_poll_on(published, tmp_path, polling):
    stack_of(published.url, tmp_path, **PUBLISHED).apply_influxdb()
    polling(published.url)
    write_as_a_poll_does()
    published.bucket_id = "0c0c"
    stack_of(published.url, tmp_path, **PUBLISHED).apply_influxdb()
    write_as_a_poll_does()


def test_a_bucket_of_another_name_is_used_too(published, tmp_path, polling):
    stack = stack_of(published.url, tmp_path, **PUBLISHED)
    stack.apply_influxdb()
    polling(published.url, INFLUXDB_BUCKET="emm")
    assert current_settings().influxdb_bucket == "emm"
    stack.folders.write("pipeline", {"INFLUXDB_BUCKET": "house"})
    assert current_settings().influxdb_bucket == "house"


class TestRealVersion1:
    """A real InfluxDB 1.x: `user:password` is the token."""

    @pytest.fixture
    def user(self, influxdb: InfluxDB) -> str:
        """Create an administrator for the test; return its token."""
        token = influxdb.create_user("admin_of_a_test", "old-password")
        influxdb._statement("GRANT ALL PRIVILEGES TO admin_of_a_test")
        yield token
        influxdb._statement("DROP USER admin_of_a_test")

    def test_rotation_changes_the_users_password_and_the_next_poll_uses_it(self, influxdb, user, tmp_path, polling):
        stack = stack_of(influxdb.url, tmp_path, INFLUXDB_TOKEN=user)
        stack.folders.write("pipeline", {"INFLUXDB_TOKEN": user})
        stack.apply_influxdb()
        stack.folders.write("pipeline", {"INFLUXDB_BUCKET": influxdb.bucket})
        polling(influxdb.url, INFLUXDB_TOKEN=user)
        tokens = [user]
        for _ in range(3):
            write_as_a_poll_does()
            again = stack_of(influxdb.url, tmp_path, INFLUXDB_TOKEN=user)
            again.rotate_influxdb()
            again.folders.write("pipeline", {"INFLUXDB_BUCKET": influxdb.bucket})
            tokens.append(pipelines(again))
        write_as_a_poll_does()
        assert len(set(tokens)) == 4
        for old in tokens[:-1]:
            settings = load_settings().model_copy(
                update={"influxdb_token": type(current_settings().influxdb_token)(old)}
            )
            with pytest.raises(StoreAccessError, match="401"), open_readings_store(settings) as store:
                store.write(points(readings(reading())))

    def test_a_rotated_password_stays_in_use_though_config_env_still_has_the_old_one(self, influxdb, user, tmp_path):
        stack = stack_of(influxdb.url, tmp_path, INFLUXDB_TOKEN=user)
        stack.rotate_influxdb()
        rotated = pipelines(stack)
        stack_of(influxdb.url, tmp_path, INFLUXDB_TOKEN=user).apply_influxdb()
        assert pipelines(stack) == rotated != user

"""`emm influxdb setup`: tokens of a simulated InfluxDB 2.x, and a real 1.x without tokens."""

from dataclasses import replace

import pytest
from click.testing import CliRunner
from support.influxdb_2 import ADMIN, BUCKET_ID, InfluxAPI

from emm_pipeline.cli.main import emm
from emm_pipeline.errors import ConfigurationError, StoreError
from emm_pipeline.settings import Settings
from emm_pipeline.stores.influxdb.setup import InfluxSetup, Tokens


@pytest.fixture
def api(influxdb_2: InfluxAPI) -> InfluxAPI:
    return influxdb_2


@pytest.fixture
def setup(api: InfluxAPI) -> InfluxSetup:
    return InfluxSetup(api.url, ADMIN, "emm", "emm")


def test_the_pipelines_token_may_only_write_and_grafanas_only_read(api, setup):
    tokens = setup.ensure_tokens(None)
    assert api.may(tokens.write, "write")
    assert not api.may(tokens.write, "read")
    assert api.may(tokens.read, "read")
    assert not api.may(tokens.read, "write")
    assert ADMIN not in (tokens.write, tokens.read)


def test_the_reason_of_an_error_is_reported_and_the_token_is_not(api, setup):
    refused = 400, {"code": "invalid", "message": f"name has a slash, says {ADMIN}\nand more"}
    api.handle = lambda *_: refused
    with pytest.raises(StoreError, match=r"HTTP 400 to GET /api/v2/orgs: name has a slash, says \*\*\* and more$"):
        setup.ensure_database()


def test_a_password_in_the_url_is_shown_in_no_message_of_the_setup(api):
    port = api.server.server_port
    attempts = {
        f"http://user:geheim@127.0.0.1:{port}": ("absent", "has no INFLUXDB_ORG named"),
        "http://user:geheim@127.0.0.1:1": ("emm", "does not answer"),
        "http://user:geheim@host..example:8086": ("emm", "does not answer"),
    }
    for url, (org, reason) in attempts.items():
        with pytest.raises((ConfigurationError, StoreError), match=reason) as caught:
            InfluxSetup(url, ADMIN, org, "emm").ensure_database()
        assert "geheim" not in str(caught.value)
        assert "user" not in str(caught.value)


def test_tokens_that_still_work_are_kept_and_others_replaced_without_leaving_one_behind(api, setup):
    tokens = setup.ensure_tokens(None)
    assert setup.ensure_tokens(tokens) == tokens
    replaced = setup.ensure_tokens(replace(tokens, read="of another server"))
    assert replaced != tokens
    assert api.may(tokens.write, "write"), "polling continues until the new ones are where it looks"
    setup.withdraw(tokens)
    assert {one["token"] for one in api.authorizations.values()} == {replaced.write, replaced.read}


def test_tokens_of_an_older_version_whose_ids_are_not_known_are_found_by_their_text(api, setup):
    tokens = setup.ensure_tokens(None)
    setup.withdraw(Tokens(tokens.write, tokens.read))
    assert not api.authorizations


def test_another_installations_tokens_in_the_same_organization_are_not_changed(api, setup):
    theirs, ours = setup.ensure_tokens(None), setup.ensure_tokens(None)
    setup.withdraw(ours)
    setup.withdraw(Tokens("of no server", "of no server"))
    assert {one["token"] for one in api.authorizations.values()} == {theirs.write, theirs.read}


def test_tokens_that_people_made_are_not_changed(api, setup):
    api.authorizations["theirs"] = {"id": "theirs", "token": "theirs", "description": "my script", "permissions": []}
    setup.ensure_tokens(None)
    assert "theirs" in api.authorizations


def test_the_bucket_gets_its_name_as_a_database_once(api, setup):
    assert setup.ensure_database() == "bucket emm can be queried with InfluxQL"
    (mapping,) = api.mappings
    assert (mapping["database"], mapping["bucketID"], mapping["default"]) == ("emm", BUCKET_ID, True)
    assert not setup.ensure_database()
    assert len(api.mappings) == 1


def test_a_bucket_of_an_upgrade_from_1_8_is_a_retention_policy_of_its_database(api):
    api.bucket = "house/year"
    setup = InfluxSetup(api.url, ADMIN, "emm", "house/year")
    tokens = setup.ensure_tokens(None)
    assert setup.ensure_tokens(tokens) is tokens
    assert setup.ensure_database() == "bucket house/year can be queried with InfluxQL"
    (mapping,) = api.mappings
    assert (mapping["database"], mapping["retention_policy"], mapping["bucketID"]) == ("house", "year", BUCKET_ID)
    assert not setup.ensure_database()


def test_the_mapping_of_a_bucket_that_was_deleted_is_replaced(api, setup):
    setup.ensure_database()
    api.bucket_id = "0c0c"
    assert setup.ensure_database()
    assert [one["bucketID"] for one in api.mappings] == ["0c0c"]


def test_a_database_that_is_another_bucket_is_reported_and_not_changed(api):
    api.mappings.append({"id": "m9", "database": "house", "bucketID": BUCKET_ID, "default": True})
    api.bucket = "house/year"
    mine = InfluxSetup(api.url, ADMIN, "emm", "house/year")
    mine._id_of = lambda kind, *_, **__: {"orgs": "0a0a", "buckets": "ours"}[kind]
    assert "WARNING: the database 'house', from which Grafana reads, is another bucket" in mine.ensure_database()
    assert len(api.mappings) == 1


@pytest.mark.parametrize(
    ("org", "bucket", "named"), [("other", "emm", "INFLUXDB_ORG"), ("emm", "x", "INFLUXDB_BUCKET")]
)
def test_a_name_that_influxdb_does_not_know_is_named(api, org, bucket, named):
    with pytest.raises(ConfigurationError, match=named):
        InfluxSetup(api.url, ADMIN, org, bucket).ensure_tokens(None)


def test_a_wrong_admin_token_is_reported_and_not_shown(api):
    with pytest.raises(StoreError, match="DOCKER_INFLUXDB_INIT_ADMIN_TOKEN") as caught:
        InfluxSetup(api.url, "wr0ng", "emm", "emm").has_tokens()
    assert "wr0ng" not in str(caught.value)


def test_an_influxdb_that_is_unavailable_is_reported_with_its_address():
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1 does not answer"):
        InfluxSetup("http://127.0.0.1:1", ADMIN, "emm", "emm").has_tokens()


def test_a_real_influxdb_1_has_no_tokens_to_make(influxdb):
    assert not InfluxSetup(influxdb.url, influxdb.token, "emm", "emm").has_tokens()


class TestCommand:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        """Run the command with settings; return its output and the files: write token, read token, database."""
        files = {name: tmp_path / name for name in ("write-token", "read-token", "database")}

        def run(**settings: str) -> tuple[str, list[str]]:
            for name in Settings.model_fields:
                monkeypatch.delenv(name.upper(), raising=False)
            for name, value in settings.items():
                monkeypatch.setenv(name, value)
            arguments = [part for name, path in files.items() for part in (f"--{name}", str(path))]
            result = CliRunner().invoke(emm, ["influxdb", "setup", *arguments], catch_exceptions=False)
            assert result.exit_code == 0, result.output
            return result.output, [path.read_text() for path in files.values()]

        return run

    def stack_settings(self, url: str, token: str = ADMIN) -> dict[str, str]:
        return {"INFLUXDB_URL": url, "INFLUXDB_TOKEN": token, "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN": token}

    def test_it_writes_new_tokens_and_the_second_time_keeps_them(self, api, run):
        output, files = run(**self.stack_settings(api.url))
        assert "created one token to write and one to read" in output
        assert files == ["token1", "token2", "emm"]
        output, again = run(**self.stack_settings(api.url))
        assert "tokens kept" in output
        assert again == files

    def test_with_other_files_it_revokes_no_token_in_use(self, api, run, tmp_path):
        _, first = run(**self.stack_settings(api.url))
        for name in ("write-token", "read-token", "database"):
            (tmp_path / name).rename(tmp_path / f"kept {name}")
        run(**self.stack_settings(api.url))
        assert set(first[:2]) <= {one["token"] for one in api.authorizations.values()}

    def test_after_the_bucket_was_made_again_it_makes_tokens_for_it_and_revokes_its_old_ones(self, api, run):
        _, before = run(**self.stack_settings(api.url))
        api.bucket_id = "0c0c"
        output, after = run(**self.stack_settings(api.url))
        assert "created one token" in output
        assert {one["token"] for one in api.authorizations.values()} == set(after[:2])
        assert not set(before[:2]) & set(after[:2])

    def test_no_token_is_printed(self, api, run):
        output, files = run(**self.stack_settings(api.url))
        assert not [secret for secret in (ADMIN, *files[:2]) if secret in output]

    def test_against_1_x_the_one_token_serves_and_the_step_says_so(self, influxdb, run):
        output, files = run(**self.stack_settings(influxdb.url, influxdb.token))
        assert "version 1.x has no separate tokens" in output
        assert files == [influxdb.token, influxdb.token, "emm"]

    def test_an_influxdb_of_ones_own_keeps_its_tokens(self, influxdb_1_8, run):
        output, files = run(
            INFLUXDB_URL=influxdb_1_8.url,
            INFLUXDB_TOKEN=influxdb_1_8.token,
            INFLUXDB_READ_TOKEN="reader:pw",
            INFLUXDB_BUCKET=influxdb_1_8.bucket,
        )
        assert "your own" in output
        assert files == [influxdb_1_8.token, "reader:pw", "emm"], "Grafana asks for the database, without its policy"

    def test_a_wrong_password_of_ones_own_influxdb_is_an_error(self, influxdb_1_8, run):
        given = {"INFLUXDB_URL": influxdb_1_8.url, "INFLUXDB_TOKEN": "emm:wr0ng", "INFLUXDB_BUCKET": "emm/autogen"}
        with pytest.raises(StoreError, match="check INFLUXDB_TOKEN") as caught:
            run(**given)
        assert "wr0ng" not in str(caught.value)

    def test_readings_in_postgresql_need_no_influxdb(self, run):
        output, _ = run(READINGS_STORE="postgresql", INFLUXDB_URL="http://127.0.0.1:1")
        assert "nothing to do" in output

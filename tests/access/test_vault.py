"""The current credential: the user's, or a random one if the user's is published or was replaced by rotation."""

import json
import stat

import pytest

from emm_pipeline.access.folders import BEFORE_START, AccessFolders
from emm_pipeline.access.vault import CREDENTIALS, Vault
from emm_pipeline.credentials import EXAMPLES, PUBLISHED, assignments
from emm_pipeline.settings import ENV_FILES

EXAMPLE_FILE = assignments(ENV_FILES[0].read_text().splitlines())


@pytest.fixture
def folders(tmp_path) -> AccessFolders:
    (tmp_path / "secrets").mkdir()
    return AccessFolders(tmp_path)


def test_every_credential_of_the_example_file_is_known_as_published():
    assert {name: value for name, value in EXAMPLE_FILE.items() if value.startswith("example")} == PUBLISHED
    assert set(CREDENTIALS) | {"INFLUXDB_TOKEN"} == set(PUBLISHED)


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_published_value_counts_as_not_set_and_a_random_one_that_stays_the_same_is_used(folders, name):
    vault = Vault(folders.secrets, EXAMPLE_FILE)
    value = vault.value(name)
    assert value not in EXAMPLES
    assert len(value) >= 40
    assert Vault(folders.secrets, EXAMPLE_FILE).value(name) == value
    assert Vault(folders.secrets, {}).value(name) == value


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_value_that_the_user_has_set_is_used_as_it_is(folders, name):
    vault = Vault(folders.secrets, {name: "mine $1"})
    assert vault.value(name) == "mine $1"
    assert vault.is_given(name)


def test_two_stacks_have_different_credentials(tmp_path):
    values = []
    for stack in ("one", "two"):
        (tmp_path / stack).mkdir()
        values += [Vault(tmp_path / stack, {}).value(name) for name in CREDENTIALS]
    assert len(set(values)) == len(values)


def test_a_value_replaced_by_rotation_is_not_used_again_though_it_is_still_set(folders):
    vault = Vault(folders.secrets, {"POSTGRES_PASSWORD": "mine"})
    vault.replace("POSTGRES_PASSWORD", "new")
    assert Vault(folders.secrets, {"POSTGRES_PASSWORD": "mine"}).value("POSTGRES_PASSWORD") == "new"
    assert Vault(folders.secrets, {"POSTGRES_PASSWORD": "mine, later"}).value("POSTGRES_PASSWORD") == "mine, later"
    assert "mine" in vault.older("POSTGRES_PASSWORD")


def test_the_passwords_that_a_server_may_still_have_are_the_last_accepted_and_the_published_one(folders):
    vault = Vault(folders.secrets, EXAMPLE_FILE)
    generated = vault.value("POSTGRES_PASSWORD")
    vault.applied("POSTGRES_PASSWORD", generated)
    mine = Vault(folders.secrets, {"POSTGRES_PASSWORD": "mine"})
    assert mine.older("POSTGRES_PASSWORD") == [generated, "example_postgres_password"]


def test_only_the_owner_can_read_the_vault(folders):
    Vault(folders.secrets, {}).value("POSTGRES_PASSWORD")
    assert {stat.S_IMODE(file.stat().st_mode) for file in folders.secrets.glob("*.json")} == {0o600}


def test_each_service_finds_its_credentials_when_it_starts_and_no_others(folders):
    vault = Vault(folders.secrets, EXAMPLE_FILE)
    folders.write_before_start(vault)
    for service, names in BEFORE_START.items():
        found = {file.name: file.read_text() for file in (folders.folder / service).iterdir()}
        assert found == {name: vault.value(name) for name in names}
    everything = json.dumps([file.read_text() for file in folders.folder.rglob("*") if file.is_file()])
    assert not [example for example in EXAMPLES if example in everything]


def test_credentials_are_created_without_any_other_setting(emm, tmp_path):
    """The stack's service `credentials` gets no other setting; the service `check` reports invalid ones."""
    (tmp_path / "secrets").mkdir()
    done = emm("secrets", "create", "--folder", tmp_path, POSTGRES_PORT="wrong", POSTGRES_HOST="")
    assert done.returncode == 0, done.stderr
    assert "credentials created by the stack: " in done.stdout
    assert (tmp_path / "web" / "WEB_LOGIN_PASSWORD").read_text()
